//! What is given to a page: the whole picture, its changes as they come, pictures of work and of results.
//! In: requests that the guard has let through. Out: JSON, an event stream, images.

use super::assets::takes_gzip;
use super::frame::{Frame, GZIP_HEAD};
use super::guard::{Refusal, refusal};
use super::live::Live;
use super::view::jobs::PICTURES;
use crate::telemetry::history;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

type Asked = State<Arc<Live>>;

/// Larger pictures are not shown.
const PICTURE_MAX: u64 = 64 << 20;
/// Enough to tell what a file is.
const SNIFFED: usize = 4096;
/// Read in one go.
const CHUNK: usize = 64 << 10;
/// Seconds after which a viewer who found no place may come again.
const COME_AGAIN: &str = "10";

const NO_PICTURE: Refusal = refusal(StatusCode::NOT_FOUND, "there is no such picture");

/// The routes.
pub(super) fn routes() -> Router<Arc<Live>> {
    Router::new()
        .route("/api/snapshot", get(snapshot))
        .route("/api/stream", get(stream))
        .route("/api/preview/{worker}", get(preview))
        .route("/api/outputs/{job}/{n}", get(output))
}

async fn snapshot(State(live): Asked, headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let is_known = |tag: &str| known.flat_map(|tags| tags.split(',')).any(|known| known.trim() == tag);
    let packed = takes_gzip(&headers);
    let (tag, bytes) = live.snapshot(packed, is_known);
    let about = [(header::CONTENT_TYPE, "application/json"), (header::VARY, "accept-encoding")];
    let mut response = match bytes {
        None => StatusCode::NOT_MODIFIED.into_response(),
        Some(bytes) if packed => (about, [(header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
        Some(bytes) => (about, bytes).into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

struct Viewer {
    live: Arc<Live>,
    seat: Option<broadcast::Receiver<Arc<Frame>>>,
    packed: bool,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

async fn stream(State(live): Asked, headers: HeaderMap) -> Response {
    let Some(place) = live.enter() else {
        let why = "too many look at this agent already; ask /api/snapshot now and then";
        let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
        return response;
    };
    let packed = takes_gzip(&headers);
    let viewer = Viewer { stop: live.stop(), live, seat: None, packed, _place: place };
    let frames = futures_util::stream::unfold(viewer, |mut viewer| async {
        let is_first = viewer.seat.is_none();
        let frame = next(&mut viewer).await?.bytes(viewer.packed);
        let bytes = if is_first && viewer.packed { [GZIP_HEAD, &frame].concat().into() } else { frame };
        Some((Ok::<_, std::convert::Infallible>(bytes), viewer))
    });
    let about = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::VARY, "accept-encoding"),
        // To nginx in between: pass on what comes, at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = (about, Body::from_stream(frames)).into_response();
    if packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

async fn next(viewer: &mut Viewer) -> Option<Arc<Frame>> {
    if let Some(frames) = &mut viewer.seat {
        tokio::select! {
            () = viewer.stop.cancelled() => return None,
            frame = frames.recv() => match frame {
                Ok(frame) => return Some(frame),
                // Too slow: what was missed is in a fresh snapshot.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
    let seat = viewer.live.join();
    let snapshot = seat.snapshot;
    viewer.seat = Some(seat.frames);
    Some(snapshot)
}

async fn preview(State(live): Asked, Path(worker): Path<String>) -> Response {
    match live.source().picture(&worker).filter(|picture| PICTURES.contains(&picture.media_type)) {
        Some(picture) => ([(header::CONTENT_TYPE, picture.media_type)], picture.bytes).into_response(),
        // Its job ended between the event that named the picture and this request: nobody's fault, and no error in a log.
        None if live.source().slots().iter().any(|slot| slot.id == worker) => StatusCode::NO_CONTENT.into_response(),
        None => NO_PICTURE.into_response(),
    }
}

/// The path is the agent's own note of where it stored the output: nothing of the address gets into it.
async fn output(State(live): Asked, Path((job, n)): Path<(String, usize)>) -> Response {
    let (Some(file), Some(root)) = (history::of_process().file(&job, n), live.source().output_dir()) else {
        return NO_PICTURE.into_response();
    };
    let opened = tokio::task::spawn_blocking(move || open(&root, &file)).await.ok().flatten();
    let Some((file, media_type, length)) = opened else { return NO_PICTURE.into_response() };
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
fn open(root: &FilePath, file: &FilePath) -> Option<(std::fs::File, &'static str, u64)> {
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
    Some((file, media_type, about.len()))
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
            open(root.path(), &good).map(|(_, media_type, length)| (media_type, length)),
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
