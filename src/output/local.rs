//! Outputs in a local folder: `{OUTPUT_DIR}/{job}/{attempt}/{name}`.
//! In: chunks. Out: files that appear whole or not at all.

use super::largest::{LARGEST, admit};
use super::name::{Names, Taken};
use super::passed::Passed;
use async_trait::async_trait;
use bytes::Bytes;
use connectors::contract::{OutputStore, OutputWriter, StoredOutput};
use connectors::failure::{Failure, Reason};
use failpoints::{Point, reach};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use url::Url;

/// The end of the name of what is not whole yet.
const PART: &str = ".part";

/// The outputs of one attempt.
pub struct LocalStore {
    folder: PathBuf,
    /// What stands for the folder in results, if others can reach it.
    shown_at: Option<Url>,
    names: Names,
    largest: u64,
}

impl LocalStore {
    /// Outputs of this attempt of this job; the folder is made with the first of them.
    pub fn new(root: &Path, job: &str, attempt: u64) -> Self {
        let folder = root.join(job).join(attempt.to_string());
        Self { folder, shown_at: None, names: Names::default(), largest: LARGEST }
    }

    /// The same, named in results as what lies below this address.
    pub fn shown_at(self, base: Option<&Url>) -> Self {
        let place: Vec<_> =
            self.folder.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy()).collect();
        let shown_at = base
            .zip(place.first().zip(place.get(1)))
            .and_then(|(base, (attempt, job))| Url::parse(&super::place::url(base, &format!("{job}/{attempt}"))).ok());
        Self { shown_at, ..self }
    }
}

/// Whether an output could be stored in this folder now: a mebibyte is written, flushed and removed.
///
/// # Errors
/// What stands in the way: the folder cannot be made or written, the disk is full.
pub fn try_storing(root: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(root)?;
    let probe = root.join(format!(".probe-{}", uuid::Uuid::new_v4().simple()));
    let written = std::fs::File::create(&probe).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &vec![0; 1 << 20])?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&probe);
    written
}

/// What an error of this machine's disk is called.
pub fn reason_of(error: &std::io::Error) -> Reason {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Reason::DiskSpaceFull,
        _ => Reason::InternalError,
    }
}

fn failed(error: &std::io::Error) -> Failure {
    let (reason, said) = (reason_of(error), format!("an output could not be stored on this worker: {}", error.kind()));
    Failure { no_room: reason == Reason::DiskSpaceFull, ..Failure::of_host(reason, said) }
}

#[async_trait]
impl OutputStore for LocalStore {
    async fn create(
        &self,
        suggested: &str,
        kind: &str,
        claimed: Option<&str>,
    ) -> Result<Box<dyn OutputWriter>, Failure> {
        let taken = self.names.unique(suggested);
        let path = self.folder.join(taken.name());
        let (folder, name) = (self.folder.clone(), taken.name().to_owned());
        let creating = tokio::task::spawn_blocking(move || PartFile::create(&folder, &name));
        let created = creating.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)));
        let (file, part) = created.map_err(|error| failed(&error))?;
        Ok(Box::new(LocalWriter {
            file: Some(File::from_std(file)),
            part,
            path,
            shown_at: self.shown_at.clone(),
            taken,
            kind: kind.to_owned(),
            claimed: claimed.map(str::to_owned),
            passed: Passed::default(),
            largest: self.largest,
        }))
    }
}

/// An output that is being written, under a name that no other process has: one that took the job over may be at the
/// same output. Goes when it is dropped, also by the thread that makes it when the run has been stopped meanwhile. After
/// a rename it is gone already.
struct PartFile(PathBuf);

impl PartFile {
    /// Removes what killed processes have left of the same output: nobody holds the lock of that.
    fn create(folder: &Path, name: &str) -> std::io::Result<(std::fs::File, Self)> {
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)?.flatten() {
            let is_part = entry.file_name().to_str().is_some_and(|other| is_part_of(name, other));
            if is_part && std::fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        loop {
            let path = folder.join(format!(".{name}.{}{PART}", uuid::Uuid::new_v4().simple()));
            let file = std::fs::File::create_new(&path)?;
            // Where there are no locks nothing is removed.
            let _ = file.lock();
            // Somebody who cleared up may have come before the lock.
            if file.metadata()?.nlink() > 0 {
                return Ok((file, Self(path)));
            }
        }
    }

