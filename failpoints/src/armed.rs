//! What a debug build does at its points: nothing, unless the environment names one of them.
//! In: `POINT:ACTION[@N]`. Out: a signal to the own process at the N-th time, told on standard error.

use super::Point;
use rustix::process::{Signal, getpid, kill_process};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Read once: nothing of the environment is looked at in mid-run.
static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
    let text = std::env::var("GPU_WORKER_FAILPOINT").ok()?;
    let armed = Armed::read(&text);
    if armed.is_none() {
        eprintln!("GPU_WORKER_FAILPOINT={text}: not POINT:kill or POINT:freeze, with @N for the N-th time");
    }
    armed
});

struct Armed {
    point: Point,
    word: &'static str,
    signal: Signal,
    left: AtomicU64,
}

impl Armed {
    fn read(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        let (word, times) = rest.split_once('@').unwrap_or((rest, "1"));
        let (word, signal) = match word {
            "kill" => ("kill", Signal::KILL),
            "freeze" => ("freeze", Signal::STOP),
            _ => return None,
        };
        let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
        Some(Self { point, word, signal, left: AtomicU64::new(times.parse().ok().filter(|times| *times > 0)?) })
    }

    /// True at the N-th time and never again.
    fn is_due(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    }
}

pub fn reach(point: Point) {
    let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == point && armed.is_due()) else { return };
    eprintln!("failpoint {}: {}", point.name(), armed.word);
    // Refused only to processes that may not signal themselves: then the test that waits for it fails.
    let _ = kill_process(getpid(), armed.signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_can_be_armed_by_a_name_of_its_own() {
        for point in Point::ALL {
            assert_eq!(Armed::read(&format!("{}:kill", point.name())).map(|armed| armed.point), Some(*point));
        }
        for wrong in ["", "registered", "registered:nothing", "nowhere:kill", "registered:kill@0", "registered:kill@x"]
        {
            assert!(Armed::read(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn it_is_due_at_the_nth_time_alone() {
        let armed = Armed::read("renewed:freeze@3").unwrap();
        let due: Vec<bool> = (0..5).map(|_| armed.is_due()).collect();
        assert_eq!(due, [false, false, true, false, false]);
        assert_eq!(armed.signal, Signal::STOP);
    }
}
