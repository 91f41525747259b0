//! One job's life with a server of the OpenAI API.
//! In: a job and the runner's context. Out: an outcome, a failure, or a stop that has hung up on the server.
//!
//! ```text
//!   payload read ─▶ id recorded ─▶ posted ─▶ streamed ─────────────────────────┐
//!        │               │Lost        │        └─ no end said: Failure         ├─▶ judged ─▶ stored ─▶ Outcome
//!        └─ Failure      └─ nothing   ├─ whole answer (vectors, pictures) ─────┤      └─ refused: Failure
//!                           started   └─ in the background: its id recorded,   │
//!                                        polled ──────────────────────────────-┘
//!   stop: the connection is closed, which is what ends the work of all these servers; a response in the background is
//!   cancelled by its id.
//! ```

use super::draft::Draft;
use super::halves::{self, Piece};
use super::http::{LARGE, SMALL, Tree};
use super::lines::Form;
use super::meter::Meter;
use super::payload::{Op, Plan};
use super::refusal::{self, Around};
use super::responses;
use super::server::Server;
use super::stream::{Fault, More, follow};
use super::{media, result};
use crate::contract::{Outcome, RunContext, Stage};
use crate::http::{Answer, Trouble, whole};
use crate::live::Cut;
use bytes::Bytes;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How often a request is put in other words before the server's refusal counts.
const REWORDINGS: usize = 2;

/// What is known of a response in the background.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Remote {
    /// There is none.
    #[default]
    Nothing,
    /// The server has been asked for one; it may be at work.
    Asked,
    /// There is one of this id.
    Known(String),
}

pub(super) struct Attempt {
    pub server: Arc<Server>,
    pub ctx: RunContext,
    pub plan: Plan,
    /// Recorded before the work was handed over, and sent along.
    pub id: String,
    /// Its response in the background.
    pub remote: Arc<watch::Sender<Remote>>,
    /// What must not be repeated in messages.
    pub hidden: Vec<String>,
}

impl From<Trouble> for Cut {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(super::http::failure(&trouble, "waiting for the answer"))
    }
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Trouble(trouble) => trouble.into(),
            Fault::Failed(failure) | Fault::Silence(failure) => failure.into(),
        }
    }
}

