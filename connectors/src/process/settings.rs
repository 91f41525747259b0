//! What an engine process is started with, and how long it may take for what.
//! In: what the agent knows. Out: plain values.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One instance of an engine process.
#[derive(Clone)]
pub struct Settings {
    /// The connector's name: that of its file, without an ending.
    pub name: &'static str,
    /// The executable.
    pub path: PathBuf,
    /// The program and first words that lead to [`super::guard::run`].
    pub guard: Vec<OsString>,
    /// Its whole environment; nothing of the agent's own goes to it.
    pub env: Vec<(String, String)>,
    /// Folder for the files of its runs.
    pub scratch: PathBuf,
    /// The GPU that this instance is to use.
    pub gpu: Option<Gpu>,
    /// Bytes of private memory that each of its processes may take.
    pub memory: Option<u64>,
    /// Deadlines.
    pub timing: Timing,
}

/// A GPU as the process is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The number that configuration calls it by.
    pub index: u32,
    /// The driver's id, empty if it has none.
    pub uuid: String,
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From the start to the answer to `describe`: interpreters load large libraries first.
    pub describe: Duration,
    /// To answer it once something that is no JSON has been printed; without it as long as any other.
    pub after_plain_text: Option<Duration>,
    /// To answer `probe`.
    pub probe: Duration,
    /// To take a line from us.
    pub write: Duration,
    /// To end a run after `cancel`; after it the process is ended.
    pub obey: Duration,
    /// For the guard to end everything.
    pub end: Duration,
    /// First pause before a process that ended by itself is started again; doubles up to `pause_longest`.
    pub pause_first: Duration,
    /// Longest such pause.
    pub pause_longest: Duration,
    /// A process that lived this long has its earlier deaths forgiven.
    pub steady: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            describe: Duration::from_secs(60),
            after_plain_text: None,
            probe: Duration::from_secs(5),
            write: Duration::from_secs(10),
            obey: Duration::from_secs(8),
            end: Duration::from_secs(8),
            pause_first: Duration::from_secs(1),
            pause_longest: Duration::from_secs(60),
            steady: Duration::from_secs(60),
        }
    }
}

/// Of its environment the names alone: there are secrets in it.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("Settings");
        shown.field("name", &self.name).field("path", &self.path).field("guard", &self.guard).field("env", &env);
        shown.field("scratch", &self.scratch).field("gpu", &self.gpu).field("memory", &self.memory);
        shown.field("timing", &self.timing).finish()
    }
}

impl Settings {
    /// Everything that the process finds in its environment.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let mut env = self.env.clone();
        // What is printed is in the log when it is printed, and not lost with a process that is killed.
        env.push(("PYTHONUNBUFFERED".to_owned(), "1".to_owned()));
        if let Some(Gpu { index, uuid }) = &self.gpu {
            env.push(("GPU_WORKER_GPU".to_owned(), index.to_string()));
            env.push(("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned()));
            // The id holds on machines where CUDA numbers cards otherwise than the driver does.
            let visible = if uuid.is_empty() { index.to_string() } else { uuid.clone() };
            env.push(("CUDA_VISIBLE_DEVICES".to_owned(), visible));
        }
        env
    }
}
