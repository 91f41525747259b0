//! How long jobs take: quantiles of the newest samples.
//! In: durations. Out: the one below which a share of them lies; nothing while there are none.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are kept.
const SAMPLES: usize = 512;

/// The newest durations.
#[derive(Debug, Clone, Default)]
pub struct Durations(VecDeque<f32>);

impl Durations {
    /// Adds one.
    pub fn add(&mut self, took: Duration) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(took.as_secs_f32());
    }

    /// Of all that are kept.
    pub fn mean(&self) -> Option<Duration> {
        let count = Some(self.0.len()).filter(|count| *count > 0)?;
        Duration::try_from_secs_f32(self.0.iter().sum::<f32>() / count as f32).ok()
    }

    /// The duration that this share (0 to 1) of them does not exceed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<f32> = self.0.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        let at = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(at.saturating_sub(1)).and_then(|seconds| Duration::try_from_secs_f32(*seconds).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest_samples() {
        let mut durations = Durations::default();
        assert_eq!((durations.quantile(0.5), durations.mean()), (None, None));
        for second in 1..=100 {
            durations.add(Duration::from_secs(second));
        }
        let of = |durations: &Durations, share| durations.quantile(share).unwrap().as_secs();
        assert_eq!((of(&durations, 0.5), of(&durations, 0.95), of(&durations, 1.0)), (50, 95, 100));
        assert_eq!(of(&durations, 0.0), 1);
        assert_eq!(durations.mean(), Some(Duration::from_millis(50_500)));
        for _ in 0..SAMPLES {
            durations.add(Duration::from_secs(7));
        }
        assert_eq!((of(&durations, 0.0), of(&durations, 1.0)), (7, 7));
    }
}
