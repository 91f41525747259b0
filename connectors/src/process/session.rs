//! One life of an engine process: started, spoken to over its pipes, ended.
//! In: questions. Out: answers, progress, and the news that it is gone.

use super::log;
use super::message::{self, Refused};
use super::settings::Settings;
use super::talk::{Following, Gone, Talk, locked};
use crate::contract::ProgressSink;
use rustix::process::Pid;
use serde_json::Value;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Lines that may wait for a process that does not read.
const UNREAD_MAX: usize = 64;

/// A process at work. Dropping it ends the process.
pub(super) struct Session {
    talk: Arc<Talk>,
    lines: mpsc::Sender<Vec<u8>>,
    next: AtomicU64,
    /// When it was started.
    pub born: Instant,
}

/// Why a question has no usable answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It said no.
    Refused(Refused),
    /// It is gone; why.
    Gone(String),
}

impl Session {
    /// Starts the process under its guard.
    pub fn start(settings: &Settings) -> Result<Self, String> {
        let Some((program, words)) = settings.guard.split_first() else { return Err("there is no guard".to_owned()) };
        let mut command = Command::new(program);
        command.args(words).arg(std::process::id().to_string());
        command.arg(settings.memory.unwrap_or(0).to_string()).arg(&settings.path);
        command.env_clear().envs(settings.environment()).process_group(0);
        // Its own folder: what lies beside an engine is found by it.
        if let Some(folder) = settings.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("it has no pipes".to_owned());
        };
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let talk = Arc::new(Talk::new(settings.name, pid));
        let (lines, to_write) = mpsc::channel(UNREAD_MAX);
        tokio::spawn(log::drain(settings.name, stderr));
        tokio::spawn(talk.clone().write(stdin, to_write, settings.timing.write));
        tokio::spawn(talk.clone().live(child, stdout));
        Ok(Self { talk, lines, next: AtomicU64::new(1), born: Instant::now() })
    }

    /// Asks; the caller sets the limit of time.
    pub async fn ask(&self, method: &str, params: &Value) -> Result<Value, Unanswered> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        locked(&self.talk.waiting).insert(id, answer);
        let _forgotten = Forget { talk: &self.talk, id };
        // Looked at after the question is on the list: from then on its end is heard of, one way or the other.
        if let Some(gone) = self.is_gone() {
            return Err(Unanswered::Gone(gone.why));
        }
        let line = message::request(id, method, params);
        if self.lines.send(line).await.is_err() {
            return Err(Unanswered::Gone(self.gone().await));
        }
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refused)) => Err(Unanswered::Refused(refused)),
            Err(_) => Err(Unanswered::Gone(self.gone().await)),
        }
    }

    /// The same for a run, whose progress goes to `sink` meanwhile.
    pub async fn ask_run(
        &self,
        method: &str,
        params: &Value,
        run: &str,
        sink: Arc<dyn ProgressSink>,
    ) -> Result<Value, Unanswered> {
        locked(&self.talk.runs).insert(run.to_owned(), Following { sink, fraction: 0.0 });
        let _followed = Unfollow { talk: &self.talk, run };
        self.ask(method, params).await
    }

    /// Whether a run is at work in it.
    pub fn is_busy(&self) -> bool {
        !locked(&self.talk.runs).is_empty()
    }

    /// How often it has reported progress of this run while that was not at work.
    pub fn strays(&self, run: &str) -> u64 {
        self.talk.strays(run)
    }

    /// The first line that it wrote to its standard output and that is no JSON.
    pub fn something_else(&self) -> Option<String> {
        self.talk.something_else.borrow().clone()
    }

    /// Waits for such a line, and for this long after it; without a time for ever.
    pub async fn has_said_something_else(&self, patience: Option<Duration>) {
        let Some(patience) = patience else { return std::future::pending().await };
        let mut said = self.talk.something_else.subscribe();
        let _ = said.wait_for(Option::is_some).await;
        tokio::time::sleep(patience).await;
    }

    /// The process that guards it, while there is one.
    pub fn guard(&self) -> Option<Pid> {
        self.talk.guard()
    }

    /// Why it is gone, if it is.
    pub fn is_gone(&self) -> Option<Gone> {
        self.talk.gone.borrow().clone()
    }

    /// Whether it was ended by us and not by itself.
    pub fn ended_on_purpose(&self) -> bool {
        self.talk.on_purpose.load(Ordering::Relaxed)
    }

    /// Waits until nothing of it is left; says why it ended.
    pub async fn gone(&self) -> String {
        let mut gone = self.talk.gone.subscribe();
        gone.wait_for(Option::is_some).await.ok().and_then(|gone| gone.clone()).map(|gone| gone.why).unwrap_or_default()
    }

    /// Waits until nothing of it is left, without keeping it.
    pub fn end_of_life(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut gone = self.talk.gone.subscribe();
        async move {
            let _ = gone.wait_for(Option::is_some).await;
        }
    }

    /// Whether it had to go for reasons that its runs have no part in.
    pub fn was_dismissed(&self) -> bool {
        self.talk.dismissed.load(Ordering::Relaxed)
    }

    /// Ends it and everything that it started.
    pub fn end(&self, why: &str) {
        if self.is_gone().is_none() {
            self.talk.dismissed.store(true, Ordering::Relaxed);
        }
        self.talk.end(why);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.talk.end("it was not needed any more");
    }
}

struct Forget<'a> {
    talk: &'a Talk,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        locked(&self.talk.waiting).remove(&self.id);
    }
}

struct Unfollow<'a> {
    talk: &'a Talk,
    run: &'a str,
}

impl Drop for Unfollow<'_> {
    fn drop(&mut self) {
        locked(&self.talk.runs).remove(self.run);
    }
}
