//! What an engine process still does for a run that has ended, as far as it shows.
//! In: the run's id. Out: whether it goes on reporting, or writing into the run's folder, which is gone by then.

use super::{Process, is_run_id};
use crate::conformance::Aftermath;
use std::time::Duration;
use tokio::time::sleep;

/// The part of the time of watching for what was on its way when the run ended.
const ON_ITS_WAY: u32 = 4;

impl Process {
    /// Watches the process for this long.
    pub async fn aftermath(&self, service_job_id: &str, watch: Duration) -> Aftermath {
        let folder = self.instance.settings.scratch.join(service_job_id);
        if !is_run_id(service_job_id) {
            return Aftermath::Unseen("the id is not that of a run".to_owned());
        }
        let strays = async || self.instance.session().await.map_or(0, |session| session.strays(service_job_id));
        sleep(watch / ON_ITS_WAY).await;
        let before = strays().await;
        // What was left behind by its last write is not what is looked for.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        sleep(watch).await;
        let reports = strays().await.saturating_sub(before);
        // One that writes at this moment is in the way of the removal: that there is a folder says enough.
        let writes = tokio::fs::try_exists(&folder).await.unwrap_or_default();
        let _ = tokio::fs::remove_dir_all(&folder).await;
        match (reports, writes) {
            (0, false) => Aftermath::Still,
            (0, true) => Aftermath::GoesOn(
                "the engine goes on after its stop: it has made the folder of the run anew and writes into it"
                    .to_owned(),
            ),
            (reports, _) => Aftermath::GoesOn(format!(
                "the engine goes on after its stop: it has reported progress {reports} more times in {watch:?}"
            )),
        }
    }
}
