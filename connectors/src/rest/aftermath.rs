//! How a run stands at the engine itself, whatever the connector believes.
//! In: the recorded id of a run. Out: the word and the figure that the engine's poll gives for it.

use super::server::{Standing, Told};
use super::template::Fill;
use super::{Rest, nobody};
use crate::conformance::Aftermath;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

impl Rest {
    /// Whether the engine says that it is at work on the run. Of a synchronous one only the connector can say.
    pub async fn is_under_way(&self, service_job_id: &str) -> bool {
        let Some(poll) = &self.server.definition.poll else { return self.is_at_work(service_job_id) };
        let Some(id) = self.ours(service_job_id) else { return false };
        let Some(engine_id) = id.at(&self.server.definition) else { return false };
        let job = nobody();
        let fill = Fill { job: &job, run_id: &id.run, engine_id: &engine_id };
        matches!(self.server.look(poll, &fill).await, Ok(Standing::AtWork(_)))
    }

    /// Asks the engine twice, this long apart, how a run is that it was told to stop.
    pub async fn aftermath(&self, service_job_id: &str, watch: Duration) -> Aftermath {
        let unseen = |why: &str| Aftermath::Unseen(why.to_owned());
        let Some(poll) = &self.server.definition.poll else {
            return unseen("a synchronous engine cannot be asked whether it goes on after its connection was closed");
        };
        let id = self.ours(service_job_id).and_then(|id| Some((id.at(&self.server.definition)?, id.run)));
        let Some((engine_id, run_id)) = id else { return unseen("the engine has not told its id of the run") };
        let job = nobody();
        let fill = Fill { job: &job, run_id: &run_id, engine_id: &engine_id };
        let figure =
            |told: &Told| told.json.pointer(poll.progress.as_ref()?).filter(|figure| !figure.is_null()).cloned();
        let mut before: Option<Value> = None;
        for pause in [Duration::ZERO, watch] {
            sleep(pause).await;
            let told = match self.server.told(poll, &fill).await {
                Ok(Some(told)) => told,
                Ok(None) => return Aftermath::Still,
                Err(unread) => return unseen(&unread.failure.message),
            };
            let (word, now) = (&told.state, figure(&told));
            if !told.has_ended(poll) {
                return Aftermath::GoesOn(format!("the engine goes on after its stop: it still says {word:?}"));
            }
            if let (Some(before), Some(now)) = (&before, &now)
                && before != now
            {
                return Aftermath::GoesOn(format!(
                    "the engine goes on after its stop: it says {word:?}, but its progress went from {before} to {now}"
                ));
            }
            before = now;
        }
        Aftermath::Still
    }
}
