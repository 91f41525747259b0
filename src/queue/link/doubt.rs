//! Silence: is the server busy, or the connection dead? One that is half-open stays silent for ever.
//! In: a small call that is made again and again. Out: its answer, or another connection for everybody.

use super::dial::dial;
use super::failure::timed_out;
use super::{Link, MultiplexedConnection, RedisResult};
use std::time::{Duration, Instant};

/// Without an answer to a watched call for so long, a new connection is tried beside.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// A server that was merely busy answers both: the old one first.
const GRACE: Duration = Duration::from_millis(200);

impl Link {
    /// Calls Redis as [`Link::call`] does, and takes silence for death if a new connection is answered meanwhile.
    pub async fn watched<T>(
        &self,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let began = Instant::now();
        self.state().asked = Some(began);
        let result = tokio::select! {
            biased;
            result = self.call(run) => result,
            () = self.doubt() => Err(timed_out()),
        };
        let mut state = self.state();
        state.asked = None;
        if result.is_ok() {
            state.round_trip = Some(began.elapsed());
        }
        drop(state);
        result
    }

    /// Returns once the silent connection has been replaced.
    async fn doubt(&self) {
        let mut doubted = None;
        loop {
            let current = self.state().open.as_ref().map(|open| open.generation);
            let Some(generation) = current.filter(|_| current == doubted) else {
                // The call goes over a connection that has just been opened, or will be.
                doubted = current;
                tokio::time::sleep(SILENCE).await;
                continue;
            };
            let opened = dial(|| self.route.open(None)).await;
            tokio::time::sleep(GRACE).await;
            let is_current = self.state().open.as_ref().is_some_and(|open| open.generation == generation);
            match opened {
                _ if !is_current => {}
                Ok(fresh) => {
                    self.close(generation, &timed_out());
                    self.install(fresh);
                    return;
                }
                Err(error) => self.note_loss(&error),
            }
        }
    }
}
