//! What Redis answers with a refusal: callers try again, so without this an agent that may do nothing would say nothing.
//! In: errors and successes of calls. Out: each kind of refusal told when it begins, and those that pass when they end.

use super::failure::{is_passing, refusal};
use crate::telemetry::{Notice, tell};
use redis::RedisError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A refusal that comes and goes is not told more often.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Something is asked of Redis every second: a refusal that has not come for so long is over.
const OVER_AFTER: Duration = Duration::from_millis(2500);
/// Redis has fewer codes; scripts may invent more.
const KINDS_MAX: usize = 50;

struct Refusal {
    began: Instant,
    last: Instant,
    /// Its end is to be told.
    open: bool,
}

/// The kinds of refusals met so far, by code.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<String, Refusal>);

impl Refusals {
    pub(super) fn note(&mut self, error: &RedisError) {
        let (code, now) = (refusal(error), Instant::now());
        let known = self.0.get_mut(&code);
        let is_known = known.is_some();
        if let Some(known) = known {
            known.last = now;
            if known.open || known.began.elapsed() < TOLD_EVERY {
                return;
            }
        }
        if is_known || self.0.len() < KINDS_MAX {
            self.0.insert(code, Refusal { began: now, last: now, open: is_passing(error) });
            tell(Notice::RedisRefuses { error: error.to_string() });
        }
    }

    pub(super) fn note_success(&mut self) {
        for (code, refusal) in self.0.iter_mut().filter(|(_, refusal)| refusal.open) {
            if refusal.last.elapsed() > OVER_AFTER {
                refusal.open = false;
                tell(Notice::RedisAccepts { code, after: refusal.last - refusal.began });
            }
        }
    }
}
