//! Handing a graph to the server, and reading what its answer proves and what it does not.
//! In: an attempt whose id is durable. Out: queued, refused, or in doubt.
//!
//! ```text
//!   POST ──▶ 200, our id, no node errors ──▶ queued
//!     ├────▶ 200, node errors: only a part would run ──▶ stopped, refused
//!     ├────▶ 200, another id (before 0.3.45) ──▶ that one stopped, refused
//!     ├────▶ 400 with reasons, and not in queue or history ──▶ refused
//!     ├────▶ anything else, or nothing ──▶ in doubt: it may be queued all the same
//!     └────▶ cancelled meanwhile ──▶ stopped
//! ```

use super::api::Place;
use super::http::{Answer, ENGINE, Trouble};
use super::refusal;
use super::run::Attempt;
use crate::contract::RunError;
use crate::failure::{Failure, Reason};
use failpoints::{Point, reach};
use serde_json::{Value, json};
use tokio::time::timeout;

impl Attempt<'_> {
    /// `Ok(None)`: it is queued. `Ok(Some)`: it may be; the failure is for the case that it turns out not to be.
    pub(super) async fn submit(&self) -> Result<Option<Failure>, RunError> {
        let timing = &self.comfy.settings.timing;
        let body = json!({
            "prompt": self.graph.to_value(),
            "prompt_id": self.id,
            "client_id": self.id,
            "extra_data": { "gpu_worker": { "job_id": self.job.id, "attempt": self.job.attempt } },
        });
        let path = ["prompt"];
        let post = self.comfy.api.http.post(&path, &body, timing.submit);
        tokio::pin!(post);
        let answer = tokio::select! {
            answer = &mut post => answer,
            () = self.ctx.cancel.cancelled() => {
                // Cut off now, it might be queued after we have looked for it.
                let _ = timeout(timing.submit_grace, post).await;
                return Err(self.cancelled().await);
            }
        };
        reach(Point::PromptAnswered);
        match answer {
            Ok(answer) if answer.status == 200 => self.accepted(&answer).await,
            Ok(answer) => {
                let said = answer.json::<Value>().ok().filter(|_| answer.status == 400);
                let refused = said.and_then(|said| refusal::failure(&said, self.graph));
                let Some(refused) = refused else {
                    let trouble = Trouble::Status { status: answer.status, retry_after: answer.retry_after };
                    return Ok(Some(trouble.failure(ENGINE, "submitting the workflow")));
                };
                match self.comfy.api.locate(self.id).await {
                    Ok(Place::Nowhere) | Err(_) => Err(refused.into()),
                    Ok(_) => Ok(Some(refused)),
                }
            }
            Err(trouble) => Ok(Some(trouble.failure(ENGINE, "submitting the workflow"))),
        }
    }

    async fn accepted(&self, answer: &Answer) -> Result<Option<Failure>, RunError> {
        let Ok(said) = answer.json::<Value>() else {
            return Ok(Some(Trouble::Nonsense.failure(ENGINE, "submitting the workflow")));
        };
        match said.get("prompt_id").and_then(Value::as_str) {
            Some(id) if id == self.id => {}
            Some(other) => {
                self.stop(other).await;
                let what =
                    "this ComfyUI ignores prompt ids, so a run could not be found again; update it to 0.3.45 or newer";
                return Err(Failure::of_host(Reason::DependencyError, what).into());
            }
            None => return Ok(Some(Trouble::Nonsense.failure(ENGINE, "submitting the workflow"))),
        }
        // Part of the graph would run, and its success would look like that of the whole.
        let partly = said.get("node_errors").and_then(Value::as_object).is_some_and(|errors| !errors.is_empty());
        match refusal::failure(&said, self.graph) {
            Some(failure) => {
                self.stop(self.id).await;
                Err(failure.into())
            }
            None if partly => {
                self.stop(self.id).await;
                Err(Failure::new(Reason::InvalidPayload, "ComfyUI would run only a part of the workflow").into())
            }
            None => {
                reach(Point::PromptAccepted);
                Ok(None)
            }
        }
    }
}