    /// Gives it its name, and returns once the name would outlast a power cut, as the bytes do.
    fn rename(&self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, path)?;
        for folder in path.ancestors().skip(1).take(3) {
            // Some file systems do not know it of folders.
            let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

fn is_part_of(name: &str, other: &str) -> bool {
    let unique = other.strip_prefix('.').and_then(|other| other.strip_prefix(name)?.strip_suffix(PART));
    unique.and_then(|unique| unique.strip_prefix('.')).is_some_and(|unique| uuid::Uuid::try_parse(unique).is_ok())
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct LocalWriter {
    file: Option<File>,
    part: PartFile,
    path: PathBuf,
    shown_at: Option<Url>,
    taken: Taken,
    kind: String,
    claimed: Option<String>,
    passed: Passed,
    largest: u64,
}

#[async_trait]
impl OutputWriter for LocalWriter {
    async fn expect_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        admit(self.taken.name(), bytes, self.largest)?;
        let part = self.part.0.clone();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&part)).await;
        // Some file systems do not tell; then the last byte will show.
        let Ok(Ok(disk)) = asked else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if bytes > free {
            let name = self.taken.name();
            let said = format!("the output `{name}` has {bytes} bytes; the disk of OUTPUT_DIR has room for {free}");
            return Err(Failure { no_room: true, ..Failure::of_host(Reason::DiskSpaceFull, said) });
        }
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure> {
        self.passed.take(&chunk);
        admit(self.taken.name(), self.passed.bytes(), self.largest)?;
        match &mut self.file {
            Some(file) => file.write_all(&chunk).await.map_err(|error| failed(&error))?,
            None => return Ok(()),
        }
        reach(Point::OutputPart);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredOutput, Failure> {
        if let Some(mut file) = self.file.take() {
            file.flush().await.map_err(|error| failed(&error))?;
            // A result that Redis has accepted must not name a file that a power cut has emptied.
            file.sync_all().await.map_err(|error| failed(&error))?;
        }
        reach(Point::OutputWritten);
        let name = self.taken.keep();
        let (part, path) = (self.part, self.path.clone());
        let renaming = tokio::task::spawn_blocking(move || part.rename(&path)).await;
        renaming.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))).map_err(|error| failed(&error))?;
        reach(Point::OutputRenamed);
        let absolute = std::path::absolute(&self.path).map_err(|error| failed(&error))?;
        let url = match &self.shown_at {
            Some(base) => super::place::url(base, &name),
            None => Url::from_file_path(&absolute).map(String::from).unwrap_or_default(),
        };
        Ok(StoredOutput {
            media_type: self.passed.media_type(self.claimed.as_deref(), &name),
            name,
            kind: self.kind,
            bytes: self.passed.bytes(),
            sha256: self.passed.sha256(),
            url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    impl LocalStore {
        async fn create_owned(self, name: &str) -> Box<dyn OutputWriter> {
            self.create(name, "gifs", None).await.unwrap()
        }
    }

    #[test]
    fn a_run_stopped_while_an_output_is_created_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        // One thread for the disk: what is asked of it last is done last.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let store = LocalStore::new(root.path(), "job", 1);
            let (done, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            for n in 0..20 {
                assert!(
                    store.create(&format!("{n}.png"), "images", None).now_or_never().is_none(),
                    "it waits for the disk"
                );
            }
            drop(done);
            assert!(busy.await.unwrap().is_err());
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        });
        let files = std::fs::read_dir(root.path().join("job").join("1")).unwrap();
        assert_eq!(files.count(), 0);
    }

    #[tokio::test]
    async fn an_output_that_is_too_large_is_refused_before_its_first_byte_or_with_the_first_too_many() {
        let root = tempfile::tempdir().unwrap();
        let of_at_most =
            |largest: u64| LocalStore { largest, ..LocalStore::new(root.path(), "job", 1) }.create_owned("film.mp4");
        let refused =
            LocalStore::new(root.path(), "job", 1).create_owned("film.mp4").await.expect_bytes(60 << 30).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.reason, refused.hosts_fault), (Reason::UnsupportedOperation, false));
        assert!(refused.message.contains("64424509440") && refused.message.contains("52428800000"), "{refused}");
        let full = of_at_most(u64::MAX).await.expect_bytes(1 << 60).await.unwrap_err();
        assert_eq!((full.reason, full.hosts_fault), (Reason::DiskSpaceFull, true));
        assert!(full.message.contains("1152921504606846976") && full.message.contains("room for"), "{full}");
        let mut unannounced = of_at_most(8).await;
        unannounced.expect_bytes(8).await.unwrap();
        unannounced.write(Bytes::from_static(b"12345678")).await.unwrap();
        let refused = unannounced.write(Bytes::from_static(b"9")).await.unwrap_err();
        assert!(refused.message.contains("9 bytes; at most 8"), "{refused}");
        drop(unannounced);
        assert_eq!(std::fs::read_dir(root.path().join("job/1")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_process_that_gives_an_output_up_does_nothing_to_the_one_that_took_its_job_over() {
        let root = tempfile::tempdir().unwrap();
        let create = async || LocalStore::new(root.path(), "job", 1).create("a.txt", "text", None).await.unwrap();
        let (mut earlier, mut later) = (create().await, create().await);
        earlier.write(Bytes::from_static(b"given up in mid-sentence")).await.unwrap();
        later.write(Bytes::from_static(b"whole")).await.unwrap();
        drop(earlier);
        let stored = later.finish().await.unwrap();
        let there = std::fs::read(Url::parse(&stored.url).unwrap().to_file_path().unwrap()).unwrap();
        assert_eq!(there, b"whole");
        assert_eq!(std::fs::read_dir(root.path().join("job/1")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_of_an_output_goes_when_it_is_made_again_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let create = async || LocalStore::new(root.path(), "job", 1).create("a.txt", "text", None).await.unwrap();
        let folder = root.path().join("job/1");
        std::fs::create_dir_all(&folder).unwrap();
        let left = format!(".a.txt.{}.part", uuid::Uuid::new_v4().simple());
        let others = [".a.txt.part".to_owned(), "a.txt.part".to_owned(), left.replace("a.txt", "b.txt")];
        for name in others.iter().chain([&left]) {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        let at_work = create().await;
        assert!(!folder.join(&left).exists());
        drop(create().await);
        at_work.finish().await.unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), others.len() + 1);
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_troubles_and_all_are_this_machines() {
        use std::io::ErrorKind::*;
        for (kind, reason) in [
            (StorageFull, Reason::DiskSpaceFull),
            (QuotaExceeded, Reason::DiskSpaceFull),
            (PermissionDenied, Reason::InternalError),
            (ReadOnlyFilesystem, Reason::InternalError),
            (Other, Reason::InternalError),
        ] {
            let failure = failed(&std::io::Error::new(kind, "/home/me/outputs/x.png"));
            assert_eq!((failure.reason, failure.hosts_fault), (reason, true), "{kind}");
            assert!(!failure.message.contains("/home"), "{failure}");
        }
    }
}
