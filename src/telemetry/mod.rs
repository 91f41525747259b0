//! What is worth telling, as types; one place turns each into a log line.
//! In: notices from everywhere. Out: log lines on stderr.

pub mod log;
pub mod notice;

pub use notice::{Notice, tell};
