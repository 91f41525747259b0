//! Runs a blocking question on a thread of its own and gives up waiting, not asking, after a deadline.
//! In: a closure that may hang. Out: its answer, or `Silent`.
//!
//! ```text
//! idle (the thread sleeps, at no cost) ──ask──> busy ──answer──> idle
//!                                                └─ deadline: the caller leaves; the thread goes on and answers the next caller
//! ```

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Callers that may wait behind a question that hangs; more are turned away at once.
const WAITING: usize = 4;
/// Driver libraries are not frugal, but the 2 MiB default is more than any of them needs.
const STACK_BYTES: usize = 1 << 20;

/// No answer within the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silent;

/// A thread that answers one question at a time. It ends when this is dropped and the current question is answered.
pub(super) struct Answerer<A, Q = ()> {
    questions: SyncSender<(Q, oneshot::Sender<A>)>,
    deadline: Duration,
}

impl<A: Send + 'static, Q: Send + 'static> Answerer<A, Q> {
    /// Starts the thread. Fails only when the system has no thread left.
    pub(super) fn start(
        name: &str,
        deadline: Duration,
        answer: impl FnMut(Q) -> A + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING);
        let thread = thread::Builder::new().name(format!("probe-{name}")).stack_size(STACK_BYTES);
        thread.spawn(move || serve(asked, answer))?;
        Ok(Self { questions, deadline })
    }

    /// Asks and waits until the deadline.
    pub(super) async fn ask(&self, question: Q) -> Result<A, Silent> {
        let (reply, answer) = oneshot::channel();
        self.questions.try_send((question, reply)).map_err(|_| Silent)?;
        tokio::time::timeout(self.deadline, answer).await.map_err(|_| Silent)?.map_err(|_| Silent)
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }
}

fn serve<A, Q>(asked: Receiver<(Q, oneshot::Sender<A>)>, mut answer: impl FnMut(Q) -> A) {
    for (question, reply) in asked {
        // After a hang, those who left need no answer.
        if !reply.is_closed() {
            let _ = reply.send(answer(question));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_hang_is_left_alone_and_the_answers_come_back_with_it() {
        let (open, gate) = mpsc::channel::<()>();
        let mut count = 0;
        let answerer = Answerer::start("test", Duration::from_millis(20), move |()| {
            if count == 0 {
                let _ = gate.recv();
            }
            count += 1;
            count
        })
        .unwrap();
        for _ in 0..WAITING + 3 {
            assert_eq!(answerer.ask(()).await, Err(Silent));
        }
        open.send(()).unwrap();
        let answerer = Answerer { deadline: Duration::from_secs(60), ..answerer };
        while answerer.ask(()).await == Err(Silent) {
            tokio::task::yield_now().await;
        }
        assert_eq!(answerer.ask(()).await, Ok(3), "those who left were not answered");
    }

    #[tokio::test]
    async fn a_thread_that_died_is_silence() {
        let answerer: Answerer<()> =
            Answerer::start("test", Duration::from_secs(60), |()| panic!("on purpose")).unwrap();
        assert_eq!(answerer.ask(()).await, Err(Silent));
        assert_eq!(answerer.ask(()).await, Err(Silent));
    }
}
