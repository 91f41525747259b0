//! What a storm is made of: its size, and a stream of numbers that the seed decides.
//! In: four numbers and names of faults. Out: jobs to submit, and choices.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Life of a lease, in the agents of the storm.
pub const LEASE: Duration = Duration::from_secs(2);

/// What goes wrong in a storm. `Foreign` and `Cancel` are no faults, but other people's doings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// SIGKILL of agents.
    Kill,
    /// SIGSTOP of agents for up to three leases, then SIGCONT.
    Freeze,
    /// SIGKILL of Redis, which comes back with its append-only file.
    Redis,
    /// Two agents whose clocks are an hour off, one each way.
    Clock,
    /// Every agent's connections are killed.
    Disconnect,
    /// `SCRIPT FLUSH`.
    Flush,
    /// Engines restarted with an empty queue and no history.
    Engine,
    /// Jobs added, cancelled and run the reference's way.
    Foreign,
    /// Jobs cancelled.
    Cancel,
}

/// All of them, by their names in `FAULTS=`.
pub const TROUBLES: [(&str, Trouble); 9] = [
    ("kill", Trouble::Kill),
    ("freeze", Trouble::Freeze),
    ("redis", Trouble::Redis),
    ("clock", Trouble::Clock),
    ("disconnect", Trouble::Disconnect),
    ("flush", Trouble::Flush),
    ("engine", Trouble::Engine),
    ("foreign", Trouble::Foreign),
    ("cancel", Trouble::Cancel),
];

/// Reads `all`, or names with commas between.
pub fn troubles(text: &str) -> Result<BTreeSet<Trouble>, String> {
    if text == "all" {
        return Ok(TROUBLES.iter().map(|(_, trouble)| *trouble).collect());
    }
    let one = |name: &str| {
        let known = TROUBLES.iter().find(|(known, _)| *known == name);
        let names = TROUBLES.map(|(name, _)| name).join(", ");
        known.map(|(_, trouble)| *trouble).ok_or_else(|| format!("there is no fault {name:?}; there are all, {names}"))
    };
    text.split(',').map(str::trim).map(one).collect()
}

/// How large a storm is, and of what kind.
#[derive(Clone)]
pub struct Plan {
    pub jobs: u64,
    /// Gusts; each kills an agent if killing is among the faults.
    pub kills: u64,
    pub agents: u64,
    pub seed: u64,
    pub troubles: BTreeSet<Trouble>,
}

impl Plan {
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    /// Attempts of each job. An engine that ends under a job again and again is charged to it, and a storm of such ends
    /// hits some that are not to blame time and again.
    pub fn attempts(&self) -> u64 {
        if self.has(Trouble::Engine) { 20 } else { 3 }
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let Self { jobs, kills, agents, seed, .. } = self;
        let names: Vec<&str> =
            TROUBLES.iter().filter(|(_, trouble)| self.has(*trouble)).map(|(name, _)| *name).collect();
        let faults = if names.len() == TROUBLES.len() { "all".to_owned() } else { names.join(",") };
        format!("make chaos JOBS={jobs} KILLS={kills} AGENTS={agents} SEED={seed} FAULTS={faults}")
    }

    /// Jobs that are in the queue after so many gusts: some at the start, all with the last one.
    pub fn submitted_after(&self, gusts: u64) -> u64 {
        let ahead = self.agents * 4;
        if gusts >= self.kills { self.jobs } else { self.jobs.min(ahead + self.jobs * gusts / self.kills) }
    }
}

/// Splitmix64: small, and the same on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True once in so many.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.between(1, many) == 1
    }
}

/// A small graph; one in eight takes long enough to be hit by several kills.
pub fn graph(number: u64, dice: &mut Dice) -> Value {
    let steps = if dice.between(1, 8) == 1 { dice.between(40, 120) } else { dice.between(1, 6) };
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a storm", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0],
              "latent_image": ["3", 0], "seed": number, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
              "scheduler": "normal", "denoise": 1.0}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "storm"}},
    })
}
