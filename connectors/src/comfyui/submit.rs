//! Handing a graph to the server, and reading what its answer proves and what it does not.
//! In: an attempt whose id is durable. Out: queued, refused, or in doubt.
//!
//! ```text
//!   POST ──▶ 200, our id, no node errors ──▶ queued
//!     ├────▶ 200, node errors: only a part would run ──▶ stopped, refused; or, if the job says so, queued
//!     ├────▶ 200, another id (before 0.3.45) ──▶ that one stopped, refused
//!     ├────▶ 400 with reasons, and not in queue or history ──▶ refused
//!     ├────▶ anything else, or nothing ──▶ in doubt: it may be queued all the same
//!     └────▶ cancelled meanwhile ──▶ stopped
//! ```

use super::api::Place;
use super::features::Features;
use super::http::{Answer, ENGINE, Trouble};
use super::refusal;
use super::run::Attempt;
use crate::contract::RunError;
use crate::failure::{Failure, Reason};
use bytes::Bytes;
use failpoints::{Point, reach};
use serde_json::{Value, json};
use tokio::time::timeout;

/// How to have a part of a result.
pub(super) const ACCEPT: &str = "`\"partial\": \"accept\"` beside the workflow takes what it makes";

/// What came of a submission that was not refused.
#[derive(Default)]
pub(super) struct Submitted {
    /// Whether it is queued at all is not sure: the failure if it turns out not to be.
    pub doubt: Option<Failure>,
    /// Why a part of the graph is not run.
    pub left_out: Option<String>,
}

impl Submitted {
    fn in_doubt(failure: Failure) -> Self {
        Self { doubt: Some(failure), left_out: None }
    }
}

impl Attempt<'_> {
    /// What is sent to a server that can do this.
    pub(super) fn body(&self, features: Option<&Features>) -> Result<Bytes, Failure> {
        let body = json!({
            "prompt": self.graph.to_value(),
            "prompt_id": self.id,
            // Without one, a prompt that is served from the cache ends without outputs on newer servers.
            "client_id": self.id,
            "extra_data": self.wishes.extra_data(self.job, features)?,
        });
        let body = Bytes::from(body.to_string());
        match features.and_then(|features| features.body_max) {
            Some(most) if body.len() as u64 > most => {
                let what = format!("the workflow is {} bytes, and the server takes {most} at most", body.len());
                Err(Failure::new(Reason::InvalidPayload, format!("{what} (--max-upload-size)")))
            }
            _ => Ok(body),
        }
    }

    /// Hands the body to the server.
    pub(super) async fn submit(&self, body: &Bytes) -> Result<Submitted, RunError> {
        let timing = &self.comfy.settings.timing;
        let post = self.comfy.api.http.post_bytes(&["prompt"], body.clone(), timing.submit);
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
                    return Ok(Submitted::in_doubt(trouble.failure(ENGINE, "submitting the workflow")));
                };
                match self.comfy.api.locate(self.id).await {
                    Ok(Place::Nowhere) | Err(_) => Err(refused.into()),
                    Ok(_) => Ok(Submitted::in_doubt(refused)),
                }
            }
            Err(trouble) => Ok(Submitted::in_doubt(trouble.failure(ENGINE, "submitting the workflow"))),
        }
    }

    async fn accepted(&self, answer: &Answer) -> Result<Submitted, RunError> {
        let nonsense = || Ok(Submitted::in_doubt(Trouble::Nonsense.failure(ENGINE, "submitting the workflow")));
        let Ok(said) = answer.json::<Value>() else { return nonsense() };
        match said.get("prompt_id").and_then(Value::as_str) {
            Some(id) if id == self.id => {}
            Some(other) => {
                self.stop(other).await;
                let what =
                    "this ComfyUI ignores prompt ids, so a run could not be found again; update it to 0.3.45 or newer";
                return Err(Failure::of_host(Reason::DependencyError, what).into());
            }
            None => return nonsense(),
        }
        // Part of the graph would run, and its success would look like that of the whole.
        let partly = said.get("node_errors").and_then(Value::as_object).is_some_and(|errors| !errors.is_empty());
        let refused = refusal::failure(&said, self.graph).or_else(|| {
            partly.then(|| Failure::new(Reason::InvalidPayload, "ComfyUI would run only a part of the workflow"))
        });
        match refused {
            // What this box lacks another may have: there the whole of it runs.
            Some(failure) if partly && self.wishes.accepts_part && !failure.hosts_fault => {
                Ok(accepted(Some(failure.message)))
            }
            Some(failure) => {
                self.stop(self.id).await;
                let said = match partly && !self.wishes.accepts_part {
                    true => format!("{}; the rest of the workflow would run, and {ACCEPT}", failure.message),
                    false => failure.message.clone(),
                };
                Err(Failure { message: said, ..failure }.into())
            }
            None => Ok(accepted(None)),
        }
    }
}

fn accepted(left_out: Option<String>) -> Submitted {
    reach(Point::PromptAccepted);
    Submitted { doubt: None, left_out }
}
