//! The pieces of a run's text that Redis has not confirmed.
//! In: pieces as they come, confirmations. Out: batches in order, each piece with its index; bounded however long that takes.

use crate::protocol::tokens::Pieces;
use serde_json::json;
use std::collections::VecDeque;
use uuid::Uuid;

/// Text that waits, in bytes, with what each piece takes beside it; beyond that it is only counted. The whole text is in the
/// result in any case.
const WAITING_MAX: usize = 4 << 20;
/// What a piece takes beside its text: where kinds alternate, neighbours cannot be joined.
const PIECE: usize = 64;
/// Pieces that wait before neighbours are joined.
const PIECES_MAX: usize = 4096;
/// One batch.
const BATCH_PIECES: usize = 256;
const BATCH_BYTES: usize = 256 << 10;

enum Piece {
    Text {
        text: String,
        kind: &'static str,
    },
    /// Bytes that were too many.
    Skipped(u64),
}

/// What waits, of one run after the other.
#[derive(Default)]
pub struct Untold {
    run: String,
    waiting: VecDeque<Piece>,
    bytes: usize,
    skipped: u64,
    /// How many of those that wait are being sent.
    in_flight: usize,
    /// Index of the first that waits.
    next: u64,
    /// Readers must hear of the run though it may have no piece yet.
    announce: bool,
    facts: Option<String>,
}

impl Untold {
    /// Whether no run has begun.
    pub fn is_new(&self) -> bool {
        self.run.is_empty()
    }

    /// Another run begins: what waits of the one before goes.
    pub fn begin(&mut self) {
        *self = Self { run: Uuid::now_v7().simple().to_string(), announce: true, ..Self::default() };
    }

    /// The next piece.
    pub fn push(&mut self, text: &str, kind: &'static str) {
        if self.bytes + text.len() + 2 * PIECE > WAITING_MAX {
            self.skipped += text.len() as u64;
            return;
        }
        self.count_skipped();
        self.bytes += text.len();
        if self.waiting.len() > PIECES_MAX.max(self.in_flight)
            && let Some(Piece::Text { text: last, kind: of }) = self.waiting.back_mut()
            && *of == kind
        {
            return last.push_str(text);
        }
        self.bytes += PIECE;
        self.waiting.push_back(Piece::Text { text: text.to_owned(), kind });
    }

    fn count_skipped(&mut self) {
        if self.skipped > 0 {
            self.bytes += PIECE;
            self.waiting.push_back(Piece::Skipped(std::mem::take(&mut self.skipped)));
        }
    }

    /// The run has ended; `facts`: what the text's last entry is to say, if it ended well.
    pub fn close(&mut self, facts: Option<String>) {
        self.count_skipped();
        if !self.is_new() && facts.is_some() {
            self.facts = facts;
            self.announce = true;
        }
    }

    /// What is to be sent next; it goes on waiting until it is confirmed.
    pub fn batch(&mut self, session: &str, job: &str) -> Option<Pieces> {
        if self.run.is_empty() || self.waiting.is_empty() && !self.announce {
            return None;
        }
        let (first, mut bytes, mut texts) = (self.next, 0, Vec::new());
        for (piece, index) in self.waiting.iter().zip(first..) {
            let mut entry = match piece {
                Piece::Text { text, kind } => json!({ "token": text, "index": index, "type": kind }),
                Piece::Skipped(bytes) => json!({ "skipped": bytes, "index": index, "type": "skipped" }),
            };
            // Several jobs may write to one session.
            if session != job {
                entry["job_id"] = json!(job);
            }
            let entry = entry.to_string();
            bytes += entry.len();
            texts.push(entry);
            if texts.len() >= BATCH_PIECES || bytes >= BATCH_BYTES {
                break;
            }
        }
        self.in_flight = texts.len();
        // The facts go with the last pieces.
        let facts = self.facts.clone().filter(|_| texts.len() == self.waiting.len());
        Some(Pieces { session: session.to_owned(), run: self.run.clone(), first, texts, facts })
    }

