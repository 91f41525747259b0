//! The cards: what they are, how they are, and why one may not work.
//! In: filled by the agent. Out: the section `gpus`.

use serde::Serialize;

/// One card.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gpu {
    /// Its number.
    pub index: u32,
    /// The driver's lasting id.
    pub uuid: Option<String>,
    /// Model.
    pub name: Option<String>,
    /// `nvidia`, `amd`, `intel`; `None`: declared or simulated.
    pub vendor: Option<&'static str>,
    /// The driver's version.
    pub driver: Option<String>,
    /// `ok`, `fenced`, `lost`, `unknown`.
    pub health: &'static str,
    /// Why it may not work.
    pub reason: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// 0 to 100.
    pub utilisation: Option<u32>,
    /// Of the whole card.
    pub memory: Memory,
    /// Of the die.
    pub temperature_c: Option<u32>,
    /// At which it slows down.
    pub temperature_limit_c: Option<u32>,
    /// Drawn now.
    pub power_w: Option<f64>,
    /// Most that it may draw.
    pub power_limit_w: Option<f64>,
    /// Of the shaders.
    pub clock_mhz: Option<u32>,
    /// The fastest.
    pub clock_max_mhz: Option<u32>,
    /// 0 to 100, may be above.
    pub fan_percent: Option<u32>,
    /// `thermal` or `power`.
    pub throttled: Option<&'static str>,
    /// Memory errors that could not be corrected, since the driver was loaded.
    pub ecc_errors: Option<u64>,
    /// An engine that works on it can be asked to let its memory go.
    pub can_free: bool,
    /// The instances of a divided card.
    pub mig: Vec<Mig>,
    /// Who works on it.
    pub workers: Vec<String>,
}

/// An instance of a divided card.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Mig {
    /// Its number on the card.
    pub index: u32,
    /// Such as `1g.10gb`.
    pub name: Option<String>,
    /// Its memory.
    pub memory: Memory,
}

/// Memory of a card or an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of it.
    pub total_bytes: Option<u64>,
    /// In use, by whomever.
    pub used_bytes: Option<u64>,
    /// Of these, by the engines of this agent; `None`: the driver does not tell whose it is, or the engines' processes are
    /// not known.
    pub job_bytes: Option<u64>,
    /// The rest of what is in use; `None` where `job_bytes` is.
    pub other_bytes: Option<u64>,
}

impl Memory {
    /// From total, free and what engines hold.
    pub fn of(total: Option<u64>, free: Option<u64>, jobs: Option<u64>) -> Self {
        let used = total.zip(free).map(|(total, free)| total.saturating_sub(free));
        let job = used.zip(jobs).map(|(used, jobs)| jobs.min(used));
        let other = used.zip(job).map(|(used, job)| used - job);
        Self { total_bytes: total, used_bytes: used, job_bytes: job, other_bytes: other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_split_only_where_it_is_known_whose_it_is() {
        let known = Memory::of(Some(100), Some(30), Some(50));
        assert_eq!((known.used_bytes, known.job_bytes, known.other_bytes), (Some(70), Some(50), Some(20)));
        let unknown = Memory::of(Some(100), Some(30), None);
        assert_eq!((unknown.used_bytes, unknown.job_bytes, unknown.other_bytes), (Some(70), None, None));
        assert_eq!(Memory::of(Some(100), Some(90), Some(50)).job_bytes, Some(10), "told at another moment");
        assert_eq!(Memory::of(Some(100), None, Some(50)), Memory { total_bytes: Some(100), ..Memory::default() });
    }
}
