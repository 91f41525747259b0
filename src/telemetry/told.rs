//! That something was told: for whoever follows how the agent is, and not each place where it changes.
//! In: a sign for each notice. Out: the time of the first one since it was last asked for, and a wait for the next.

use std::sync::{LazyLock, Mutex, PoisonError};
use tokio::sync::Notify;

/// Signs of this process's notices.
#[derive(Debug, Default)]
pub struct Told {
    first: Mutex<Option<i64>>,
    news: Notify,
}

static OF_PROCESS: LazyLock<Told> = LazyLock::new(Told::default);

/// Those of this process.
pub fn of_process() -> &'static Told {
    &OF_PROCESS
}

impl Told {
    /// Something was told at this time, in ms since 1970.
    pub(super) fn sign(&self, at: i64) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(at);
        self.news.notify_one();
    }

    /// When the first thing was told since this was last asked.
    pub fn take(&self) -> Option<i64> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Comes back when something is told; at once if it was since this last came back. For one follower.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_first_time_of_several_counts_and_nothing_is_missed_between_two_looks() {
        let told = Told::default();
        assert_eq!((told.take(), told.news().now_or_never()), (None, None));
        told.sign(7);
        told.sign(9);
        assert_eq!((told.news().now_or_never(), told.take(), told.take()), (Some(()), Some(7), None));
        assert_eq!(told.news().now_or_never(), None);
    }
}
