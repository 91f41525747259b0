//! The life of an engine process over its deaths: started when it is needed, and not too often.
//! In: a wish to speak to it. Out: a process that has described itself, or why there is none.
//!
//! ```text
//!   asleep ─needed─▶ starting ─described─▶ up ─ended for good─▶ closed
//!                       │ fails             │ dies
//!                       └───────▶ resting (1 s, 2 s … 60 s) ─needed after that, or it was up before─▶ starting
//! ```

use super::describe::Description;
use super::notes::Notes;
use super::session::{Session, Unanswered};
use super::settings::Settings;
use super::talk::Gone;
use crate::failure::{Failure, Reason};
use crate::stamp::Stamp;
use serde_json::json;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout};

/// One process and its successors.
pub(super) struct Instance {
    pub settings: Settings,
    /// What the first one said; services and GPUs are planned by it.
    pub described: OnceLock<Description>,
    /// It has died, or come back, without having been asked for it.
    pub news: Notify,
    pub notes: Notes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    stamp: Option<Stamp>,
    deaths: u32,
    resting: Option<(Instant, String)>,
    closed: bool,
}

impl State {
    fn next_start(&self) -> Option<Instant> {
        self.resting.as_ref().filter(|_| !self.closed).map(|(until, _)| *until)
    }
}

