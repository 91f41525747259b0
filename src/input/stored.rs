//! What earlier jobs stored in this machine's output folder: `output:{job}/{name}`.
//! In: a job and a name. Out: the finished file of the newest attempt that has it, opened without following links.

use super::target::{invalid, refused};
use connectors::failure::{Failure, Reason};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// Opens it, or says why not.
pub(super) fn open(root: &Path, reference: &str) -> Result<File, Failure> {
    let (job, name) = parts(reference)
        .ok_or_else(|| invalid("an output of an earlier job is named as output:JOB/NAME, with a plain file name"))?;
    let step = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = |at: rustix::fd::BorrowedFd<'_>, name: &str| openat(at, name, step | OFlags::DIRECTORY, Mode::empty());
    let missing = || refused(format!("this worker has no output {name} of the job {job}"));
    // The root is the operator's, and may well be a link.
    let root = openat(CWD, root, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY, Mode::empty());
    let job = folder(root.map_err(|_| missing())?.as_fd(), job).map_err(|_| missing())?;
    let mut attempts: Vec<u64> = rustix::fs::Dir::read_from(&job)
        .map_err(|_| missing())?
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
        .collect();
    attempts.sort_unstable();
    for attempt in attempts.into_iter().rev() {
        let Ok(attempt) = folder(job.as_fd(), &attempt.to_string()) else { continue };
        // Never waits for the other end of a named pipe.
        let Ok(file) = openat(&attempt, name, step | OFlags::NONBLOCK, Mode::empty()) else { continue };
        if fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            return Ok(File::from(file));
        }
    }
    Err(missing())
}

/// What cannot be read although it is there.
pub(super) fn unreadable(error: &std::io::Error) -> Failure {
    Failure::of_host(Reason::InternalError, format!("an output of an earlier job cannot be read: {}", error.kind()))
}

/// Job and name. A dot at the beginning is that of unfinished files, and of folders above.
fn parts(reference: &str) -> Option<(&str, &str)> {
    let (job, name) = reference.split_once('/')?;
    let is_id = (1..=128).contains(&job.len()) && job.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_name = (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(|c: char| c == '/' || c.is_control());
    (is_id && is_name).then_some((job, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn read(root: &Path, reference: &str) -> Result<String, Reason> {
        let mut text = String::new();
        open(root, reference).map_err(|failure| failure.reason)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn the_newest_attempt_that_has_it_counts_and_nothing_but_finished_files() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for attempt in ["2", "9", "10", "11", "x"] {
            std::fs::create_dir_all(at("j-1").join(attempt)).unwrap();
        }
        std::fs::write(at("secret"), "secret").unwrap();
        std::fs::write(at("j-1/9/a.png"), "nine").unwrap();
        std::fs::write(at("j-1/10/a.png"), "ten").unwrap();
        std::fs::write(at("j-1/11/.a.png.part"), "unfinished").unwrap();
        std::fs::write(at("j-1/2/old.png"), "two").unwrap();
        std::fs::write(at("j-1/x/other.png"), "no attempt").unwrap();
        std::fs::create_dir(at("j-1/2/folder")).unwrap();
        symlink(at("secret"), at("j-1/2/link.png")).unwrap();
        symlink(at("j-1"), at("j-2")).unwrap();
        std::fs::create_dir(at("j-3")).unwrap();
        symlink(at("j-1/10"), at("j-3/1")).unwrap();
        assert_eq!(read(root.path(), "j-1/a.png").as_deref(), Ok("ten"));
        assert_eq!(read(root.path(), "j-1/old.png").as_deref(), Ok("two"));
        for missing in
            ["j-1/b.png", "j-9/a.png", "j-1/folder", "j-1/link.png", "j-2/a.png", "j-3/a.png", "j-1/other.png"]
        {
            assert_eq!(read(root.path(), missing), Err(Reason::InvalidPayload), "{missing}");
        }
        for wrong in [
            "j-1",
            "j-1/",
            "/a",
            "../j-1/a",
            "j-1/../secret",
            "j-1/..",
            "j-1/.a.png.part",
            "j-1/10/a.png",
            "j.1/a",
            "j-1/a\n.png",
        ] {
            assert_eq!(read(root.path(), wrong), Err(Reason::InvalidFormat), "{wrong}");
        }
    }
}
