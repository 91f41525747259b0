//! An answer followed as it is written, with patience for its first piece and for each next one.
//! In: the head of an answer. Out: its events, one by one, up to its end.

use super::lines::{Event, Form, Reader};
use super::settings::Timing;
use crate::failure::{Failure, Reason};
use crate::http::Trouble;
use futures_util::StreamExt;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// It is at work, and nothing is written yet: a model that reasons in silence has time for it.
    Waiting,
    /// It writes.
    Writing,
    /// The text is whole; what may still come is what it took.
    Whole,
    /// The server has said that this is all.
    No,
}

/// What can end a stream before its end.
#[derive(Debug)]
pub(super) enum Fault {
    Trouble(Trouble),
    /// Nothing came for too long.
    Silence(Failure),
    /// The server says that it failed.
    Failed(Failure),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Hands each event to `take`; comments are signs of life of the wire and not of the model, so they win no time.
/// `asked`: when the work was handed over.
pub(super) async fn follow(
    response: Response,
    form: Form,
    timing: &Timing,
    asked: Instant,
    mut take: impl FnMut(&str) -> Result<More, Fault>,
) -> Result<(), Fault> {
    let (mut reader, mut parts) = (Reader::new(form), response.bytes_stream());
    let mut deadline = asked + timing.first;
    let mut begun = false;
    loop {
        let part = timeout_at(deadline, parts.next()).await;
        let is_last = match part {
            Ok(Some(Ok(bytes))) => {
                reader.feed(&bytes)?;
                false
            }
            Ok(Some(Err(error))) => return Err(Trouble::from(error).into()),
            Ok(None) => {
                reader.finish()?;
                true
            }
            Err(_) => return Err(Fault::Silence(silence(begun, timing))),
        };
        while let Some(event) = reader.next() {
            let Event::Data(data) = event else { continue };
            if data.trim().is_empty() {
                continue;
            }
            let patience = match take(&data)? {
                More::No => return Ok(()),
                More::Waiting => timing.first,
                More::Writing => {
                    begun = true;
                    timing.idle
                }
                More::Whole => timing.last,
            };
            deadline = Instant::now() + patience;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn silence(begun: bool, timing: &Timing) -> Failure {
    let what = match begun {
        true => format!("the server fell silent in mid-text for {:.0} s", timing.idle.as_secs_f64()),
        false => format!("the server began no answer within {:.0} s", timing.first.as_secs_f64()),
    };
    Failure::of_host(Reason::ProcessingTimeout, what)
}
