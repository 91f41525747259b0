//! One life of an engine process: started, spoken to over its pipes, ended.
//! In: questions. Out: answers, progress, and the news that it is gone.

use super::log::{self, Drain};
use super::message::{self, LINE_MAX, Message, Refused};
use super::settings::Settings;
use crate::contract::ProgressSink;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

/// Lines that may wait for a process that does not read.
const UNREAD_MAX: usize = 64;
/// After the process is gone its last lines are still in the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The guard kills within seconds; it is killed itself only if it hangs.
const GUARD_HANGS: Duration = Duration::from_secs(15);

/// A process at work. Dropping it ends the process.
pub(super) struct Session {
    talk: Arc<Talk>,
    lines: mpsc::Sender<Vec<u8>>,
    next: AtomicU64,
    /// When it was started.
    pub born: Instant,
}

struct Talk {
    name: &'static str,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Value, Refused>>>>,
    runs: Mutex<HashMap<String, Following>>,
    gone: watch::Sender<Option<Gone>>,
    guard: Mutex<Option<Pid>>,
    on_purpose: AtomicBool,
    dismissed: AtomicBool,
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

struct Following {
    sink: Arc<dyn ProgressSink>,
    fraction: f64,
}

/// Why a question has no usable answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It said no.
    Refused(Refused),
    /// It is gone; why.
    Gone(String),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let talk = Arc::new(Talk {
            name: settings.name,
            waiting: Mutex::default(),
            runs: Mutex::default(),
            gone: watch::Sender::new(None),
            guard: Mutex::new(pid),
            on_purpose: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            stop: watch::Sender::new(None),
        });
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

impl Talk {
    fn end(&self, why: &str) {
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

    async fn write(self: Arc<Self>, mut stdin: ChildStdin, mut lines: mpsc::Receiver<Vec<u8>>, limit: Duration) {
        let mut gone = self.gone.subscribe();
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                _ = gone.wait_for(Option::is_some) => None,
            };
            let Some(line) = line else { return };
            let written = async {
                stdin.write_all(&line).await?;
                stdin.flush().await
            };
            match timeout(limit, written).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    // One that is dying has closed it, too: then how it died says more.
                    if timeout(LAST_WORDS, gone.wait_for(Option::is_some)).await.is_err() {
                        self.end("it closed its standard input");
                    }
                    return;
                }
                Err(_) => {
                    self.end("it does not read its standard input");
                    return;
                }
            }
        }
    }

    /// Reads until the end, then says so to everybody who waits.
    async fn live(self: Arc<Self>, mut child: Child, stdout: ChildStdout) {
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
                Some(Message::Answer { id, answer }) => {
                    if let Some(waiting) = locked(&self.waiting).remove(&id) {
                        let _ = waiting.send(answer);
                    }
                }
                Some(Message::Progress { run, mut progress }) => {
                    let mut runs = locked(&self.runs);
                    if let Some(following) = runs.get_mut(&run) {
                        following.fraction = following.fraction.max(progress.fraction);
                        progress.fraction = following.fraction;
                        following.sink.report(progress);
                    }
                }
                Some(Message::Unknown) => {}
                // What people print while they look for a fault is no reason to end their engine.
                None => odd.line(&line, "not JSON, on standard output: "),
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

/// What a read of one line gave.
pub(super) enum Line {
    Read,
    TooLong,
    End,
}

/// Reads one line into `line`, without its end. Of a longer one than `most` only `most` bytes are held.
pub(super) async fn next_line(from: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Vec<u8>, most: usize) -> Line {
    line.clear();
    let mut begun = false;
    loop {
        let Ok(part) = from.fill_buf().await else { return Line::End };
        if part.is_empty() {
            return if begun { Line::Read } else { Line::End };
        }
        begun = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(part.len());
        let room = most.saturating_sub(line.len());
        line.extend_from_slice(&part[..taken.min(room)]);
        from.consume(taken + usize::from(end.is_some()));
        if taken > room {
            return Line::TooLong;
        }
        if end.is_some() {
            return Line::Read;
        }
    }
}
