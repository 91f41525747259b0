//! Every server that speaks the OpenAI API: the service itself, vLLM, llama.cpp, Ollama, LM Studio.
//! In: prompts, messages, texts, pictures. Out: texts as they are written and whole, vectors, pictures, typed failures.
//!
//! Which server it is, is asked ([`flavour`]); what a job says in Ollama's words goes to Ollama's own routes where the
//! common ones would lose it. A text is streamed, and ends with its connection: hanging up is how it is stopped, and
//! nothing of it can be taken up again. A response in the background can, by its id.

mod background;
mod draft;
mod entire;
mod flavour;
mod halves;
mod http;
mod lines;
mod masked;
mod media;
mod meter;
mod model;
mod native;
mod pause;
mod payload;
mod probe;
mod refusal;
mod responses;
mod result;
mod run;
mod server;
mod settings;
mod sources;
mod stream;

pub use settings::{SERVICES, Settings, Timing};

use crate::contract::{Connector, Freed, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::Failure;
use crate::http::Trouble;
use crate::live::{Cut, Live};
use async_trait::async_trait;
use flavour::Flavour;
use http::Tree;
use payload::Plan;
use run::{Attempt, Remote};
use serde_json::{Value, json};
use server::Server;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the registry calls it.
pub const NAME: &str = "openai";

/// How ids of responses begin, which the server keeps; ours are random.
const RESPONSE: &str = "resp_";

/// One server.
pub struct OpenAi {
    server: Arc<Server>,
    live: Arc<Live>,
    /// What it serves if nobody says what.
    services: Vec<String>,
}

impl OpenAi {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// `system_error/config_error` if no HTTP client can be set up (no usable root certificates).
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let services = SERVICES.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { server: Arc::new(Server::new(settings)?), live: Arc::default(), services })
    }

    async fn plan(&self, job: &Job) -> Result<Plan, Failure> {
        let flavour = self.server.ask_flavour().await?;
        let mut plan = Plan::read(job, flavour)?;
        if !plan.body.contains_key("model") && self.server.known.models().is_empty() {
            // The first probe is still to come.
            let _ = probe::probe(&self.server.http, &self.server.settings, &self.server.known).await;
        }
        model::choose(&mut plan, flavour, &self.server.settings.models, &self.server.known.models())?;
        Ok(plan)
    }

    fn attempt(&self, id: &str, plan: Plan, ctx: &RunContext) -> Attempt {
        let mut hidden = Vec::new();
        ["messages", "prompt", "input", "instructions", "system"]
            .iter()
            .filter_map(|name| plan.body.get(*name))
            .for_each(|value| texts(value, &mut hidden));
        Attempt {
            server: self.server.clone(),
            ctx: ctx.clone(),
            plan,
            id: id.to_owned(),
            remote: Arc::default(),
            hidden,
        }
    }

    /// Sees work through, and stops what is made in the background when it must. `found`: a response of an earlier process.
    async fn attend(&self, attempt: Attempt, ctx: &RunContext, found: Option<Value>) -> Result<Outcome, RunError> {
        let (server, id, key) = (self.server.clone(), attempt.id.clone(), attempt.plan.key.clone());
        let remote = attempt.remote.clone();
        let own = id.clone();
        self.live
            .attend(&id, ctx, move |stop: CancellationToken| async move {
                let work = attempt.work(found);
                tokio::pin!(work);
                let ended = tokio::select! {
                    biased;
                    () = stop.cancelled() => None,
                    ended = &mut work => Some(ended),
                };
                let ended = match ended {
                    Some(ended) => ended,
                    // Nobody could cancel it without its id, which comes with the answer.
                    None if *remote.borrow() == Remote::Asked => {
                        let mut news = remote.subscribe();
                        tokio::select! {
                            ended = &mut work => ended,
                            _ = news.wait_for(|remote| *remote != Remote::Asked) => Err(Cut::Stopped),
                            () = tokio::time::sleep(server.settings.timing.stop) => Err(Cut::Stopped),
                        }
                    }
                    None => Err(Cut::Stopped),
                };
                let (remote, is_stopped) = (remote.borrow().clone(), matches!(ended, Err(Cut::Stopped)));
                let is_over = match &remote {
                    Remote::Known(response) if is_stopped => {
                        let cancelled = server.cancel_response(response, &key).await;
                        matches!(cancelled, Ok(Interrupted::Stopped | Interrupted::NothingToStop))
                    }
                    Remote::Asked => !is_stopped,
                    _ => true,
                };
                if !is_over {
                    tracing::warn!(run = own, "a cancelled response may still be made by its server");
                }
                if let Remote::Known(response) = remote {
                    server.remote().remove(&response);
                }
                ended
            })
            .await
    }
}

