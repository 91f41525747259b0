//! Orders to the agent: pause, resume, drain, probe, cancel and retry a job, free a GPU's memory.
//! In: requests that the guard has let through. Out: orders for whoever can carry them out, and a sentence on what became of
//! each.

use super::named::Named;
use crate::telemetry::{Notice, tell};
use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use std::fmt;
use std::sync::Arc;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Claim no more. `None`: every worker of this agent.
    Pause(Option<String>),
    /// Claim again.
    Resume(Option<String>),
    /// Claim no more, and say when nothing runs any more.
    Drain(Option<String>),
    /// Ask every engine now how it is.
    Probe,
    /// Stop a job.
    Cancel(String),
    /// Give a failed or cancelled job a new life.
    Retry(String),
    /// Have the engines on a GPU give its memory back.
    FreeVram(u32),
}

/// For people. Names in it are what somebody sent.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = |f: &mut fmt::Formatter<'_>, verb: &str, which: &Option<String>| match which {
            Some(worker) => write!(f, "{verb} {}", worker.escape_debug()),
            None => f.write_str(verb),
        };
        match self {
            Self::Pause(which) => worker(f, "pause", which),
            Self::Resume(which) => worker(f, "resume", which),
            Self::Drain(which) => worker(f, "drain", which),
            Self::Probe => f.write_str("probe all engines"),
            Self::Cancel(id) => write!(f, "cancel job {}", id.escape_debug()),
            Self::Retry(id) => write!(f, "retry job {}", id.escape_debug()),
            Self::FreeVram(gpu) => write!(f, "free the memory of GPU {gpu}"),
        }
    }
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What kind of reason.
    pub because: Because,
    /// A sentence.
    pub error: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// What it names is not there.
    Unknown,
    /// As things are it cannot be done.
    Conflict,
    /// Who is needed for it does not answer.
    Unavailable,
}

/// Carries orders out.
#[async_trait]
pub trait Controls: Send + Sync + 'static {
    /// Does it; answers what was done, in a sentence.
    async fn carry_out(&self, order: Order) -> Result<String, Refused>;
}

#[derive(Clone)]
struct Desk {
    controls: Arc<dyn Controls>,
}

pub(super) fn routes(controls: Arc<dyn Controls>) -> Router {
    let all = |order: fn(Option<String>) -> Order| {
        post(async move |State(desk): State<Desk>| desk.carry_out(order(None)).await)
    };
    let one = |order: fn(Option<String>) -> Order| {
        post(async move |State(desk): State<Desk>, Named(worker): Named<String>| {
            desk.carry_out(order(Some(worker))).await
        })
    };
    let job = |order: fn(String) -> Order| {
        post(async move |State(desk): State<Desk>, Named(id): Named<String>| desk.carry_out(order(id)).await)
    };
    Router::new()
        .route("/api/control/pause", all(Order::Pause))
        .route("/api/control/pause/{worker}", one(Order::Pause))
        .route("/api/control/resume", all(Order::Resume))
        .route("/api/control/resume/{worker}", one(Order::Resume))
        .route("/api/control/drain", all(Order::Drain))
        .route("/api/control/drain/{worker}", one(Order::Drain))
        .route("/api/control/probe", post(async |State(desk): State<Desk>| desk.carry_out(Order::Probe).await))
        .route("/api/control/cancel-job/{id}", job(Order::Cancel))
        .route("/api/control/retry-job/{id}", job(Order::Retry))
        .route("/api/control/free-vram/{gpu}", post(free_vram))
        .with_state(Desk { controls })
}

impl Desk {
    async fn carry_out(&self, order: Order) -> Response {
        let what = order.to_string();
        let answer = self.controls.carry_out(order).await;
        let told = answer.as_ref().unwrap_or_else(|refused| &refused.error);
        tell(Notice::Ordered { order: &what, done: answer.is_ok(), told });
        match answer {
            Ok(message) => Json(json!({"ok": true, "message": message})).into_response(),
            Err(refused) => refused.into_response(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.because {
            Because::Unknown => StatusCode::NOT_FOUND,
            Because::Conflict => StatusCode::CONFLICT,
            Because::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({"error": self.error, "remedy": self.remedy}))).into_response()
    }
}

async fn free_vram(State(desk): State<Desk>, Named(gpu): Named<String>) -> Response {
    match gpu.parse() {
        // Other spellings of a number are not meant.
        Ok(index) if format!("{index}") == gpu => desk.carry_out(Order::FreeVram(index)).await,
        _ => Refused {
            because: Because::Unknown,
            error: "a GPU is named by its number".to_owned(),
            remedy: "`gpu-worker probe` lists them".to_owned(),
        }
        .into_response(),
    }
}
