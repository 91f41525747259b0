//! Jobs handed in to a Redis that may lose what it has confirmed: a job is accepted when the replica has it, too.
//! In: how many there are to be by now. Out: their ids, each submitted as often as it takes.
//!
//! ```text
//!   new ──submit──▶ unconfirmed ──is there, and WAIT says that the replica has it──▶ accepted
//!                    │      ▲
//!                    └gone──┘ submitted again under the same id
//! ```

use super::plan::{Dice, graph};
use crate::support::Queue;
use gpu_worker::queue::client::{self, JobRequest, SubmitError};
use redis::RedisResult;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

/// For how long Redis waits for its replica, in ms.
const CONFIRM_MS: u64 = 1000;
/// A key that is written for `WAIT`, which waits for what its own connection has written.
const MARK: &str = "failover:mark";

pub struct Intake {
    /// One for jobs, one that waits for the replica.
    queues: [Queue; 2],
    requests: RefCell<Vec<JobRequest>>,
    unconfirmed: RefCell<Vec<usize>>,
    pub accepted: RefCell<Vec<String>>,
    /// Jobs that Redis had taken, and lost.
    pub lost: RefCell<BTreeSet<String>>,
    /// Times that the replica did not confirm in time, or nobody answered.
    pub unanswered: Cell<u64>,
}

impl Intake {
    pub fn new(url: &str) -> Self {
        Self {
            queues: [Queue::at(url, ""), Queue::at(url, "")],
            requests: RefCell::default(),
            unconfirmed: RefCell::default(),
            accepted: RefCell::default(),
            lost: RefCell::default(),
            unanswered: Cell::default(),
        }
    }

    /// Hears from the Sentinels who is the master, as an agent does. Ends never.
    pub async fn follow(&self) {
        let never = tokio_util::sync::CancellationToken::new();
        let [jobs, marks] = &self.queues;
        tokio::join!(jobs.link.follow_guides(never.clone()), marks.link.follow_guides(never));
        std::future::pending::<()>().await;
    }

    /// Hands in one job after the other, as far as `share` goes by now.
    pub async fn submit(&self, jobs: u64, seed: u64, share: impl Fn() -> u64) {
        let (mut what, mut when) = (Dice(seed), Dice(seed ^ 0xbea7));
        for number in 0..jobs {
            while number >= share() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(when.between(10, 90))).await;
            let id = Some(format!("job-{number:06}"));
            let request = JobRequest { id, ..JobRequest::from_json(&graph(number, &mut what)).expect("a job") };
            self.hand_in(&request).await;
            self.requests.borrow_mut().push(request);
            self.unconfirmed.borrow_mut().push(number as usize);
        }
    }

    async fn hand_in(&self, request: &JobRequest) {
        let Queue { link, space } = &self.queues[0];
        loop {
            match client::submit(link, space, request, 1 << 20).await {
                // Another time's answer was lost, or another time was not lost after all.
                Ok(_) | Err(SubmitError::Exists { .. }) => return,
                Err(SubmitError::Redis(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(wrong) => panic!("a job is not accepted: {wrong}"),
            }
        }
    }

    /// Goes on until so many are accepted.
    pub async fn confirm(&self, jobs: u64) {
        while (self.accepted.borrow().len() as u64) < jobs {
            let batch = self.unconfirmed.take();
            if batch.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let asked = self.ask(&batch).await;
            let Ok((there, replicas)) = asked else {
                self.unanswered.set(self.unanswered.get() + 1);
                self.unconfirmed.borrow_mut().extend(batch);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            self.unanswered.set(self.unanswered.get() + u64::from(replicas == 0));
            for (number, there) in batch.into_iter().zip(there) {
                if there && replicas > 0 {
                    self.accepted.borrow_mut().push(format!("job-{number:06}"));
                    continue;
                }
                if !there {
                    self.lost.borrow_mut().insert(format!("job-{number:06}"));
                    let request = self.requests.borrow()[number].clone();
                    self.hand_in(&request).await;
                }
                self.unconfirmed.borrow_mut().push(number);
            }
        }
    }

    /// Which are there, and how many replicas have all that was there at that time. All on one connection: another may
    /// lead to another master.
    async fn ask(&self, numbers: &[usize]) -> RedisResult<(Vec<bool>, u64)> {
        let link = &self.queues[1].link;
        let mut look = redis::pipe();
        for number in numbers {
            look.exists(format!("job:job-{number:06}"));
        }
        link.call(async |con| {
            let there = look.query_async(con).await?;
            // `WAIT` looks at the writes of its own connection alone; without one it would answer at once.
            redis::cmd("SET").arg(MARK).arg(1).exec_async(con).await?;
            let replicas = redis::cmd("WAIT").arg(1).arg(CONFIRM_MS).query_async(con).await?;
            Ok((there, replicas))
        })
        .await
    }
}
