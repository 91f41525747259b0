//! Ends that Redis has confirmed, kept for as long as a failover may undo them.
//! In: ends as they are confirmed. Out: those of the last minutes, oldest first, within bounds of number and size.

use super::settle::Outcome;
use crate::protocol::hold::Claim;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failovers and restarts take seconds; people who promote a replica by hand take minutes.
const KEPT: Duration = Duration::from_secs(600);
/// More than a machine's slots end in that time, but for the very shortest jobs.
const MOST: usize = 1000;
/// Results are a few KB each; some hold pictures.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// An end and what it is the end of.
#[derive(Debug)]
pub struct End {
    /// What was held.
    pub claim: Claim,
    /// How it ended.
    pub outcome: Outcome,
}

/// The latest ends. The oldest go first where there are too many.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    ends: VecDeque<(Instant, usize, Arc<End>)>,
    bytes: usize,
}

impl Confirmed {
    pub(super) fn add(&mut self, claim: &Claim, outcome: &Outcome, now: Instant) {
        let size = weight(outcome);
        // What is larger than all of the room would only push out the others.
        if size > MOST_BYTES {
            return;
        }
        let known = |end: &End| end.claim.token == claim.token;
        if self.ends.iter().rev().any(|(_, _, end)| known(end)) {
            return;
        }
        self.ends.push_back((now, size, Arc::new(End { claim: claim.clone(), outcome: outcome.clone() })));
        self.bytes += size;
        self.trim(now);
    }

    pub(super) fn all(&mut self, now: Instant) -> Vec<Arc<End>> {
        self.trim(now);
        self.ends.iter().map(|(_, _, end)| end.clone()).collect()
    }

    fn trim(&mut self, now: Instant) {
        while let Some((at, size, _)) = self.ends.front()
            && (now.duration_since(*at) > KEPT || self.ends.len() > MOST || self.bytes > MOST_BYTES)
        {
            self.bytes -= size;
            self.ends.pop_front();
        }
    }
}

/// About what it takes in memory.
fn weight(outcome: &Outcome) -> usize {
    let texts = match outcome {
        Outcome::Completed(done) => done.result.len() + done.reference_result.len() + done.attestation.1.len(),
        Outcome::Failed(failed) => {
            failed.message.len() + failed.attestations.iter().map(|(key, json)| key.len() + json.len()).sum::<usize>()
        }
        Outcome::Released { reason, .. } => reason.len(),
        Outcome::Cancelled => 0,
    };
    texts + 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Completion;

    fn claim(number: usize) -> Claim {
        Claim { id: format!("j{number}"), token: format!("w|{number}"), attempt: 1, life: "1".into() }
    }

    fn result(bytes: usize) -> Outcome {
        let (result, reference_result) = ("x".repeat(bytes), String::new());
        Outcome::Completed(Box::new(Completion { result, reference_result, attestation: Default::default() }))
    }

    fn ids(kept: &mut Confirmed, now: Instant) -> Vec<String> {
        kept.all(now).iter().map(|end| end.claim.id.clone()).collect()
    }

    #[test]
    fn the_oldest_go_when_their_time_is_up_or_there_are_too_many() {
        let (mut kept, began) = (Confirmed::default(), Instant::now());
        for number in 0..=MOST {
            kept.add(&claim(number), &Outcome::Cancelled, began);
        }
        assert_eq!(ids(&mut kept, began).len(), MOST);
        assert_eq!(ids(&mut kept, began)[0], "j1");
        kept.add(&claim(5000), &Outcome::Cancelled, began + KEPT);
        assert_eq!(ids(&mut kept, began + KEPT + Duration::from_secs(1)), ["j5000"]);
        assert!(ids(&mut kept, began + KEPT * 3).is_empty());
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn large_results_push_out_older_ones_but_never_everything() {
        let (mut kept, now) = (Confirmed::default(), Instant::now());
        kept.add(&claim(1), &result(MOST_BYTES / 2), now);
        kept.add(&claim(2), &result(MOST_BYTES / 2), now);
        assert_eq!(ids(&mut kept, now), ["j2"]);
        kept.add(&claim(3), &result(MOST_BYTES), now);
        assert_eq!(ids(&mut kept, now), ["j2"], "what has no room is not kept");
    }

    #[test]
    fn an_end_that_is_handed_in_again_is_kept_once() {
        let (mut kept, now) = (Confirmed::default(), Instant::now());
        kept.add(&claim(1), &result(1), now);
        kept.add(&claim(1), &result(1), now);
        assert_eq!(ids(&mut kept, now), ["j1"]);
    }
}
