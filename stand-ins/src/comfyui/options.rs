//! What a stand-in server is made of: release, speed, folders, and the quirks that can be switched at any time.
//! In: choices of the caller. Out: plain values read by every other file here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// The recorded releases; they differ in validation, job routes, time stamps and what they withhold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// June 2026, the newer of the two recorded ones.
    V0_27_0,
    /// October 2025.
    V0_3_64,
}

impl Release {
    /// As `/system_stats` tells it.
    pub fn version(self) -> &'static str {
        match self {
            Release::V0_27_0 => "0.27.0",
            Release::V0_3_64 => "0.3.64",
        }
    }

    pub(crate) fn is_new(self) -> bool {
        self == Release::V0_27_0
    }
}

/// How a stand-in behaves from its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which release it answers as.
    pub release: Release,
    /// Time of one sampling step of KSampler. Nodes with a `seconds` input take that instead.
    pub step_time: Duration,
    /// Holds `output`, `input` and `temp`. Without it a temporary folder is made, and removed at the end.
    pub folder: Option<PathBuf>,
    /// Model folder to file names, as `/models/{folder}` lists them. A name with `broken` in it fails to load.
    pub models: BTreeMap<String, Vec<String>>,
    /// For how many of the latest graphs node results are kept; the real default on a small machine is 1.
    pub cached_graphs: usize,
    /// Largest request body, in bytes; 100 MiB on a real server.
    pub max_upload_size: usize,
    /// Misbehaviour from the start on.
    pub quirks: Quirks,
}

impl Default for Options {
    fn default() -> Self {
        let checkpoints =
            ["sd_xl_base_1.0.safetensors", "tiny-sd15-random.safetensors", "v1-5-pruned-emaonly.safetensors"];
        Options {
            release: Release::V0_27_0,
            step_time: Duration::from_millis(10),
            folder: None,
            models: BTreeMap::from([("checkpoints".to_owned(), checkpoints.map(str::to_owned).to_vec())]),
            cached_graphs: 1,
            max_upload_size: 100 * 1024 * 1024,
            quirks: Quirks::default(),
        }
    }
}

/// Misbehaviour seen on real servers, each off by default and switchable while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// `execution_success` and `executing` with a null node are never sent: the end shows in history alone.
    pub withhold_endings: bool,
    /// Time between `execution_success` and the history entry; stalls of 0.7 s were recorded.
    /// When steps are allowed by hand this is one of them.
    pub history_delay: Duration,
    /// An interrupt acts only when the running node has ended.
    pub interrupts_wait_for_node_end: bool,
    /// `POST /prompt` answers 500 although the prompt entered the queue.
    pub refuse_but_queue: bool,
    /// The connection of `POST /prompt` is held open without an answer although the prompt entered the queue.
    pub swallow_prompt_answer: bool,
    /// Routes that accept a request and never answer, such as `"GET /queue"` or `"GET /history/{id}"`.
    pub hanging_routes: BTreeSet<String>,
    /// Whether samplers run out of GPU memory.
    pub out_of_memory: OutOfMemory,
    /// As many of the next questions for an output are answered 404 although the file is there.
    pub missing_views: u32,
    /// History entries name no outputs.
    pub outputs_unnamed: bool,
    /// The version that it tells, instead of its release's: one in between, or a fork's.
    pub version: Option<String>,
    /// Routes that it does not have, such as `"POST /jobs/{id}/cancel"`.
    pub missing_routes: BTreeSet<String>,
    /// Interrupts hit whatever runs, whichever prompt they name, as before 0.3.57.
    pub interrupts_ignore_ids: bool,
    /// Feature flags are not understood, so that pictures never name their prompt.
    pub ignores_feature_flags: bool,
    /// The thread that runs prompts is dead: the queue only grows, while every route answers.
    pub queue_stands_still: bool,
}

/// When samplers run out of GPU memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutOfMemory {
    /// Never.
    #[default]
    Never,
    /// Until somebody asks to unload the models and to free the memory.
    UntilFreed,
    /// Whatever is asked.
    Always,
}
