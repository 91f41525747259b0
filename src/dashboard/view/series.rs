//! The last quarter of an hour of each card.
//! In: readings every two seconds, whether anybody looks or not. Out: the chart's points, oldest first; of fixed size.

use super::{now_ms, tenths};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two points.
pub const STEP: Duration = Duration::from_secs(2);
/// Points that are kept: 15 minutes.
pub const POINTS: usize = 450;
/// Cards of which points are kept.
const CARDS: usize = 64;

/// One reading of one card.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// 0 to 100.
    pub utilisation: Option<f32>,
    /// In use, in MiB: enough for a chart.
    pub memory_mib: Option<u32>,
    /// Of it, what engines of this agent hold.
    pub memory_job_mib: Option<u32>,
    /// Of the die.
    pub temperature_c: Option<u16>,
    /// Drawn.
    pub power_w: Option<f32>,
    /// Of the shaders.
    pub clock_mhz: Option<u32>,
}

/// The charts of all cards.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// Between two points.
    pub step_ms: u64,
    /// When the newest point was taken.
    pub end: Option<i64>,
    /// By card.
    pub gpus: Vec<Chart>,
}

/// The charts of one card; all lists are of one length, `None` where nothing was told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Chart {
    /// The card.
    pub index: u32,
    /// 0 to 100.
    pub utilisation: Vec<Option<f64>>,
    /// In use.
    pub memory_bytes: Vec<Option<u64>>,
    /// Of it, what engines of this agent hold.
    pub memory_job_bytes: Vec<Option<u64>>,
    /// Of the die.
    pub temperature_c: Vec<Option<u16>>,
    /// Drawn.
    pub power_w: Vec<Option<f64>>,
    /// Of the shaders.
    pub clock_mhz: Vec<Option<u32>>,
}

/// The newest point of all cards.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Newest {
    /// When it was taken.
    pub end: Option<i64>,
    /// By card.
    pub gpus: Vec<Values>,
}

/// The newest point of one card.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Values {
    /// The card.
    pub index: u32,
    /// 0 to 100.
    pub utilisation: Option<f64>,
    /// In use.
    pub memory_bytes: Option<u64>,
    /// Of it, what engines of this agent hold.
    pub memory_job_bytes: Option<u64>,
    /// Of the die.
    pub temperature_c: Option<u16>,
    /// Drawn.
    pub power_w: Option<f64>,
    /// Of the shaders.
    pub clock_mhz: Option<u32>,
}

/// The newest points.
#[derive(Debug, Default)]
pub struct Ring(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    count: u64,
    end: Option<i64>,
    cards: BTreeMap<u32, VecDeque<Point>>,
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many points were taken.
    pub fn newest(&self) -> u64 {
        self.lock().count
    }

    /// Adds a point of each card; one that is not among them has a gap.
    pub fn add(&self, points: &[(u32, Point)]) {
        let mut kept = self.lock();
        (kept.count, kept.end) = (kept.count + 1, Some(now_ms()));
        let before = usize::try_from(kept.count - 1).unwrap_or(POINTS).min(POINTS);
        for (index, _) in points {
            if kept.cards.len() < CARDS {
                // Lists are of one length: before it was seen there was nothing to see.
                kept.cards.entry(*index).or_insert_with(|| vec![Point::default(); before].into());
            }
        }
        for (index, card) in &mut kept.cards {
            if card.len() >= POINTS {
                card.pop_front();
            }
            let point = points.iter().find(|(of, _)| of == index).map(|(_, point)| *point);
            card.push_back(point.unwrap_or_default());
        }
    }

    /// The newest point.
    pub fn point(&self) -> Newest {
        let Series { end, gpus, .. } = self.last(1);
        let values = |chart: Chart| Values {
            index: chart.index,
            utilisation: chart.utilisation.first().copied().flatten(),
            memory_bytes: chart.memory_bytes.first().copied().flatten(),
            memory_job_bytes: chart.memory_job_bytes.first().copied().flatten(),
            temperature_c: chart.temperature_c.first().copied().flatten(),
            power_w: chart.power_w.first().copied().flatten(),
            clock_mhz: chart.clock_mhz.first().copied().flatten(),
        };
        Newest { end, gpus: gpus.into_iter().map(values).collect() }
    }

    /// The newest points, at most so many of each card.
    pub fn last(&self, most: usize) -> Series {
        let kept = self.lock();
        let chart = |(index, card): (&u32, &VecDeque<Point>)| {
            let newest = || card.iter().skip(card.len().saturating_sub(most));
            Chart {
                index: *index,
                utilisation: newest().map(|point| point.utilisation.map(|share| tenths(share.into()))).collect(),
                memory_bytes: newest().map(|point| point.memory_mib.map(|mib| u64::from(mib) << 20)).collect(),
                memory_job_bytes: newest().map(|point| point.memory_job_mib.map(|mib| u64::from(mib) << 20)).collect(),
                temperature_c: newest().map(|point| point.temperature_c).collect(),
                power_w: newest().map(|point| point.power_w.map(|watts| tenths(watts.into()))).collect(),
                clock_mhz: newest().map(|point| point.clock_mhz).collect(),
            }
        };
        Series { step_ms: super::in_ms(STEP), end: kept.end, gpus: kept.cards.iter().map(chart).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(share: u16) -> Point {
        Point { utilisation: Some(f32::from(share)), memory_mib: Some(3), ..Point::default() }
    }

    #[test]
    fn fifteen_minutes_are_kept_and_gaps_stay_gaps() {
        let ring = Ring::default();
        assert_eq!((ring.last(POINTS).gpus.len(), ring.last(POINTS).end), (0, None));
        ring.add(&[(0, at(1))]);
        ring.add(&[(0, at(2)), (1, at(7))]);
        ring.add(&[(1, at(8))]);
        let series = ring.last(POINTS);
        assert_eq!(series.gpus[0].utilisation, [Some(1.0), Some(2.0), None]);
        assert_eq!(series.gpus[1].utilisation, [None, Some(7.0), Some(8.0)]);
        assert_eq!(series.gpus[1].memory_bytes, [None, Some(3 << 20), Some(3 << 20)]);
        for n in 0..1000 {
            ring.add(&[(0, at(n % 100))]);
        }
        let series = ring.last(POINTS);
        assert_eq!((series.gpus[0].utilisation.len(), series.gpus[1].power_w.len()), (POINTS, POINTS));
        assert_eq!((series.gpus[0].utilisation[POINTS - 1], series.gpus[1].utilisation[0]), (Some(99.0), None));
        assert_eq!(ring.last(1).gpus[0].utilisation, [Some(99.0)]);
        let point = ring.point();
        assert_eq!((point.gpus[0].utilisation, point.gpus[1].utilisation), (Some(99.0), None));
        assert_eq!((ring.newest(), series.step_ms), (1003, 2000));
        for index in 0..1000 {
            ring.add(&[(index, at(0))]);
        }
        assert_eq!(ring.last(1).gpus.len(), CARDS);
    }
}
