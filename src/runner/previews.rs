//! Pictures of work that goes on: the newest of each worker for whoever shows them here, references for those far away.
//! In: previews of a run. Out: one picture a worker in memory; for jobs that ask, files and where they are.
//!
//! ```text
//!   preview ──▶ newest of its worker, until the job ends ──▶ `latest`, `changes`
//!          └──▶ wanted by the job (`ctx.previews`): stored at most once a second ──▶ named by the next progress event
//! ```

use crate::output::PreviewFolder;
use connectors::contract::Preview;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Larger pictures are not kept: a preview is a small picture, and there is one for each worker.
const LARGEST: usize = 4 << 20;

/// The shortest time between two pictures that are stored.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// A picture of a job at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Higher than that of every picture shown before, of whatever worker.
    pub version: u64,
    /// The job that it shows.
    pub job: String,
    /// The picture.
    pub preview: Preview,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    newest: BTreeMap<String, Shown>,
}

/// The newest picture of each worker of this agent.
#[derive(Debug, Default)]
pub struct Previews(watch::Sender<State>);

impl Previews {
    /// What the worker's job looks like now, if anything is to be seen.
    pub fn latest(&self, worker: &str) -> Option<Shown> {
        self.0.borrow().newest.get(worker).cloned()
    }

    /// Counts every picture that comes or goes: a number that has not changed means that nothing has.
    pub fn version(&self) -> u64 {
        self.0.borrow().version
    }

    /// Comes back once the count is another than `version`.
    pub async fn changed_since(&self, version: u64) -> u64 {
        // The sender lives in self, so the channel cannot close while we wait.
        let mut changes = self.0.subscribe();
        changes.wait_for(|state| state.version != version).await.map_or(version, |state| state.version)
    }

    /// Takes the place of what was shown of this worker. `false`: it is too large to be kept.
    pub(super) fn show(&self, worker: &str, job: &str, preview: &Preview) -> bool {
        if preview.bytes.len() > LARGEST {
            return false;
        }
        self.0.send_modify(|state| {
            state.version += 1;
            let shown = Shown { version: state.version, job: job.to_owned(), preview: preview.clone() };
            state.newest.insert(worker.to_owned(), shown);
        });
        true
    }

    /// The job is over; its results show what became of it.
    pub(super) fn clear(&self, worker: &str) {
        self.0.send_if_modified(|state| {
            let gone = state.newest.remove(worker).is_some();
            state.version += u64::from(gone);
            gone
        });
    }
}

/// Where a picture is that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub url: String,
    pub media_type: &'static str,
}

/// Stores the newest picture at most once a second, until there will be no more. Jobs that do not ask for it have no folder.
pub(super) async fn store(
    folder: Option<PreviewFolder>,
    mut pictures: watch::Receiver<Option<Preview>>,
    stored: watch::Sender<Option<Reference>>,
) {
    let Some(mut folder) = folder else { return };
    while pictures.changed().await.is_ok() {
        let Some(preview) = pictures.borrow_and_update().clone() else { continue };
        let media_type = preview.media_type;
        // A picture that cannot be stored is no loss: results are, and they tell of a full disk.
        if let Some(url) = folder.replace(preview).await {
            stored.send_replace(Some(Reference { url, media_type }));
        }
        if !pause(&pictures).await {
            return;
        }
    }
}

/// The end of the run ends it early. `false`: it has ended.
async fn pause(pictures: &watch::Receiver<Option<Preview>>) -> bool {
    let mut ears = pictures.clone();
    let ended = async { while ears.changed().await.is_ok() {} };
    tokio::time::timeout(SHORTEST_PAUSE, ended).await.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn picture(length: usize) -> Preview {
        Preview { media_type: "image/png", bytes: vec![7; length].into(), node: None }
    }

    #[tokio::test]
    async fn each_worker_has_its_newest_picture_and_every_change_counts() {
        let previews = Previews::default();
        assert_eq!((previews.version(), previews.latest("w-0")), (0, None));
        assert!(previews.show("w-0", "a", &picture(1)) && previews.show("w-1", "b", &picture(2)));
        assert!(previews.show("w-0", "a", &picture(3)));
        let shown = previews.latest("w-0").unwrap();
        assert_eq!((shown.version, &*shown.job, shown.preview.bytes.len()), (3, "a", 3));
        assert_eq!(previews.latest("w-1").unwrap().version, 2);
        assert_eq!(previews.changed_since(2).await, 3);
        assert_eq!(previews.changed_since(3).now_or_never(), None, "nothing has changed");
        previews.clear("w-0");
        assert_eq!((previews.version(), previews.latest("w-0")), (4, None));
        previews.clear("w-0");
        assert_eq!(previews.version(), 4);
    }

    #[test]
    fn a_picture_that_is_too_large_is_not_kept() {
        let previews = Previews::default();
        assert!(!previews.show("w", "a", &picture(LARGEST + 1)));
        assert!(previews.show("w", "a", &picture(LARGEST)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_picture_a_second_is_stored_the_newest_and_the_end_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = PreviewFolder::new(root.path(), "job", Duration::from_secs(3600));
        let (sender, pictures) = watch::channel(None);
        let (stored, mut references) = watch::channel(None);
        let storing = tokio::spawn(store(Some(folder), pictures, stored));
        sender.send_replace(Some(picture(1)));
        references.changed().await.unwrap();
        let began = tokio::time::Instant::now();
        for length in 2..20 {
            sender.send_replace(Some(picture(length)));
        }
        references.changed().await.unwrap();
        assert!(began.elapsed() >= SHORTEST_PAUSE, "{:?}", began.elapsed());
        let reference = references.borrow_and_update().clone().unwrap();
        let path = url::Url::parse(&reference.url).unwrap().to_file_path().unwrap();
        assert_eq!(std::fs::read(path).unwrap().len(), 19, "the newest");
        let before = tokio::time::Instant::now();
        drop(sender);
        storing.await.unwrap();
        assert!(before.elapsed() < SHORTEST_PAUSE);
    }
}
