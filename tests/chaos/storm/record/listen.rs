//! Listens to MONITOR on a connection and a thread of its own, and comes back when Redis does.
//! In: a Redis. Out: the history so far, whole between its snapshots.
//!
//! ```text
//!   connect ──▶ MONITOR ──▶ snapshot by a second connection ──▶ lines up to its mark are dropped ──▶ lines are kept
//!      ▲                                                                                                │
//!      └──────────────────────────── the connection ends: Redis is gone, or it was killed ◀─────────────┘
//! ```
//!
//! Keyspace notifications name no values and no scripts; a log of the scripts' own would rest on what is to be checked.
//! MONITOR tells each command of each script with its arguments, in order, by the clock of Redis.

use super::line::parse;
use super::picture::Picture;
use super::step::Steps;
use super::{Entry, snapshot};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the thread and its owner share.
struct Shared {
    url: String,
    address: String,
    prefix: String,
    entries: Mutex<Vec<Entry>>,
    /// Counts snapshots, and makes marks of them.
    pictures: Mutex<u64>,
    stop: AtomicBool,
}

/// A history that grows.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that keeps a storm from killing these connections.
pub const NAME: &str = "recorder";

impl Recorder {
    /// Listens from now on: what happens behind this call is in the history.
    pub async fn start(url: &str, prefix: &str) -> Self {
        let address = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            address,
            prefix: prefix.to_owned(),
            entries: Mutex::default(),
            pictures: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || shared.listen_always()
        });
        let recorder = Self { shared, thread: Some(thread) };
        recorder.taken(0).await;
        recorder
    }

    /// How many snapshots there are: one at the start and one behind each gap.
    pub fn pictures(&self) -> u64 {
        *locked(&self.shared.pictures)
    }

    /// Waits until there are more snapshots than this.
    pub async fn taken(&self, before: u64) {
        crate::support::until("the recorder listens", || async { (self.pictures() > before).then_some(()) }).await;
    }

    /// The history up to now, with a snapshot of the end.
    pub async fn finish(mut self) -> Vec<Entry> {
        let Some(thread) = self.thread.take() else { return Vec::new() };
        self.shared.stop.store(true, Ordering::SeqCst);
        let ended = tokio::task::spawn_blocking(move || thread.join());
        ended.await.expect("the thread ends").expect("the recorder does not panic");
        std::mem::take(&mut *locked(&self.shared.entries))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn listen_always(&self) {
        loop {
            // An error is the end of a connection; the next one begins with a snapshot.
            if self.listen().is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
            if self.stop.load(Ordering::SeqCst) && TcpStream::connect(&self.address).is_err() {
                return;
            }
        }
    }

    fn picture(&self, mark: &str) -> std::io::Result<Picture> {
        let to_io = |error: redis::RedisError| std::io::Error::other(error.to_string());
        let client = redis::Client::open(self.url.as_str()).map_err(to_io)?;
        let mut con = client.get_connection_with_timeout(Duration::from_secs(3)).map_err(to_io)?;
        redis::cmd("CLIENT").arg("SETNAME").arg(NAME).exec(&mut con).map_err(to_io)?;
        snapshot::take(&mut con, &self.prefix, mark).map_err(to_io)
    }

    /// Listens on one connection until it ends (an error) or the history is to end.
    fn listen(&self) -> std::io::Result<()> {
        let socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        (&socket).write_all(format!("CLIENT SETNAME {NAME}\r\nMONITOR\r\n").as_bytes())?;
        let mut lines = Lines { reader: BufReader::with_capacity(1 << 20, socket), line: Vec::new() };
        for _ in 0..2 {
            if !lines.next_within(Duration::from_secs(3))?.starts_with(b"+OK") {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
        }
        let (mut steps, mut number) = (Steps::default(), self.pictures() + 1);
        let mut awaited = Some((format!("picture {number} of {self:p}"), false));
        let mut picture = None;
        loop {
            if let Some((mark, false)) = &awaited
                && picture.is_none()
            {
                picture = Some(self.picture(mark)?);
            }
            if awaited.is_none() && self.stop.load(Ordering::SeqCst) {
                number += 1;
                let mark = format!("end {number} of {self:p}");
                picture = Some(self.picture(&mark)?);
                awaited = Some((mark, true));
            }
            let Some(line) = lines.next()?.and_then(parse) else { continue };
            let is_mark = |mark: &String| !line.lua && line.words.last() == Some(mark);
            if let Some((_, last)) = awaited.take_if(|(mark, _)| is_mark(mark)) {
                let Some(picture) = picture.take() else { continue };
                let mut entries = locked(&self.entries);
                if last {
                    entries.extend(steps.end().map(Entry::Step));
                    entries.push(Entry::End(picture));
                    return Ok(());
                }
                entries.push(Entry::Seen(picture));
                drop(entries);
                *locked(&self.pictures) = number;
                steps = Steps::default();
                continue;
            }
            // What came before a first snapshot is in it.
            if matches!(awaited, Some((_, false))) {
                continue;
            }
            if let Some(step) = steps.take(line) {
                locked(&self.entries).push(Entry::Step(step));
            }
        }
    }

    fn pictures(&self) -> u64 {
        *locked(&self.pictures)
    }
}

/// Lines as they come, with pauses between them.
struct Lines {
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Lines {
    /// The next line, or none for now.
    fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if self.line.last() == Some(&b'\n') => Ok(Some(&self.line)),
            Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn next_within(&mut self, time: Duration) -> std::io::Result<Vec<u8>> {
        let began = std::time::Instant::now();
        while began.elapsed() < time {
            if let Some(line) = self.next()? {
                return Ok(line.to_vec());
            }
        }
        Err(std::io::ErrorKind::TimedOut.into())
    }
}
