//! What a stand-in server is made of: checkpoints, speed, flags, and the quirks that can be switched at any time.
//! In: choices of the caller. Out: plain values read by every other file here.

use std::collections::BTreeSet;
use std::time::Duration;

/// Whose API it answers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// stable-diffusion-webui v1.10.1, as recorded.
    A1111,
    /// Read off its source, not recorded: overridden options stay, the checkpoint is loaded by the job behind the switch.
    Forge,
    /// Read off its source, not recorded: task ids are ignored, there is no list of schedulers.
    SdNext,
}

/// A checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Path below the folder of checkpoints, without `.safetensors`.
    pub name: String,
    /// Of the file, told once it was used.
    pub sha256: String,
    /// Whether it was used before the start.
    pub used: bool,
}

impl Checkpoint {
    /// A file of that name, with a made-up hash.
    pub fn named(name: &str) -> Self {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        let mut sha256 = String::new();
        for round in 0..4_u8 {
            for byte in name.bytes().chain([round]) {
                state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            sha256.push_str(&format!("{state:016x}"));
        }
        Self { name: name.to_owned(), sha256, used: false }
    }

    /// As lists call it: the folder is a part of the name.
    pub(crate) fn model_name(&self) -> String {
        self.name.replace('/', "_")
    }

    /// As results call it: without the folder (read off the source).
    pub(crate) fn stem(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// A result other than what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another sampler.
    Sampler,
    /// Another seed.
    Seed,
    /// Pictures of another size; `info` says the one that was asked for.
    Size,
    /// A picture less.
    Count,
}

/// How a stand-in behaves from its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose API.
    pub fork: Fork,
    /// Its checkpoints; the first is set at the start.
    pub checkpoints: Vec<Checkpoint>,
    /// Names of LoRA files.
    pub loras: Vec<String>,
    /// Names of always-on scripts that extensions bring. `ControlNet` adds a picture of its own to each result.
    pub extensions: Vec<String>,
    /// Time of one sampling step.
    pub step_time: Duration,
    /// Time to load a checkpoint.
    pub load_time: Duration,
    /// Without the routes of the web page.
    pub nowebui: bool,
    /// With routes that end the server.
    pub server_stop: bool,
    /// User name and password of `/sdapi`.
    pub login: Option<(String, String)>,
    /// Options that the stored configuration holds; others are not put back after a job.
    pub stored: BTreeSet<String>,
    /// Requests that are handled at once; the others wait unseen.
    pub threads: usize,
    /// Misbehaviour from the start on.
    pub quirks: Quirks,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            fork: Fork::A1111,
            checkpoints: ["v1-5-pruned-emaonly", "sd_xl_base_1.0"].map(Checkpoint::named).to_vec(),
            loras: vec!["lineart".to_owned()],
            extensions: Vec::new(),
            step_time: Duration::from_millis(10),
            load_time: Duration::ZERO,
            nowebui: false,
            server_stop: false,
            login: None,
            stored: ["sd_model_checkpoint", "CLIP_stop_at_last_layers"].map(str::to_owned).into(),
            threads: 40,
            quirks: Quirks::default(),
        }
    }
}

/// Misbehaviour, each off by default and switchable while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// Interrupts are taken and do nothing, as while a model is loaded.
    pub deaf_to_interrupts: bool,
    /// A checkpoint set by options is taken with 200 and not set.
    pub ignore_switches: bool,
    /// Jobs use the first checkpoint whatever is set.
    pub wrong_checkpoint: bool,
    /// Generations do something else than they were asked for, and answer 200.
    pub differs: Option<Difference>,
    /// Options are refused with 500.
    pub refuse_options: bool,
    /// The next generation fails with this class and text after it has begun.
    pub fail_next: Option<(String, String)>,
    /// An unloaded checkpoint stays in main memory, and runs fail on it, until it is loaded again: so it is with a GPU,
    /// which the recorded server had not (read off the source).
    pub stays_unloaded: bool,
    /// Runs fail for want of GPU memory until the checkpoint is unloaded once.
    pub full_until_unloaded: bool,
    /// Pictures are damaged on the way.
    pub garble_pictures: bool,
    /// Routes that accept a request and never answer, such as `"GET /sdapi/v1/progress"`.
    pub hanging_routes: BTreeSet<String>,
    /// Routes that a fork has not, such as `"GET /sdapi/v1/script-info"`.
    pub lacking_routes: BTreeSet<String>,
}
