//! What a page is given, section by section: plain values, as JSON has them.
//! In: what the agent knows. Out: serde structs without a word of HTML; `None` is what nobody knows.
//!
//! Times are milliseconds since 1970, durations end in `_ms`, sizes in `_bytes`. No payload, no secret, no text that a job's
//! owner did not put where the log would show it, too.

pub mod connectors;
pub mod gpus;
pub mod jobs;
pub mod loops;
pub mod queue;
pub mod series;
pub mod slots;
pub mod stats;
pub mod system;
pub mod worker;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A duration as whole milliseconds.
pub fn in_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One digit behind the point: more is noise, and noise is sent each time.
pub fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
