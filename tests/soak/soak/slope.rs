//! Least squares: how fast something grows, and how sure that is.
//! In: points. Out: slope and its standard error.

/// A straight line through points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// What one unit to the right adds.
    pub slope: f64,
    /// Standard error of it.
    pub error: f64,
}

impl Slope {
    /// `None` for fewer than three points, or if all are at one place.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        if spread == 0.0 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
        let rest: f64 = points.iter().map(|(x, y)| (y - y_mean - slope * (x - x_mean)).powi(2)).sum();
        Some(Self { slope, error: (rest / (count - 2.0) / spread).sqrt() })
    }

    /// Grows beyond what the noise explains, and by more than `least` for each unit.
    pub fn grows(&self, least: f64) -> bool {
        self.slope > least && self.slope > 3.0 * self.error
    }
}
