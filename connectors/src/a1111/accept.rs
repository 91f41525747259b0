//! An answer, held against the job before any of its pictures is kept.
//! In: pictures that have arrived and are not sealed, the fields beside them. Out: the outcome, or why it is thrown away.

use super::checkpoint::Checkpoint;
use super::flight::Picture;
use super::http::{ENGINE, Trouble};
use super::payload::{self, Plan};
use super::progress::Tracker;
use super::run::Attempt;
use super::verdict::{Info, png_size};
use crate::contract::{Outcome, RunError, Stage};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Attempt<'_> {
    /// Compares what came with what was asked, and seals it.
    pub(super) async fn accept(
        &self,
        plan: &Plan,
        checkpoint: Option<&Checkpoint>,
        mut pictures: Vec<Picture>,
        fields: &BTreeMap<String, Value>,
        tracker: &mut Tracker<'_>,
    ) -> Result<Outcome, RunError> {
        let mut data = json!({ "task_id": self.id });
        if plan.kind.is_generation() {
            let info = Info::read(fields.get("info"))
                .ok_or_else(|| Trouble::Nonsense.failure(ENGINE, "reading the result"))?;
            self.undisturbed(&info, tracker).await?;
            info.check(plan, checkpoint)?;
            if let Some(version) = info.version() {
                self.server.is_version(version);
            }
            pictures.drain(..info.first().min(pictures.len()));
            data = info.facts(self.id);
        } else if let Some(html) = fields.get("html_info").and_then(Value::as_str) {
            data["info"] = json!(payload::short(&without_tags(html)));
        }
        if plan.pictures.map_or(pictures.is_empty(), |asked| pictures.len() != asked) {
            let asked = plan.pictures.map_or("at least one".to_owned(), |asked| asked.to_string());
            let what = format!(
                "the server answered with {} pictures, not {asked}: it was stopped, or lacks room",
                pictures.len()
            );
            return Err(Failure::new(Reason::MissingExpectedData, what).into());
        }
        for picture in &pictures {
            if let (Some(wanted), Some(made)) = (plan.size, png_size(&picture.head))
                && wanted != made
            {
                let ((w, h), (x, y)) = (wanted, made);
                let what = format!("the server made a picture of {x}x{y}, not {w}x{h}");
                return Err(Failure::of_host(Reason::CorruptedData, what).into());
            }
        }
        tracker.say(Stage::Fetching, 1.0, "storing the pictures");
        let mut outputs = Vec::with_capacity(pictures.len());
        for picture in pictures {
            if self.ctx.cancel.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            outputs.push(picture.writer.finish().await?);
        }
        Ok(Outcome { outputs, data, timings: BTreeMap::new() })
    }

    /// Somebody at the web page may have interrupted or skipped: the flag stays up until the next job begins.
    pub(super) async fn undisturbed(&self, info: &Info, tracker: &Tracker<'_>) -> Result<(), RunError> {
        let api = &self.server.api;
        let state = api.state(api.timing.request).await.unwrap_or_default();
        let still_ours = info.stamp().is_empty() || state.stamp == info.stamp();
        match () {
            () if state.interrupted && still_ours => Err(interrupted()),
            () if tracker.skipped || (state.skipped && still_ours) => {
                let what = "somebody skipped a picture of this run on the server; an unfinished one is no result";
                Err(Failure::new(Reason::ServiceUnavailable, what).into())
            }
            () => Ok(()),
        }
    }
}

pub(super) fn interrupted() -> RunError {
    let what = "the run was interrupted on the server; an unfinished picture is no result";
    Failure::new(Reason::ServiceUnavailable, what).into()
}

fn without_tags(html: &str) -> String {
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}
