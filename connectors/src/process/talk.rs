//! What goes on in the background of one process: lines written to it, lines read from it, its end.
//! In: lines to write, an order to end it. Out: answers and progress to whoever waits for them, and the news that it is gone.

use super::lines::{Line, next_line};
use super::log::Drain;
use super::message::{self, LINE_MAX, Message, Refused};
use crate::contract::{Progress, ProgressSink};
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::pipe::Sender;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

/// After the process is gone its last lines are still in the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Of a line that is no JSON this much is told.
const SAID: usize = 100;
/// Runs whose late reports are counted.
const STRAYS_MAX: usize = 64;
/// The guard kills within seconds; it is killed itself only if it hangs.
const GUARD_HANGS: Duration = Duration::from_secs(15);

/// What is shared between those who ask and those who read and write.
pub(super) struct Talk {
    name: &'static str,
    pub waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Value, Refused>>>>,
    pub runs: Mutex<HashMap<String, Following>>,
    pub gone: watch::Sender<Option<Gone>>,
    guard: Mutex<Option<Pid>>,
    /// How often progress of runs was reported that are not at work.
    strays: Mutex<BTreeMap<String, u64>>,
    /// The first line on standard output that was no JSON.
    pub something_else: watch::Sender<Option<String>>,
    pub on_purpose: AtomicBool,
    pub dismissed: AtomicBool,
    stop: watch::Sender<Option<String>>,
}

/// That a process is gone.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    /// Why, in words that follow the engine's name.
    pub why: String,
    /// Since when.
    pub at: Instant,
}

