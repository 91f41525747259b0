//! The place of a job in the queue: higher priority first, then older, as one number that a double holds exactly.
//! In: the texts of a job's hash, the time now. Out: [`Order`] for the class index.

use std::fmt;

/// Highest priority; greater ones count as this.
pub const PRIORITY_MAX: u64 = 1023;

/// What a job without a usable priority gets.
pub const PRIORITY_DEFAULT: u64 = 50;

/// Latest time in ms since 1970 that fits beside the priority (the year 2248).
pub const TIME_MAX_MS: u64 = (1 << 43) - 1;

/// Numbers in `created_at` below this are seconds, from here on milliseconds: 1973 in ms, the year 5138 in s.
const SECONDS_END_MS: f64 = 1e11;

/// `(1023 - priority) * 2^43 + ms`: the smallest goes first. Always below 2^53, so that a double and Redis hold it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u64);

impl Order {
    /// From a priority and a time in ms since 1970; both are clamped.
    pub fn new(priority: u64, time_ms: u64) -> Order {
        Order(((PRIORITY_MAX - priority.min(PRIORITY_MAX)) << 43) + time_ms.min(TIME_MAX_MS))
    }

    /// Reads the decimal text that [`Order`] displays as.
    pub fn parse(text: &str) -> Option<Order> {
        let value = text.parse::<u64>().ok()?;
        (value < 1 << 53).then_some(Order(value))
    }

    /// The number itself.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The priority it was made from, 0 to 1023.
    pub fn priority(self) -> u64 {
        PRIORITY_MAX - (self.0 >> 43)
    }

    /// The time it was made from, in ms since 1970.
    pub fn time_ms(self) -> u64 {
        self.0 & TIME_MAX_MS
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The fields of `job:{id}` that decide its place, as they stand in the hash. Empty text means not set.
#[derive(Debug, Clone, Copy, Default)]
pub struct OrderFields<'a> {
    /// `priority`.
    pub priority: Option<&'a str>,
    /// `workflow_priority`: goes before `priority`.
    pub workflow_priority: Option<&'a str>,
    /// `workflow_datetime`, ms since 1970: goes before `created_at`.
    pub workflow_datetime: Option<&'a str>,
    /// `created_at`: ISO 8601, or a number of seconds or milliseconds since 1970.
    pub created_at: Option<&'a str>,
}

impl<'a> OrderFields<'a> {
    /// Picks the fields out of a job's hash.
    pub fn of<F: Fn(&str) -> Option<&'a str>>(field: F) -> OrderFields<'a> {
        OrderFields {
            priority: field("priority"),
            workflow_priority: field("workflow_priority"),
            workflow_datetime: field("workflow_datetime"),
            created_at: field("created_at"),
        }
    }

    fn time_ms(&self, now_ms: i64) -> u64 {
        let time =
            positive_integer(self.workflow_datetime).or_else(|| moment_ms(self.created_at)).unwrap_or(now_ms as f64);
        time.clamp(0.0, TIME_MAX_MS as f64) as u64
    }
}

/// The order of a job for its whole life. Priority 0 is a priority here, unlike in the reference.
///
/// `now_ms` (ms since 1970, from Redis) stands in for a job that tells no usable time.
pub fn order(fields: &OrderFields<'_>, now_ms: i64) -> Order {
    let priority = number(fields.workflow_priority)
        .or_else(|| number(fields.priority))
        .map_or(PRIORITY_DEFAULT, |p| p.floor().clamp(0.0, PRIORITY_MAX as f64) as u64);
    Order::new(priority, fields.time_ms(now_ms))
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

fn positive_integer(text: Option<&str>) -> Option<f64> {
    number(text).filter(|n| *n > 0.0 && n.fract() == 0.0)
}

fn moment_ms(text: Option<&str>) -> Option<f64> {
    if let Some(n) = number(text) {
        let ms = if n < SECONDS_END_MS { n * 1000.0 } else { n };
        return (ms > 0.0).then(|| ms.floor());
    }
    let text = text?.trim();
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // Python's isoformat() leaves the zone out; its producers write UTC.
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(moment.as_millisecond() as f64)
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