/// All that a person wrote inside a value: no pictures, and none of the API's own words.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("data:") => {}
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "role" | "type" | "detail"))
            .for_each(|(_, item)| texts(item, into)),
        _ => {}
    }
}

#[async_trait]
impl Connector for OpenAi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn services(&self) -> &[String] {
        match self.server.settings.services.as_slice() {
            [] => &self.services[..self.server.flavour().services().min(self.services.len())],
            told => told,
        }
    }

    fn concurrency(&self) -> usize {
        self.server.settings.concurrency
    }

    fn lists_all_models(&self) -> bool {
        true
    }

    fn models(&self, job: &Job) -> Vec<String> {
        payload::model(&job.payload).map(str::to_owned).into_iter().collect()
    }

    async fn probe(&self) -> Probe {
        let probe = probe::probe(&self.server.http, &self.server.settings, &self.server.known).await;
        if probe.is_healthy() {
            let _ = self.server.ask_flavour().await;
        }
        probe
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        let plan = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Err(RunError::Cancelled),
            plan = self.plan(job) => plan?,
        };
        let id = uuid::Uuid::now_v7().to_string();
        ctx.ledger.record_service_job(&id).await?;
        if ctx.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        if plan.op.is_text() {
            ctx.tokens.begin();
        }
        let attempt = self.attempt(&id, plan, ctx);
        self.attend(attempt, ctx, None).await
    }

    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        if !service_job_id.starts_with(RESPONSE) {
            return Ok(Reattached::Unknown);
        }
        let asking = async {
            let plan = self.plan(job).await?;
            let limit = self.server.settings.timing.request;
            let answer = self.server.http.response(service_job_id, &plan.key, limit).await;
            Ok::<_, Failure>((plan, answer))
        };
        let (plan, answer) = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Err(RunError::Cancelled),
            asked = asking => asked?,
        };
        let answer = match answer.as_ref().map(|answer| (answer.status, http::said(answer))) {
            Ok((_, Some(said))) if said["status"] == "cancelled" => return Ok(Reattached::Unknown),
            Ok((_, Some(said))) => said,
            // It may well be made still: asked for it again and again, as during its making, the server will say.
            Ok((408 | 409 | 429 | 500..=599, _)) | Err(_) => json!({ "status": "in_progress" }),
            Ok(_) => return Ok(Reattached::Unknown),
        };
        ctx.tokens.begin();
        let attempt = self.attempt(service_job_id, plan, ctx);
        attempt.remote.send_replace(Remote::Known(service_job_id.to_owned()));
        self.attend(attempt, ctx, Some(answer)).await.map(Reattached::Done)
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        let stop = self.server.settings.timing.stop;
        let known = self.server.remote().get(service_job_id).cloned();
        let own = known.as_ref().map_or(service_job_id, |(own, _)| own);
        if self.live.knows(own) {
            return Ok(self.live.stop(own, stop).await);
        }
        if service_job_id.starts_with(RESPONSE) {
            return self.server.cancel_response(service_job_id, &known.and_then(|(_, key)| key)).await;
        }
        // The work of an earlier process ended with its connection.
        Ok(Interrupted::NothingToStop)
    }

    fn can_free_memory(&self) -> bool {
        self.server.flavour() == Flavour::Ollama
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        if self.server.ask_flavour().await? != Flavour::Ollama {
            return Ok(Freed::NotSupported);
        }
        let (server, limit) = (&self.server.http, self.server.settings.timing.request);
        let failed = |trouble: Trouble| http::failure(&trouble, "asking it to free memory");
        let loaded = server.get(Tree::Root, "api/ps", &None, limit).await.map_err(failed)?;
        let loaded = http::said(&loaded).unwrap_or_default();
        for model in loaded["models"].as_array().into_iter().flatten() {
            // Ollama's docs/api.md, "Unload a model".
            let unload = json!({ "model": model["name"], "keep_alive": 0 });
            server.post(Tree::Root, "api/generate", &unload, &None, limit).await.map_err(failed)?;
        }
        Ok(Freed::Requested)
    }
}