    /// Redis has these.
    pub fn confirmed(&mut self, sent: &Pieces) {
        if self.run != sent.run {
            return;
        }
        for _ in &sent.texts {
            self.bytes -= match self.waiting.pop_front() {
                Some(Piece::Text { text, .. }) => PIECE + text.len(),
                Some(Piece::Skipped(_)) => PIECE,
                None => 0,
            };
        }
        self.next += sent.texts.len() as u64;
        self.in_flight = 0;
        self.announce = self.facts.is_some() && sent.facts.is_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn batch(untold: &mut Untold) -> Pieces {
        untold.batch("s", "s").unwrap()
    }

    fn entries(pieces: &Pieces) -> Vec<Value> {
        pieces.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn a_batch_waits_until_it_is_confirmed_and_the_next_goes_on_behind_it() {
        let mut untold = Untold::default();
        assert!(untold.batch("s", "s").is_none(), "nothing has begun");
        untold.begin();
        let announced = batch(&mut untold);
        assert_eq!(
            (announced.first, announced.texts.len()),
            (0, 0),
            "readers hear of the end of a text without a piece"
        );
        untold.confirmed(&announced);
        assert!(untold.batch("s", "s").is_none());
        untold.push("a", "text");
        let first = batch(&mut untold);
        untold.push("b", "reasoning");
        assert_eq!(entries(&batch(&mut untold)).len(), 2, "what was not confirmed comes again");
        untold.confirmed(&first);
        assert_eq!(entries(&batch(&mut untold)), [json!({ "token": "b", "index": 1, "type": "reasoning" })]);
        untold.close(Some("{}".to_owned()));
        let last = batch(&mut untold);
        assert_eq!((last.first, last.facts.as_deref()), (1, Some("{}")));
        untold.confirmed(&last);
        assert!(untold.batch("s", "s").is_none());
        untold.begin();
        untold.confirmed(&last);
        untold.push("anew", "text");
        assert_eq!(batch(&mut untold).first, 0, "a late word on an earlier run says nothing about this one");
    }

    #[test]
    fn a_long_outage_costs_no_more_than_its_bound_and_leaves_no_gap_in_the_indexes() {
        let mut untold = Untold::default();
        untold.begin();
        let piece = "x".repeat(1000);
        for _ in 0..10_000 {
            untold.push(&piece, "text");
        }
        assert!(untold.bytes <= WAITING_MAX && untold.waiting.len() <= PIECES_MAX + 1);
        untold.push("y", "text");
        untold.close(None);
        let (mut index, mut told, mut skipped) = (0, 0, 0);
        while let Some(pieces) = untold.batch("s", "s") {
            assert!(pieces.texts.len() <= BATCH_PIECES);
            for entry in entries(&pieces) {
                assert_eq!(entry["index"], index);
                index += 1;
                told += entry["token"].as_str().map_or(0, str::len) as u64;
                skipped += entry["skipped"].as_u64().unwrap_or(0);
            }
            untold.confirmed(&pieces);
        }
        assert_eq!((told + skipped, untold.bytes), (10_000_001, 0), "every byte is told or counted");
        assert!(skipped > 0);
    }

    #[test]
    fn pieces_that_cannot_be_joined_are_bounded_as_well() {
        let mut untold = Untold::default();
        untold.begin();
        for n in 0..200_000 {
            untold.push("x", if n % 2 == 0 { "text" } else { "reasoning" });
            untold.push("", "text");
        }
        assert!(untold.waiting.len() <= WAITING_MAX / PIECE, "{}", untold.waiting.len());
        untold.close(None);
        let mut told = 0;
        while let Some(pieces) = untold.batch("s", "s") {
            let seen = entries(&pieces);
            told += seen.iter().map(|entry| entry["token"].as_str().map_or(0, str::len) as u64).sum::<u64>();
            told += seen.iter().filter_map(|entry| entry["skipped"].as_u64()).sum::<u64>();
            untold.confirmed(&pieces);
        }
        assert_eq!((told, untold.bytes), (200_000, 0));
    }
}
