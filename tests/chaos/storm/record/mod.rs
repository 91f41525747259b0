//! The record: every write of a queue in the order in which Redis made it, and what is wrong with it.
//! In: a Redis. Out: a history, and findings; neither rests on what a script answers or an agent believes.
//!
//! ```text
//!   MONITOR ──line──▶ step (one script, or one command of somebody else) ──▶ history ──check──▶ findings
//!                     snapshot at the start, behind each gap, at the end ──┘
//! ```

mod check;
mod commands;
mod findings;
mod judge;
pub mod line;
mod listen;
mod picture;
mod snapshot;
mod step;

pub use check::check;
pub use findings::{Summary, Wrong};
pub use listen::{NAME, Recorder};
pub use picture::Picture;
pub use step::{FOREIGN, Step};

/// A part of a history.
pub enum Entry {
    /// Writes that Redis made at once.
    Step(Step),
    /// All of the queue, at the start or where steps are missing in front of it.
    Seen(Picture),
    /// All of the queue at the end: what the steps have led to must be the same.
    End(Picture),
}
