//! Pictures that jobs made: whole, or small for a tile.
//! In: the job, the number of its end, the number of the output. Out: the file as it is, if it is a picture by what stands in it.

use super::guard::{Refusal, refusal};
use super::live::Live;
use super::named::Named;
use super::small::{self, Kept};
use super::view::jobs::PICTURES;
use crate::telemetry::history;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Larger pictures are not shown.
const PICTURE_MAX: u64 = 64 << 20;
/// Enough to tell what a file is.
const SNIFFED: usize = 4096;
/// Read in one go.
const CHUNK: usize = 64 << 10;

pub(super) const NO_PICTURE: Refusal = refusal(StatusCode::NOT_FOUND, "there is no such picture");

type Which = (String, String, String);

/// The path is the agent's own note of where it stored the output: nothing of the address gets into it.
async fn found(live: &Live, (job, end, n): &Which) -> Result<(Picture, (u64, usize)), Refusal> {
    let (end, n) = number(end).zip(number(n)).ok_or(NO_PICTURE)?;
    let file = history::of_process().file(job, end, n).ok_or(NO_PICTURE)?;
    let root = live.source().output_dir().ok_or(NO_PICTURE)?;
    let opened = tokio::task::spawn_blocking(move || open(&root, &file)).await.ok().flatten();
    Ok((opened.ok_or(NO_PICTURE)?, (end, n)))
}

/// Other spellings of a number are not meant.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// As it is.
pub(super) async fn whole(State(live): State<Arc<Live>>, Named(which): Named<Which>) -> Result<Response, Refusal> {
    let (picture, _) = found(&live, &which).await?;
    Ok(stream(picture))
}

/// Small. What is small already, and kinds that are not made smaller, are given as they are.
pub(super) async fn small(State(live): State<Arc<Live>>, Named(which): Named<Which>) -> Result<Response, Refusal> {
    let (picture, number) = found(&live, &which).await?;
    if small::is_fine_as_it_is(picture.media_type, picture.length) {
        return Ok(stream(picture));
    }
    let kept = Kept { number, length: picture.length, changed: picture.changed };
    let made = small::of_process().of(kept, picture.media_type, picture.file).await.ok_or(NO_PICTURE)?;
    Ok(([(header::CONTENT_TYPE, small::MEDIA_TYPE)], made).into_response())
}

/// A picture that was opened.
struct Picture {
    file: std::fs::File,
    media_type: &'static str,
    length: u64,
    changed: Option<std::time::SystemTime>,
}

fn stream(Picture { file, media_type, length, .. }: Picture) -> Response {
    let chunks = futures_util::stream::try_unfold((File::from_std(file), length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        match file.read(&mut chunk).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                chunk.truncate(read);
                Ok::<_, std::io::Error>(Some((chunk, (file, left - read as u64))))
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    (headers, Body::from_stream(chunks)).into_response()
}

/// A file below the folder that is a picture by what stands in it.
fn open(root: &FilePath, file: &FilePath) -> Option<Picture> {
    use std::io::{Seek, SeekFrom};
    let real: PathBuf = std::fs::canonicalize(file).ok()?;
    if !real.starts_with(std::fs::canonicalize(root).ok()?) {
        return None;
    }
    // No link that was put in between is followed, and no pipe in its place is waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(openat(CWD, &real, flags, Mode::empty()).ok()?);
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() == 0 || about.len() > PICTURE_MAX {
        return None;
    }
    let mut head = Vec::with_capacity(SNIFFED);
    Read::by_ref(&mut file).take(SNIFFED as u64).read_to_end(&mut head).ok()?;
    let sniffed = infer::get(&head)?.mime_type();
    let media_type = PICTURES.into_iter().find(|known| *known == sniffed)?;
    file.seek(SeekFrom::Start(0)).ok()?;
    Some(Picture { file, media_type, length: about.len(), changed: about.modified().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn only_pictures_below_the_folder_are_opened() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |folder: &FilePath, name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let good = put(root.path(), "a.txt", PNG);
        assert_eq!(
            open(root.path(), &good).map(|picture| (picture.media_type, picture.length)),
            Some(("image/png", 16))
        );
        let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
        let html = b"<!DOCTYPE html><script>alert(1)</script>";
        for (name, bytes) in [("a.svg", &svg[..]), ("a.png", html), ("b.png", b""), ("c.png", b"hello")] {
            assert!(open(root.path(), &put(root.path(), name, bytes)).is_none(), "{name}");
        }
        let secret = put(outside.path(), "a.png", PNG);
        assert!(open(root.path(), &secret).is_none());
        assert!(open(root.path(), &root.path().join("../").join(secret.strip_prefix("/").unwrap())).is_none());
        std::os::unix::fs::symlink(&secret, root.path().join("link.png")).unwrap();
        assert!(open(root.path(), &root.path().join("link.png")).is_none());
        assert!(open(root.path(), root.path()).is_none());
        let pipe = root.path().join("pipe.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open(root.path(), &pipe).is_none(), "and it is not waited for whoever writes into it");
        let large = put(root.path(), "large.png", PNG);
        std::fs::File::options().write(true).open(&large).unwrap().set_len(PICTURE_MAX + 1).unwrap();
        assert!(open(root.path(), &large).is_none());
    }
}