/// Where the progress of a run goes, and how far it was told to be.
pub(super) struct Following {
    pub sink: Arc<dyn ProgressSink>,
    pub fraction: f64,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Talk {
    /// `guard` is the process that was started.
    pub fn new(name: &'static str, guard: Option<Pid>) -> Self {
        Self {
            name,
            waiting: Mutex::default(),
            runs: Mutex::default(),
            strays: Mutex::default(),
            gone: watch::Sender::new(None),
            guard: Mutex::new(guard),
            something_else: watch::Sender::new(None),
            on_purpose: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            stop: watch::Sender::new(None),
        }
    }

    /// The guard, while it is there.
    pub fn guard(&self) -> Option<Pid> {
        *locked(&self.guard)
    }

    /// Has the guard end it and everything that it started.
    pub fn end(&self, why: &str) {
        if self.gone.borrow().is_some() {
            return;
        }
        self.on_purpose.store(true, Ordering::Relaxed);
        self.stop.send_if_modified(|stop| stop.is_none().then(|| *stop = Some(why.to_owned())).is_some());
        // The number is ours until the process has been waited for, and then it is taken out of here.
        if let Some(guard) = *locked(&self.guard) {
            let _ = kill_process(guard, Signal::TERM);
        }
    }

    /// Writes until it is gone, or does not read any more.
    pub async fn write(self: Arc<Self>, stdin: ChildStdin, mut lines: mpsc::Receiver<Vec<u8>>, limit: Duration) {
        let Ok(mut stdin) = stdin.into_owned_fd().and_then(Sender::from_owned_fd) else {
            return self.end("its standard input cannot be watched");
        };
        let mut gone = self.gone.subscribe();
        let mut is_open = true;
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                _ = gone.wait_for(Option::is_some) => None,
                _ = stdin.ready(Interest::ERROR), if is_open => {
                    is_open = false;
                    Some(Vec::new())
                }
            };
            let Some(line) = line else { return };
            // What was written and never read will not be answered, and no write tells of that. What it has read it may
            // answer still.
            let is_unread = || ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0);
            if !is_open && (line.is_empty() && locked(&self.waiting).is_empty() || is_unread()) {
                return self.closed_its_input().await;
            }
            match timeout(limit, stdin.write_all(&line)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return self.closed_its_input().await,
                Err(_) => return self.end("it does not read its standard input"),
            }
        }
    }

    async fn closed_its_input(&self) {
        let mut gone = self.gone.subscribe();
        // One that is dying has closed it, too: then how it died says more.
        let dies = async { gone.wait_for(Option::is_some).await.is_ok() };
        if timeout(LAST_WORDS, dies).await.is_err() {
            self.end("it closed its standard input");
        }
    }

    /// Reads until the end, then says so to everybody who waits.
    pub async fn live(self: Arc<Self>, mut child: Child, stdout: ChildStdout) {
        // Fused: it may come to its end before the process does, and is looked at once more after it.
        let reading = self.read(stdout).fuse();
        tokio::pin!(reading);
        let mut stop = self.stop.subscribe();
        let status = {
            let hangs = async {
                let _ = stop.wait_for(Option::is_some).await;
                tokio::time::sleep(GUARD_HANGS).await;
            };
            tokio::select! {
                status = child.wait() => status,
                () = &mut reading => {
                    // Nothing can be heard any more: an engine that lives on without its pipe is of no use.
                    match timeout(LAST_WORDS, child.wait()).await {
                        Ok(status) => status,
                        Err(_) => {
                            self.end("it closed its standard output");
                            match timeout(GUARD_HANGS, child.wait()).await {
                                Ok(status) => status,
                                Err(_) => kill(&mut child).await,
                            }
                        }
                    }
                }
                () = hangs => kill(&mut child).await,
            }
        };
        *locked(&self.guard) = None;
        if !reading.is_terminated() {
            let _ = timeout(LAST_WORDS, reading).await;
        }
        let purpose = self.stop.borrow().clone();
        let why = purpose.unwrap_or_else(|| status.map_or_else(|error| error.to_string(), |status| ended(&status)));
        self.gone.send_replace(Some(Gone { why, at: Instant::now() }));
        locked(&self.waiting).clear();
    }

    fn answered(&self, id: u64, answer: Result<Value, Refused>) {
        if let Some(waiting) = locked(&self.waiting).remove(&id) {
            let _ = waiting.send(answer);
        }
    }

    fn went_on(&self, run: String, mut progress: Progress) {
        if let Some(following) = locked(&self.runs).get_mut(&run) {
            following.fraction = following.fraction.max(progress.fraction);
            progress.fraction = following.fraction;
            following.sink.report(progress);
            return;
        }
        let mut strays = locked(&self.strays);
        if strays.len() >= STRAYS_MAX && !strays.contains_key(&run) {
            strays.clear();
        }
        let count = strays.entry(run).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(engine = self.name, "it reports progress of a run that is not at work any more");
        }
    }

    /// How often it has reported progress of this run while that was not at work.
    pub fn strays(&self, run: &str) -> u64 {
        locked(&self.strays).get(run).copied().unwrap_or_default()
    }

    fn said_something_else(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let plain = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        let text: String = plain.take(SAID).collect();
        if !text.is_empty() {
            self.something_else.send_if_modified(|said| said.is_none().then(|| *said = Some(text)).is_some());
        }
    }

    async fn read(&self, stdout: ChildStdout) {
        let (mut lines, mut odd) = (BufReader::new(stdout), Drain::new(self.name));
        let mut line = Vec::new();
        loop {
            match next_line(&mut lines, &mut line, LINE_MAX).await {
                Line::Read => {}
                Line::TooLong => {
                    self.end(&format!("it wrote a line of more than {} MiB to its standard output", LINE_MAX >> 20));
                    return;
                }
                Line::End => return,
            }
            match message::read(&line) {
                Some(Message::Answer { id, answer }) => self.answered(id, answer),
                Some(Message::Nobodys { why }) => {
                    odd.line(&line, "not JSON, on standard output: ");
                    let waiting: Vec<u64> = locked(&self.waiting).keys().copied().collect();
                    match (&waiting[..], message::malformed(0, &why)) {
                        ([], _) => {}
                        ([only], Message::Answer { answer, .. }) => self.answered(*only, answer),
                        // Whose it was nobody knows: each of them may wait for ever.
                        _ => {
                            self.end(&format!("it wrote an answer that cannot be read: {why}"));
                            return;
                        }
                    }
                }
                Some(Message::Progress { run, progress }) => self.went_on(run, progress),
                Some(Message::Echo) => self.said_something_else(&line),
                Some(Message::Unknown) => {}
                // What people print while they look for a fault is no reason to end their engine.
                None => {
                    self.said_something_else(&line);
                    odd.line(&line, "not JSON, on standard output: ");
                }
            }
        }
    }
}

async fn kill(child: &mut Child) -> std::io::Result<ExitStatus> {
    let _ = child.start_kill();
    child.wait().await
}

/// The guard passes on the exit code of what it guarded, and 128 + the signal if there was one.
fn ended(status: &ExitStatus) -> String {
    match status.code() {
        Some(0) => "it ended by itself".to_owned(),
        Some(code @ 129..) => format!("it was killed by signal {}", code - 128),
        Some(code) => format!("it ended with exit code {code}"),
        None => "its guard was killed".to_owned(),
    }
}
