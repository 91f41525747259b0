//! What a connector answered, in words for people.
//! In: the ends of runs, interrupts and reattachments. Out: parts of sentences.

use crate::contract::{Health, Interrupted, Outcome, Reattached, RunError};
use crate::failure::Failure;

/// Follows "it", "the run" and the like.
pub(super) fn ended(how: &Result<Outcome, RunError>) -> String {
    match how {
        Ok(_) => "ended well".to_owned(),
        Err(error) => not_well(error),
    }
}

/// The same for a run that did not end well.
pub(super) fn not_well(error: &RunError) -> String {
    match error {
        RunError::Cancelled => "ended as cancelled".to_owned(),
        RunError::Lost(_) => "ended as a job that is no longer ours".to_owned(),
        RunError::Failed(failure) => failed(failure),
    }
}

/// Follows the name of what was asked.
pub(super) fn interrupted(answer: &Result<Interrupted, Failure>) -> String {
    match answer {
        Ok(Interrupted::Stopped) => "said that it has stopped".to_owned(),
        Ok(Interrupted::NothingToStop) => "said that there is nothing to stop".to_owned(),
        Ok(Interrupted::StillRunning) => "said that the run is still at work".to_owned(),
        Err(failure) => failed(failure),
    }
}

/// The same.
pub(super) fn reattached(answer: &Result<Reattached, RunError>) -> String {
    match answer {
        Ok(Reattached::Done(_)) => "was answered with a result".to_owned(),
        Ok(Reattached::Unknown) => "was answered as unknown".to_owned(),
        Err(error) => not_well(error),
    }
}

/// Why an engine cannot take work.
pub(super) fn health(health: &Health) -> &str {
    match health {
        Health::Healthy => "it is healthy",
        Health::Unhealthy(why) => why,
    }
}

fn failed(failure: &Failure) -> String {
    format!("failed as {}/{}: {failure}", failure.kind(), failure.reason)
}
