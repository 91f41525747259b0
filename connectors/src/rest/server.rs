//! One server: how a run stands there, and how it is stopped.
//! In: a run's ids. Out: at work, done, failed or unknown; a stop that was seen to take effect.

use super::definition::{Definition, Poll};
use super::http::{Answer, Http, Unanswered, of_status, reason, words};
use super::template::Fill;
use crate::contract::Interrupted;
use crate::failure::{Failure, Reason};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a cancel is held back for a look at what there is to cancel.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const STOP_POLL: Duration = Duration::from_millis(200);

/// One server with the definition that is in force for a run.
pub(super) struct Server {
    pub http: Http,
    pub definition: Definition,
    /// From a cancel to the end of the work.
    pub stop: Duration,
}

/// How a run at the engine is.
pub(super) enum Standing {
    AtWork(Value),
    Done(Answer),
    Failed(Failure),
    Unknown,
    /// It says more than can be read, and will the next time.
    Unreadable(Failure),
}

/// Why an answer to a poll says nothing.
pub(super) struct Unread {
    pub failure: Failure,
    /// Asking again will not help.
    for_good: bool,
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self { failure, for_good: false }
    }
}

/// What the engine told of a run.
pub(super) struct Told {
    pub answer: Answer,
    pub json: Value,
    pub state: String,
}

impl Told {
    /// Whether the word is one for an end.
    pub fn has_ended(&self, poll: &Poll) -> bool {
        poll.done.contains(&self.state) || poll.failed.contains(&self.state)
    }
}

impl Server {
    /// Asks how a run is.
    pub async fn look(&self, poll: &Poll, fill: &Fill<'_>) -> Result<Standing, Failure> {
        let Told { answer, json, state } = match self.told(poll, fill).await {
            Ok(Some(told)) => told,
            Ok(None) => return Ok(Standing::Unknown),
            Err(Unread { failure, for_good: true }) => return Ok(Standing::Unreadable(failure)),
            Err(Unread { failure, .. }) => return Err(failure),
        };
        if poll.done.contains(&state) {
            return Ok(Standing::Done(answer));
        }
        if poll.failed.contains(&state) {
            let explain = &self.definition.failure;
            let said = words(&json, explain).map_or_else(String::new, |words| format!(": {words}"));
            let reason = reason(&json, explain).unwrap_or(Reason::UnknownError);
            return Ok(Standing::Failed(Failure::as_named(reason, format!("the engine says {state:?}{said}"))));
        }
        Ok(Standing::AtWork(json))
    }

    /// One answer to a poll; `None` if the engine does not know the run.
    pub async fn told(&self, poll: &Poll, fill: &Fill<'_>) -> Result<Option<Told>, Unread> {
        let answer = self.http.call(&poll.call, &self.definition.headers, None, fill).await;
        let answer = answer.map_err(|unanswered| {
            let for_good = matches!(unanswered, Unanswered::TooLarge(_));
            Unread { failure: unanswered.failure("asking how a run is"), for_good }
        })?;
        if matches!(answer.status, 404 | 410) {
            return Ok(None);
        }
        if !answer.is_success() {
            return Err(of_status(&answer, &self.definition.failure, "asking how a run is").into());
        }
        let wrong = |said: String| Failure::of_host(Reason::InvalidResponseFormat, said);
        let json: Value = answer.json().map_err(|_| wrong("the engine's answer to a poll is not JSON".to_owned()))?;
        let state = json.pointer(&poll.state);
        let state = state.filter(|state| !state.is_null() && !state.is_object() && !state.is_array());
        let state = state.ok_or_else(|| wrong(format!("the engine's answer has no state at `{}`", poll.state)))?;
        let state = state.as_str().map_or_else(|| state.to_string(), str::to_owned);
        Ok(Some(Told { answer, json, state }))
    }

    /// Stops a run, and looks until it is no longer at work, for as long as it is waited for.
    pub async fn stop(&self, fill: &Fill<'_>) -> Result<Interrupted, Failure> {
        let definition = &self.definition;
        let Some(poll) = &definition.poll else {
            if let Some(cancel) = &definition.cancel {
                let answer = self.http.call(cancel, &definition.headers, None, fill).await;
                answer.map_err(|trouble| trouble.failure("cancelling"))?;
            }
            return Ok(Interrupted::NothingToStop);
        };
        let Some(cancel) = &definition.cancel else {
            let at_work = matches!(self.look(poll, fill).await?, Standing::AtWork(_) | Standing::Unreadable(_));
            return Ok(if at_work { Interrupted::StillRunning } else { Interrupted::NothingToStop });
        };
        // What has ended is left alone. An engine that does not say how the run is may well be at work on it.
        if let Ok(Ok(Standing::Done(_) | Standing::Failed(_) | Standing::Unknown)) =
            timeout(LOOK_FIRST, self.look(poll, fill)).await
        {
            return Ok(Interrupted::NothingToStop);
        }
        let answer = self.http.call(cancel, &definition.headers, None, fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("cancelling"))?;
        if !answer.is_success() && !matches!(answer.status, 404 | 409 | 410) {
            return Err(of_status(&answer, &definition.failure, "cancelling"));
        }
        // Most servers have stopped with their answer. Whoever waits for the others sets the limit.
        loop {
            match self.look(poll, fill).await {
                Ok(Standing::Done(_) | Standing::Failed(_) | Standing::Unknown) => return Ok(Interrupted::Stopped),
                Ok(Standing::Unreadable(_)) => return Ok(Interrupted::StillRunning),
                _ => sleep(STOP_POLL).await,
            }
        }
    }
}
