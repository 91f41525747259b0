//! What is worth telling, as types; one place turns each into a log line and into numbers.
//! In: notices from everywhere. Out: log lines on stderr, metrics and the newest lines and ends for whoever asks.

pub mod durations;
pub mod ended;
pub mod history;
pub mod log;
pub mod metrics;
pub mod notice;
pub mod recent;
pub mod tally;
pub mod told;

pub use notice::{Notice, tell};
