//! The list of long loops: each has a name and says when it last came round.
//! In: beats. Out: what each loop is doing, and whether one of them hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// All loops of the process.
#[derive(Clone)]
pub struct Loops {
    began: Instant,
    all: Arc<Mutex<Vec<Named>>>,
}

#[derive(Clone)]
struct Named {
    name: String,
    longest: Duration,
    last: Arc<AtomicU64>,
}

/// How a loop is now.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// Its name.
    pub name: String,
    /// Since it last came round.
    pub age: Duration,
    /// Longer than it should be.
    pub hangs: bool,
}

/// A loop's pulse: it calls [`Beat::tick`] each time it comes round.
#[derive(Clone)]
pub struct Beat {
    began: Instant,
    last: Arc<AtomicU64>,
}

impl Beat {
    /// Says that the loop came round.
    pub fn tick(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Default for Loops {
    fn default() -> Self {
        Self { began: Instant::now(), all: Arc::default() }
    }
}

impl Loops {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Named>> {
        self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a loop that should come round at least every `longest`, whatever Redis does.
    pub fn add(&self, name: impl Into<String>, longest: Duration) -> Beat {
        let last = Arc::new(AtomicU64::new(self.began.elapsed().as_millis() as u64));
        self.lock().push(Named { name: name.into(), longest, last: last.clone() });
        Beat { began: self.began, last }
    }

    /// Takes a loop that has ended off the list.
    pub fn remove(&self, beat: &Beat) {
        self.lock().retain(|named| !Arc::ptr_eq(&named.last, &beat.last));
    }

    /// All of them.
    pub fn all(&self) -> Vec<Pulse> {
        let now = self.began.elapsed();
        let pulse = |named: &Named| {
            let age = now.saturating_sub(Duration::from_millis(named.last.load(Ordering::Relaxed)));
            Pulse { name: named.name.clone(), age, hangs: age > named.longest }
        };
        self.lock().iter().map(pulse).collect()
    }

    /// Loops that have not come round for too long, by name.
    pub fn hanging(&self) -> Vec<String> {
        self.all().into_iter().filter(|pulse| pulse.hangs).map(|pulse| pulse.name).collect()
    }
}
