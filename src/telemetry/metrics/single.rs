//! A gauge without labels, which has no sample while nobody knows its value.
//! In: a number, or that there is none. Out: one sample, or none: not a NaN, which charts draw and alarms pass over.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::AtomicU64;

/// The gauge; NaN is what nobody knows.
#[derive(Debug, Clone, Default)]
pub struct Single(Gauge<f64, AtomicU64>);

impl Single {
    /// It is so much now.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Nobody knows it any more.
    pub fn forget(&self) {
        self.0.set(f64::NAN);
    }
}

impl EncodeMetric for Single {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.get().is_nan()
    }
}
