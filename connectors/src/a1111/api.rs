//! The questions that are asked of the server, and their answers as types.
//! In: a task id, a list's name, options to set. Out: where the task is, what the server does, what it has.
//!
//! Forks answer with more or fewer fields: what is missing reads as zero, a list that a fork has no route for is `None`.

use super::base64;
use super::http::{Http, Trouble};
use super::settings::Timing;
use crate::contract::Preview;
use serde_json::{Map, Value, json};

/// Where a task is, by its id.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    /// The server has no such route (`--nowebui`).
    NoRoute,
    /// It has never heard of it, has forgotten it, or ignores task ids (SD.Next).
    Unknown,
    /// It waits; the server's words for where.
    Queued(Option<String>),
    /// It is said to be at work, which a failed task is too until the next one starts.
    Active {
        /// 0 to 1 over all batches.
        fraction: f64,
    },
    /// One of the last sixteen that ended, interrupted ones included.
    Completed,
}

/// The one global state; it does not say whose it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// 0 to 1.
    pub fraction: f64,
    /// 0: nothing runs. −1: just begun.
    pub job_count: i64,
    /// Batches that have ended.
    pub job_no: i64,
    pub step: u64,
    pub steps: u64,
    /// Both stay true until the next job begins.
    pub interrupted: bool,
    pub skipped: bool,
    /// When the job began, to the second; results carry it as well.
    pub stamp: String,
}

impl State {
    /// Nothing runs; a failed upscaling leaves all of its jobs counted as done until the next job begins.
    pub fn is_idle(&self) -> bool {
        self.job_count == 0 || (self.job_count > 0 && self.job_no >= self.job_count)
    }
}

/// The server, asked.
pub(super) struct Api {
    pub http: Http,
    pub timing: Timing,
}

impl Api {
    pub async fn task(&self, id: &str) -> Result<Task, Trouble> {
        self.ask_task(id, None).await.map(|(task, _)| task)
    }

    /// The same, with the picture of the task that is at work if there is one newer than the one that was `seen`. The
    /// server makes it for the question, every `show_progress_every_n_steps`.
    pub async fn task_with_picture(&self, id: &str, seen: i64) -> Result<(Task, Option<(i64, Preview)>), Trouble> {
        self.ask_task(id, Some(seen)).await
    }

    async fn ask_task(&self, id: &str, seen: Option<i64>) -> Result<(Task, Option<(i64, Preview)>), Trouble> {
        let question = json!({ "id_task": id, "id_live_preview": seen.unwrap_or(-1), "live_preview": seen.is_some() });
        let answer = self.http.post("internal/progress", &question, self.timing.request).await?;
        if matches!(answer.status, 404 | 405) {
            return Ok((Task::NoRoute, None));
        }
        let said: Value = answer.success()?.json()?;
        let picture = || Some((said["id_live_preview"].as_i64()?, picture(said["live_preview"].as_str()?)?));
        let is = |name: &str| said.get(name).and_then(Value::as_bool);
        let (Some(active), Some(queued), Some(completed)) = (is("active"), is("queued"), is("completed")) else {
            return Err(Trouble::Nonsense);
        };
        let task = match () {
            () if active => Task::Active { fraction: said["progress"].as_f64().unwrap_or(0.0) },
            () if queued => Task::Queued(said["textinfo"].as_str().map(str::to_owned)),
            () if completed => Task::Completed,
            () => Task::Unknown,
        };
        Ok((task, active.then(picture).flatten()))
    }

    pub async fn state(&self, limit: std::time::Duration) -> Result<State, Trouble> {
        // Without the picture, which would be encoded anew for each question.
        let bare = [("skip_current_image", "true")];
        let said: Value = self.http.get_where("sdapi/v1/progress", &bare, limit).await?.success()?.json()?;
        let state = said.get("state").filter(|state| state.is_object()).ok_or(Trouble::Nonsense)?;
        let is = |name: &str| state[name].as_bool().unwrap_or(false);
        Ok(State {
            fraction: said["progress"].as_f64().unwrap_or(0.0),
            job_count: state["job_count"].as_i64().unwrap_or(0),
            job_no: state["job_no"].as_i64().unwrap_or(0),
            step: state["sampling_step"].as_u64().unwrap_or(0),
            steps: state["sampling_steps"].as_u64().unwrap_or(0),
            interrupted: is("interrupted"),
            skipped: is("skipped"),
            stamp: state["job_timestamp"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Stops whatever runs: ask whose it is just before.
    pub async fn interrupt(&self) -> Result<(), Trouble> {
        self.http.post("sdapi/v1/interrupt", &json!({}), self.timing.request).await?.success().map(drop)
    }

    /// One of the server's lists; `None` if it has no such route.
    pub async fn list(&self, name: &str) -> Result<Option<Value>, Trouble> {
        self.list_within(name, self.timing.request).await
    }

    pub async fn list_within(&self, name: &str, limit: std::time::Duration) -> Result<Option<Value>, Trouble> {
        let answer = self.http.get(&format!("sdapi/v1/{name}"), limit).await?;
        if matches!(answer.status, 404 | 405) {
            return Ok(None);
        }
        answer.success()?.json().map(Some)
    }

    pub async fn options(&self) -> Result<Map<String, Value>, Trouble> {
        self.http.get("sdapi/v1/options", self.timing.request).await?.success()?.json()
    }

    /// Changes options; with a checkpoint among them it is answered when the weights are loaded.
    pub async fn set_options(
        &self,
        options: &Map<String, Value>,
        limit: std::time::Duration,
    ) -> Result<super::http::Answer, Trouble> {
        self.http.post("sdapi/v1/options", &Value::Object(options.clone()), limit).await
    }

    /// Looks for new checkpoint files. It waits its turn behind whatever is at work.
    pub async fn refresh_checkpoints(&self) -> Result<(), Trouble> {
        self.http.post("sdapi/v1/refresh-checkpoints", &json!({}), self.timing.load).await.map(drop)
    }

    /// Takes the model off the card, and puts it back: what was left beside it is gone then. `false`: no such route.
    ///
    /// The server does not put it back by itself: a run would fail on a model in main memory (read off the source; Forge
    /// and SD.Next do it at the next run).
    pub async fn free(&self) -> Result<bool, Trouble> {
        let answer = self.http.post("sdapi/v1/unload-checkpoint", &json!({}), self.timing.request).await?;
        if matches!(answer.status, 404 | 405) {
            return Ok(false);
        }
        answer.success()?;
        // Without any model it answers 500: there was nothing to put back.
        self.http.post("sdapi/v1/reload-checkpoint", &json!({}), self.timing.load).await.map(|_| true)
    }
}

/// `data:image/png;base64,…`; what the bytes are is told by the bytes.
fn picture(said: &str) -> Option<Preview> {
    let bytes = base64::decode(said)?;
    let media_type = match &*bytes {
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        _ => return None,
    };
    Some(Preview { media_type, bytes, node: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_bytes_say() {
        let png = picture("data:image/png;base64,iVBORw0KGgo=").unwrap();
        assert_eq!((png.media_type, &*png.bytes), ("image/png", &b"\x89PNG\r\n\x1a\n"[..]));
        // Said to be a PNG, but a JPEG.
        assert_eq!(picture("data:image/png;base64,/9j/4A==").unwrap().media_type, "image/jpeg");
        for nothing in ["", "data:image/png;base64,", "data:image/png;base64,????", "data:,text"] {
            assert_eq!(picture(nothing), None, "{nothing}");
        }
    }
}
