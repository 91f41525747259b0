//! What is worth telling, as types; one place turns each into a log line and into numbers.
//! In: notices from everywhere. Out: log lines on stderr, metrics for whoever asks.

pub mod log;
pub mod metrics;
pub mod notice;

pub use notice::{Notice, tell};