impl Instance {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            described: OnceLock::new(),
            news: Notify::new(),
            notes: Notes::default(),
            state: Mutex::default(),
        }
    }

    /// A process that can be spoken to. Starting goes on even if nobody waits for it any more.
    pub async fn up(self: &Arc<Self>) -> Result<Arc<Session>, Failure> {
        let me = self.clone();
        match tokio::spawn(async move { me.up_here().await }).await {
            Ok(up) => up,
            Err(_) => Err(Failure::of_host(Reason::InternalError, "the engine's start crashed")),
        }
    }

    /// The same, waiting for as long as a process that has died rests, if that is no longer than this.
    pub async fn up_after_rest(self: &Arc<Self>, longest: Duration) -> Result<Arc<Session>, Failure> {
        let deadline = Instant::now() + longest;
        loop {
            let failure = match self.up().await {
                Ok(session) => return Ok(session),
                Err(failure) => failure,
            };
            let until = self.state.lock().await.next_start();
            match until.filter(|until| *until <= deadline) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return Err(failure),
            }
        }
    }

    /// The process, if there is one.
    pub async fn session(&self) -> Option<Arc<Session>> {
        self.state.lock().await.session.clone().filter(|session| session.is_gone().is_none())
    }

    /// Why the last one died, while none has come after it.
    pub async fn why_gone(&self) -> Option<String> {
        self.state.lock().await.resting.as_ref().map(|(_, why)| why.clone())
    }

    /// Ends it for good, and waits until nothing of it is left.
    pub async fn close(&self, why: &str) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(session) = state.session.take() {
            session.end(why);
            session.gone().await;
        }
    }

    async fn up_here(self: &Arc<Self>) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(Failure::of_host(Reason::ServiceDown, format!("{} is not used any more", self.settings.name)));
        }
        let fresh = Stamp::of(&self.settings.path).await;
        if let Some(session) = state.session.clone() {
            match session.is_gone() {
                // A changed file is a new engine's: this process goes on as it is.
                None => return Ok(session),
                Some(_) if session.ended_on_purpose() => {}
                Some(gone) => self.died(&mut state, session.born, gone),
            }
            state.session = None;
        }
        // Somebody mended it.
        if state.stamp != fresh {
            state.resting = None;
        }
        if let Some((until, why)) = &state.resting
            && *until > Instant::now()
        {
            return Err(self.resting(*until, why));
        }
        state.stamp = fresh;
        match self.start().await {
            Ok(session) => {
                state.session = Some(session.clone());
                self.look_after(&session);
                Ok(session)
            }
            Err((born, why)) => {
                self.died(&mut state, born, Gone { why, at: Instant::now() });
                let (until, why) = state.resting.clone().unwrap_or_else(|| (Instant::now(), String::new()));
                Err(self.resting(until, &why))
            }
        }
    }

    /// One that dies is started again after its rest, whether or not anybody asks for it meanwhile.
    fn look_after(self: &Arc<Self>, session: &Session) {
        let (gone, me) = (session.end_of_life(), Arc::downgrade(self));
        tokio::spawn(async move {
            gone.await;
            while let Some(instance) = me.upgrade() {
                let up = instance.up().await;
                instance.news.notify_one();
                let until = instance.state.lock().await.next_start().filter(|_| up.is_err());
                drop(instance);
                let Some(until) = until else { return };
                tokio::time::sleep_until(until).await;
            }
        });
    }

    fn died(&self, state: &mut State, born: Instant, Gone { why, at }: Gone) {
        let timing = &self.settings.timing;
        if at - born >= timing.steady {
            state.deaths = 0;
        }
        state.deaths = state.deaths.saturating_add(1);
        let doubled = 2_u32.saturating_pow(state.deaths.saturating_sub(1).min(16));
        let pause = timing.pause_first.saturating_mul(doubled).min(timing.pause_longest);
        tracing::warn!(engine = self.settings.name, why, pause_ms = pause.as_millis() as u64, "engine process is gone");
        state.resting = Some((at + pause, why));
    }

    fn resting(&self, until: Instant, why: &str) -> Failure {
        let left = until.saturating_duration_since(Instant::now());
        let said = format!("{}: {why}; its next start is in {:.1} s", self.settings.name, left.as_secs_f64());
        Failure::of_host(Reason::ServiceDown, said)
    }

    async fn start(&self) -> Result<Arc<Session>, (Instant, String)> {
        let session = Session::start(&self.settings).map_err(|why| (Instant::now(), why))?;
        let (limit, patience) = (self.settings.timing.describe, self.settings.timing.after_plain_text);
        let params = json!({ "protocol": 1 });
        let described = tokio::select! {
            described = timeout(limit, session.ask("describe", &params)) => described,
            () = session.has_said_something_else(patience) => {
                session.end("it does not speak JSON");
                session.gone().await;
                return Err((Instant::now(), instead(&session).unwrap_or_default()));
            }
        };
        let described = match described {
            Ok(Ok(answer)) => Description::read(answer),
            Ok(Err(Unanswered::Refused(refused))) => Err(format!("its `describe` failed: {}", refused.failure())),
            Ok(Err(Unanswered::Gone(why))) => {
                let why = instead(&session).map_or(why.clone(), |instead| format!("{why}; {instead}"));
                return Err((session.born, why));
            }
            Err(_) => {
                let why = format!("it did not answer `describe` within {} s", limit.as_secs_f64());
                Err(instead(&session).map_or(why.clone(), |instead| format!("{why}; {instead}")))
            }
        };
        let fault = match described {
            Ok(described) => self.accept(described).err(),
            Err(why) => Some(why),
        };
        match fault {
            None => Ok(Arc::new(session)),
            Some(why) => {
                session.end(&why);
                session.gone().await;
                // However long it took to say nothing: that is no steady life.
                Err((Instant::now(), why))
            }
        }
    }

    /// Slots are planned by what the first process said; a later one must fit into them.
    fn accept(&self, described: Description) -> Result<(), String> {
        let first = self.described.get_or_init(|| described.clone());
        let planned = |d: &Description| (d.services.clone(), d.gpu, d.concurrency);
        if planned(first) == planned(&described) {
            return Ok(());
        }
        Err("it says other services, `gpu` or `concurrency` than when it was taken up".to_owned())
    }
}

/// What it has printed in place of an answer, if it has.
fn instead(session: &Session) -> Option<String> {
    let line = session.something_else()?;
    Some(format!(
        "it printed `{line}` to its standard output, where an answer to `describe` was expected: one line of JSON such as \
         {{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {{\"protocol\": 1, \"services\": [\"hello\"]}}}}; what is for people goes \
         to standard error"
    ))
}
