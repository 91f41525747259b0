//! The long loops and whether each comes round.
//! In: their pulses, what the slots are at. Out: the section `loops`.

use super::{in_ms, now_ms};
use crate::telemetry::metrics::LoopSeen;
use serde::Serialize;

/// One loop.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Loop {
    /// Its name.
    pub name: String,
    /// What it is for, or what it is at.
    pub doing: String,
    /// When it last came round.
    pub ticked: i64,
    /// It should have come round since.
    pub hanging: bool,
}

/// The section. `at`: what a loop is at, of which that is known.
pub fn section(loops: &[LoopSeen], at: impl Fn(&str) -> Option<String>) -> Vec<Loop> {
    let now = now_ms();
    let one = |seen: &LoopSeen| Loop {
        doing: at(&seen.name).unwrap_or_else(|| purpose(&seen.name).to_owned()),
        name: seen.name.clone(),
        ticked: now.saturating_sub_unsigned(in_ms(seen.age)),
        hanging: seen.hangs,
    };
    loops.iter().map(one).collect()
}

fn purpose(name: &str) -> &'static str {
    match name.split(' ').next().unwrap_or_default() {
        "slot" => "claims jobs and runs them",
        "leases" => "renews what is held",
        "tick" => "lets time pass for the queue: expired leases, due retries",
        "dashboards" => "says where this dashboard is, and hears of the others of the machine",
        "reassertion" => "tells Redis again what it may have lost when it restarted",
        "guides" => "hears from the Sentinels which Redis is the master",
        "sweep" => "finds jobs that other programs added",
        "hints" => "hears of new classes and cancellations",
        "machine" => "tells the reference's readers how the machine is",
        "GPUs" => "looks at the GPUs",
        "heartbeat" => "registers the worker again and again",
        "watchdog" => "tells systemd that all loops come round",
        "probe" => "asks an engine how it is",
        _ => "comes round",
    }
}
