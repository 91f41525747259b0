//! How fast nodes work: by the clock, or one step at a time on a test's word.
//! In: step times and permits. Out: a wait for each step of a node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

pub struct Pace {
    stepped: AtomicBool,
    permits: Semaphore,
    /// Steps asked for less steps allowed.
    demand: watch::Sender<i64>,
    released: Notify,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            stepped: AtomicBool::new(false),
            permits: Semaphore::new(0),
            demand: watch::Sender::new(0),
            released: Notify::new(),
        }
    }
}

/// Takes the demand back if the wait ends without a permit, by a restart for example.
struct Asked<'a> {
    demand: &'a watch::Sender<i64>,
    granted: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.demand.send_modify(|demand| *demand -= 1);
        }
    }
}

impl Pace {
    pub(crate) async fn step(&self, time: Duration) {
        if !self.stepped.load(Ordering::SeqCst) {
            return tokio::time::sleep(time).await;
        }
        let released = self.released.notified();
        self.demand.send_modify(|demand| *demand += 1);
        let mut asked = Asked { demand: &self.demand, granted: false };
        tokio::select! {
            permit = self.permits.acquire() => if let Ok(permit) = permit {
                permit.forget();
                asked.granted = true;
            },
            () = released => {}
        }
    }

    pub(crate) fn set_stepped(&self, stepped: bool) {
        self.stepped.store(stepped, Ordering::SeqCst);
        if !stepped {
            self.released.notify_waiters();
        }
    }

    pub(crate) fn allow(&self, steps: u32) {
        self.demand.send_modify(|demand| *demand -= i64::from(steps));
        self.permits.add_permits(steps as usize);
    }

    /// Returns when a node waits for a step that has not been allowed.
    pub(crate) async fn starving(&self) {
        let _ = self.demand.subscribe().wait_for(|demand| *demand > 0).await;
    }
}
