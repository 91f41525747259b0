//! Leaving a server that is not the master any more although it answers, or says nothing at all.
//! In: what Sentinels say, calls that take long. Out: the shared connection, leading to the new master.

use super::failure::unusable;
use super::{Link, Open, unless};
use futures_util::StreamExt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A call that takes longer makes us ask the guides whether the master is another by now.
const DOUBT: Duration = Duration::from_secs(2);
const DOUBT_AGAIN: Duration = Duration::from_secs(1);

impl Link {
    /// Returns once a call that takes long proves to be made to a server that is not the master any more. Without guides
    /// there is nobody to ask; the call's deadline ends it.
    pub(super) async fn led_elsewhere(&self, open: &Open) {
        if !self.route.has_guides() {
            return std::future::pending().await;
        }
        let looking = async {
            tokio::time::sleep(DOUBT).await;
            while !self.look_elsewhere(open).await {
                tokio::time::sleep(DOUBT_AGAIN).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.left(open.generation) => {}
        }
    }

    /// Asks the guides whether there is another master; true once the shared connection leads to it.
    async fn look_elsewhere(&self, open: &Open) -> bool {
        let _one_at_a_time = self.connecting.lock().await;
        if *self.generation.borrow() != open.generation {
            return true;
        }
        let Ok(opened) = self.route.open(Some(&open.place)).await else { return false };
        self.close(open.generation, &unusable(format!("the master is another by now: {}", opened.place)));
        self.install(opened);
        true
    }

    /// Follows what Sentinels say until told to stop: a master that they replace may go on for seconds as if it were one,
    /// and what it takes meanwhile is lost.
    pub async fn follow_guides(&self, stop: CancellationToken) {
        let following = async {
            for turn in 0.. {
                if let Ok(mut sentinel) = self.route.sentinel(turn).await {
                    let mut news = sentinel.on_message();
                    // What was said before has not been heard.
                    let mut heard = Some(());
                    while heard.is_some() {
                        let open = self.state().open.clone();
                        if let Some(open) = open {
                            self.look_elsewhere(&open).await;
                        }
                        heard = news.next().await.map(drop);
                    }
                }
                tokio::time::sleep(DOUBT_AGAIN).await;
            }
        };
        unless(&stop, following).await;
    }
}
