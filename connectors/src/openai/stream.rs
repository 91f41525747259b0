//! An answer followed as it is written, with patience for its first piece and for each next one.
//! In: the head of an answer. Out: its events, one by one, up to its end.

use super::http::Trouble;
use super::lines::{Event, Form, Reader};
use super::settings::Timing;
use crate::failure::{Failure, Reason};
use futures_util::StreamExt;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    /// The server has said that this is all.
    No,
}

/// Hands each event to `take`; comments are signs of life of the wire and not of the model, so they win no time.
pub(super) async fn follow<E: From<Trouble> + From<Failure>>(
    response: Response,
    form: Form,
    timing: &Timing,
    mut take: impl FnMut(&str) -> Result<More, E>,
) -> Result<(), E> {
    let (mut reader, mut parts) = (Reader::new(form), response.bytes_stream());
    let mut deadline = Instant::now() + timing.first;
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
            Err(_) => return Err(silence(begun, timing).into()),
        };
        while let Some(event) = reader.next() {
            let Event::Data(data) = event else { continue };
            (begun, deadline) = (true, Instant::now() + timing.idle);
            if take(&data)? == More::No {
                return Ok(());
            }
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