impl Attempt {
    pub(super) fn with_around<T>(&self, use_it: impl FnOnce(&Around<'_>) -> T) -> T {
        let listed = self.server.known.models();
        use_it(&Around {
            flavour: self.server.flavour(),
            model: self.plan.body.get("model").and_then(Value::as_str),
            listed: &listed,
            jobs_key: self.plan.key.is_some(),
            key: self.server.http.key(&self.plan.key),
            hidden: &self.hidden,
        })
    }

    /// Does the work, or waits for the response that an earlier process has asked for.
    pub async fn work(self, found: Option<Value>) -> Result<Outcome, Cut> {
        match found {
            Some(answer) => {
                let id = self.id.clone();
                self.collect(id, answer).await
            }
            None => self.carry_out().await,
        }
    }

    async fn carry_out(mut self) -> Result<Outcome, Cut> {
        let mut body = Value::Object(std::mem::take(&mut self.plan.body));
        media::inline(&self.ctx, &mut body).await?;
        if let Value::Object(body) = body {
            self.plan.body = body;
        }
        match self.plan.op {
            Op::Embeddings => self.embeddings().await,
            Op::Images | Op::Edits => self.pictures().await,
            Op::Responses if self.plan.body.get("background") == Some(&json!(true)) => self.background().await,
            _ => self.text().await,
        }
    }

    pub(super) fn route(&self) -> (Tree, &'static str) {
        match self.plan.op {
            Op::Chat => (Tree::Api, "chat/completions"),
            Op::Completion => (Tree::Api, "completions"),
            Op::Responses => (Tree::Api, "responses"),
            Op::Embeddings => (Tree::Api, "embeddings"),
            Op::Images => (Tree::Api, "images/generations"),
            Op::Edits => (Tree::Api, "images/edits"),
            Op::NativeChat => (Tree::Root, "api/chat"),
            Op::NativeGenerate => (Tree::Root, "api/generate"),
        }
    }

    /// Hands the work over; the head of a good answer. A server that does not know a field of ours is asked without it.
    pub(super) async fn post(&mut self, limit: Duration) -> Result<Response, Cut> {
        let (tree, path) = self.route();
        let mut reworded = 0;
        loop {
            let body = &self.plan.body;
            let request = self.server.http.request(Method::POST, tree, path, &self.plan.key);
            // vLLM and the service write it into their logs, which is how their owner finds a job there.
            let request = request.header("x-request-id", &self.id).json(body);
            let response = timeout(limit, request.send()).await.map_err(|_| Trouble::Silent)?.map_err(Trouble::from)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let answer = self.refusal(response).await;
            reworded += 1;
            if reworded > REWORDINGS || !self.reword(&answer) {
                return Err(self
                    .with_around(|around| refusal::failure(answer.status, &answer.headers, &answer.body, around))
                    .into());
            }
        }
    }

    /// A refusal counts by its status, even if its words have no end or break off.
    pub(super) async fn refusal(&self, response: Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let read = timeout(self.server.settings.timing.request, whole(response, SMALL)).await;
        let wordless = Answer { status, headers, retry_after: None, content_type: None, body: Bytes::new() };
        read.ok().and_then(Result::ok).unwrap_or(wordless)
    }

    fn reword(&mut self, answer: &Answer) -> bool {
        let body = &mut self.plan.body;
        if body.contains_key("stream_options") && refusal::wants_no_stream_options(answer.status, &answer.body) {
            self.server.no_stream_options.store(true, Ordering::Relaxed);
            body.remove("stream_options");
            return true;
        }
        if refusal::wants_newer_limit(answer.status, &answer.body)
            && let Some(most) = body.remove("max_tokens")
        {
            body.insert("max_completion_tokens".to_owned(), most);
            return true;
        }
        false
    }

    async fn text(mut self) -> Result<Outcome, Cut> {
        let op = self.plan.op;
        let native = matches!(op, Op::NativeChat | Op::NativeGenerate);
        self.plan.body.insert("stream".to_owned(), json!(true));
        if matches!(op, Op::Chat | Op::Completion) && !self.server.no_stream_options.load(Ordering::Relaxed) {
            self.plan.body.entry("stream_options").or_insert_with(|| json!({ "include_usage": true }));
        }
        let body = &self.plan.body;
        let limit = ["max_completion_tokens", "max_tokens", "max_output_tokens"]
            .iter()
            .find_map(|name| body.get(*name)?.as_u64());
        let limit = limit.or_else(|| body.get("options")?["num_predict"].as_u64());
        let sink = self.ctx.progress.clone();
        let mut meter = Meter::new(&*sink, limit);
        meter.say(0.0, "waiting for the first piece of text", Stage::Working);
        let began = Instant::now();
        let response = self.post(self.server.settings.timing.first).await?;
        let mut draft = Draft::default();
        let pictures = if is_json(&response) && !native {
            // It does not stream: the whole answer is one piece.
            let reading = timeout(self.server.settings.timing.whole, whole(response, LARGE));
            let answer = reading.await.map_err(|_| Trouble::Silent)??;
            self.take_whole(&mut draft, halves::whole(&answer.body)?)?
        } else {
            self.stream(response, &mut draft, &mut meter, began).await?
        };
        draft.end(&*self.ctx.tokens)?;
        draft.judge()?;
        let run_ms = began.elapsed();
        result::text(&self, draft, pictures, run_ms, meter.first).await
    }

    fn take_whole(&self, draft: &mut Draft, answer: Value) -> Result<Vec<String>, Cut> {
        let tokens = &*self.ctx.tokens;
        if let Some(error) = refusal::error_in(&answer) {
            return Err(self.with_around(|around| refusal::in_stream(&error, around)).into());
        }
        if self.plan.op == Op::Responses {
            return Ok(self.with_around(|around| responses::finish(draft, tokens, &answer, around))?);
        }
        draft.chunk(tokens, &Piece { value: answer, is_marked: false })?;
        Ok(Vec::new())
    }

    async fn stream(
        &self,
        response: Response,
        draft: &mut Draft,
        meter: &mut Meter<'_>,
        asked: Instant,
    ) -> Result<Vec<String>, Cut> {
        let (op, tokens) = (self.plan.op, &*self.ctx.tokens);
        let form = if matches!(op, Op::NativeChat | Op::NativeGenerate) { Form::Lines } else { Form::Events };
        let mut ended = None;
        let timing = &self.server.settings.timing;
        let followed = follow(response, form, timing, asked, |data| {
            if data.trim() == "[DONE]" {
                // A response says by an event of its own that it is whole; some servers write this behind a broken one, too.
                draft.is_done = op != Op::Responses;
                return Ok(More::No);
            }
            let event = halves::piece(data)?;
            if let Some(error) = refusal::error_in(&event.value) {
                return Err(Fault::Failed(self.with_around(|around| refusal::in_stream(&error, around))));
            }
            let is_last = match (op, form) {
                (Op::Responses, _) => {
                    ended = responses::event(draft, tokens, &event)?.map(|last| (last, event.is_marked));
                    ended.is_some()
                }
                (_, Form::Events) => {
                    draft.chunk(tokens, &event)?;
                    false
                }
                (_, Form::Lines) => {
                    draft.line(tokens, &event)?;
                    draft.is_done
                }
            };
            meter.pieces(draft.pieces);
            Ok(match () {
                () if is_last => More::No,
                () if draft.finish_reason.is_some() => More::Whole,
                () if draft.pieces > 0 => More::Writing,
                () => More::Waiting,
            })
        });
        match followed.await {
            // The text was whole; what is lost is its usage at most.
            Err(Fault::Trouble(Trouble::Broken) | Fault::Silence(_)) if draft.finish_reason.is_some() => {}
            followed => followed?,
        }
        let Some((mut response, is_marked)) = ended else { return Ok(Vec::new()) };
        if is_marked {
            halves::lose(&mut response);
        }
        Ok(self.with_around(|around| responses::finish(draft, tokens, &response, around))?)
    }
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}
