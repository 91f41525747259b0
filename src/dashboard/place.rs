//! Where the commands of this machine find a running agent's dashboard, and the token that opens it.
//! In: the state folder, the agent's worker id. Out: two files, `{STATE_DIR}/dashboard/{worker}.url` and `.token`, mode 0600.
//!
//! The token is another one at each start, but one that a person set lasts: so an agent locks its `.url` as long as it lives,
//! and what no agent holds leads nowhere. Whoever sits on a dead agent's port is sent no token.

use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The two files of one agent.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    name: String,
}

/// As long as it is kept, the agent counts as alive.
#[derive(Debug)]
pub struct Held {
    _url: File,
}

/// What they hold.
#[derive(Debug)]
pub struct Found {
    /// Where the agent answers.
    pub url: String,
    /// The token that it made; `None`: it was given one.
    pub token: Option<SecretString>,
}

impl Place {
    /// The place of the agent with this worker id; nothing is made yet.
    pub fn of(state_dir: &Path, worker: &str) -> Self {
        // Worker ids may hold what a path must not.
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        Self { folder: state_dir.join("dashboard"), name: worker.chars().map(plain).collect() }
    }

    /// No agent holds this `.url`: it was killed. What cannot be told counts as held.
    pub fn is_abandoned(url: &Path) -> bool {
        let Ok(file) = File::open(url) else { return false };
        // Shared: two who look must not take each other for the agent.
        !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
    }

    /// The agents that live and have a place below this state folder.
    ///
    /// # Errors
    /// It is there and may not be read.
    pub fn names(state_dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(state_dir.join("dashboard")) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let names = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?.strip_suffix(".url")?.to_owned();
            (!Self::is_abandoned(&entry.path())).then_some(name)
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// The worker id as it stands in the names of the files.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    fn write(&self, kind: &str, text: &str) -> io::Result<File> {
        let part = self.folder.join(format!(".{}.{kind}.part", self.name));
        // One that lies there may be open to others.
        let _ = fs::remove_file(&part);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        // Before anybody can find it. A file system without locks: then nobody can tell, and it counts as held.
        let _ = file.try_lock();
        fs::rename(&part, self.file(kind))?;
        Ok(file)
    }

    /// Says where the agent answers. `token`: the one that it made.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn take(&self, url: &str, token: Option<&SecretString>) -> io::Result<Held> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // The new token must never stand beside a dead agent's address: somebody else may answer there.
        match fs::remove_file(self.file("url")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match token {
            Some(token) => drop(self.write("token", token.expose_secret())?),
            None => drop(fs::remove_file(self.file("token"))),
        }
        Ok(Held { _url: self.write("url", url)? })
    }

    /// The agent leaves; a newer one may have taken the place already.
    pub fn leave(&self, url: &str) {
        if fs::read_to_string(self.file("url")).is_ok_and(|there| there == url) {
            let _ = fs::remove_file(self.file("url"));
            let _ = fs::remove_file(self.file("token"));
        }
    }

    /// What a living agent has left here.
    ///
    /// # Errors
    /// The files are there and may not be read.
    pub fn find(&self) -> io::Result<Option<Found>> {
        let read = |kind: &str| match fs::read_to_string(self.file(kind)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let Some(url) = read("url")? else { return Ok(None) };
        if Self::is_abandoned(&self.file("url")) {
            return Ok(None);
        }
        Ok(Some(Found { url, token: read("token")?.map(Into::into) }))
    }
}

/// A token that nobody can guess.
pub(super) fn new_token() -> SecretString {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_never_stands_beside_an_old_address() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(state.path(), "w");
        let held = place.take("http://127.0.0.1:1511/", Some(&new_token())).unwrap();
        // It ends between the two files.
        fs::create_dir(place.folder.join(".w.url.part")).unwrap();
        place.take("http://127.0.0.1:1512/", Some(&new_token())).unwrap_err();
        assert!(place.file("token").exists());
        assert!(place.find().unwrap().is_none(), "the old address is gone before the new token comes");
        drop(held);
    }

    #[test]
    fn what_no_agent_holds_is_not_found() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(state.path(), "w");
        let held = place.take("http://127.0.0.1:1511/", None).unwrap();
        assert_eq!(place.find().unwrap().unwrap().url, "http://127.0.0.1:1511/");
        assert_eq!(Place::names(state.path()).unwrap(), ["w"]);
        // As after SIGKILL: the file stays.
        drop(held);
        assert!(place.file("url").exists() && place.find().unwrap().is_none());
        assert!(Place::names(state.path()).unwrap().is_empty());
        // Another start takes it anew.
        let _held = place.take("http://127.0.0.1:1512/", None).unwrap();
        assert_eq!(place.find().unwrap().unwrap().url, "http://127.0.0.1:1512/");
    }
}
