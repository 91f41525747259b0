//! How far a text is, told now and then.
//! In: pieces as they come. Out: progress reports that never fall, one a second: the pieces themselves go their own way.
//!
//! How long a text will be is known only as its limit. Without one the bar creeps up to 0.9 and never says that it is done.

use crate::contract::{Progress, ProgressSink, Stage};
use std::time::Duration;
use tokio::time::Instant;

const APART: Duration = Duration::from_secs(1);
/// Pieces after which an unlimited text counts as half done.
const USUAL: f64 = 256.0;

pub(super) struct Meter<'a> {
    sink: &'a dyn ProgressSink,
    limit: Option<u64>,
    told: Option<Instant>,
    began: Instant,
    /// When the first piece came.
    pub first: Option<Duration>,
}

impl<'a> Meter<'a> {
    pub fn new(sink: &'a dyn ProgressSink, limit: Option<u64>) -> Self {
        Self { sink, limit: limit.filter(|most| *most > 0), told: None, began: Instant::now(), first: None }
    }

    pub fn say(&self, fraction: f64, message: &str, stage: Stage) {
        self.sink.report(Progress { fraction, message: Some(message.to_owned()), node: None, step: None, stage });
    }

    pub fn pieces(&mut self, count: u64) {
        let now = Instant::now();
        if count == 0 || self.told.is_some_and(|told| now - told < APART) {
            return;
        }
        self.told = Some(now);
        self.first.get_or_insert(now - self.began);
        let count = count as f64;
        let fraction = match self.limit {
            Some(most) => (count / most as f64).min(0.95),
            None => 0.9 * count / (count + USUAL),
        };
        self.say(fraction, &format!("{count:.0} pieces of text"), Stage::Working);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::RecordingProgress;

    #[tokio::test(start_paused = true)]
    async fn a_slow_text_is_told_of_once_a_second_and_not_at_each_piece() {
        for limit in [None, Some(600)] {
            let sink = RecordingProgress::default();
            let mut meter = Meter::new(&sink, limit);
            for count in 1..=600 {
                tokio::time::advance(Duration::from_millis(100)).await;
                meter.pieces(count);
            }
            let told: Vec<f64> = sink.reports().iter().map(|report| report.fraction).collect();
            assert_eq!((told.len(), meter.first), (60, Some(Duration::from_millis(100))), "a minute of text");
            assert!(told.is_sorted() && told.last().is_some_and(|last| *last <= 0.95));
        }
    }
}
