//! The client's side of the queue: submit, follow, list. The commands use it, and whoever else asks the queue something.
//! In: job files and ids. Out: answers in plain types.

mod follow;
mod list;
mod submit;
mod wait;

pub use follow::{Follower, events};
pub use list::{JobLine, WorkerLine, job, jobs, workers};
pub use submit::{JobRequest, SubmitError, submit};
pub use wait::{Standing, standing};

/// What somebody else's program wrote need not be UTF-8.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
