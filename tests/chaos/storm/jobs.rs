//! The jobs of a storm: handed in by our client or the reference's hub, some cancelled by either.
//! In: how many there are to be. Out: their ids, and what may become of each.

use super::plan::{Dice, Plan, Trouble, graph};
use super::theirs;
use crate::support::{Queue, RedisServer};
use gpu_worker::queue::client::{self, JobRequest, SubmitError};
use std::collections::BTreeSet;
use std::time::Duration;

pub struct Jobs<'a> {
    queue: &'a Queue,
    plan: &'a Plan,
    /// What each is, who adds it, which are cancelled and how.
    dice: [Dice; 3],
    pub ids: Vec<String>,
    pub cancelled: BTreeSet<String>,
    pub added_by_theirs: u64,
    pub cancelled_by_theirs: u64,
    /// Where the search for ends that only `status` tells goes on.
    seen: usize,
}

impl<'a> Jobs<'a> {
    pub fn new(queue: &'a Queue, plan: &'a Plan) -> Self {
        let dice = [plan.seed, plan.seed ^ 0xadd, plan.seed ^ 0xcace1].map(Dice);
        let (ids, cancelled) = (Vec::new(), BTreeSet::new());
        Self { queue, plan, dice, ids, cancelled, added_by_theirs: 0, cancelled_by_theirs: 0, seen: 0 }
    }

    /// Redis may have restarted, and lost our connection: what is harmless is repeated.
    pub async fn submit_up_to(&mut self, server: &RedisServer, count: u64) {
        for number in self.ids.len() as u64..count {
            let body = graph(number, &mut self.dice[0]);
            let id = format!("job-{number:06}");
            if self.dice[1].once_in(4) && self.plan.has(Trouble::Foreign) {
                let payload = serde_json::json!({"workflow": body});
                theirs::add(&mut server.con.clone(), &id, &payload, self.plan.attempts())
                    .await
                    .expect("their hub is spared");
                self.added_by_theirs += 1;
            } else {
                let job = serde_json::json!({
                    "type": "comfyui", "payload": {"workflow": body}, "max_retries": self.plan.attempts(),
                });
                let request = JobRequest { id: Some(id.clone()), ..JobRequest::from_json(&job).expect("a job") };
                self.submit(&request).await;
            }
            self.ids.push(id);
        }
    }

    async fn submit(&self, request: &JobRequest) {
        let Queue { link, space } = self.queue;
        let mut asked_again = false;
        loop {
            match client::submit(link, space, request, 1 << 20).await {
                Ok(_) => return,
                // The answer to the first time was lost.
                Err(SubmitError::Exists { .. }) if asked_again => return,
                Err(SubmitError::Redis(_)) => asked_again = true,
                Err(wrong) => panic!("a job is not accepted: {wrong}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Cancels one of the latest, if that is among the troubles.
    pub async fn cancel_one(&mut self, server: &RedisServer) {
        let dice = &mut self.dice[2];
        let (now, back, by_theirs) = (dice.once_in(2), dice.between(1, self.plan.agents * 4), dice.once_in(2));
        if !now || !self.plan.has(Trouble::Cancel) {
            return;
        }
        let Some(at) = self.ids.len().checked_sub(back as usize) else { return };
        let id = self.ids[at].clone();
        self.cancelled.insert(id.clone());
        if by_theirs && self.plan.has(Trouble::Foreign) {
            // Redis may be on its way back.
            while theirs::cancel(&mut server.con.clone(), &id).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.cancelled_by_theirs += 1;
        } else {
            self.touch(&id, "the storm changed its mind").await;
        }
    }

    async fn touch(&self, id: &str, reason: &str) {
        let Queue { link, space } = self.queue;
        while link.call(async |con| space.cancel(con, id, reason).await).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An end that another program wrote is recorded by whoever looks at the job, and a `status` that it wrote behind an
    /// end goes back to what `final` says: this looks at some that have ended.
    pub async fn look(&mut self, server: &RedisServer, most: usize) {
        if !self.plan.has(Trouble::Foreign) {
            return;
        }
        for _ in 0..self.ids.len().min(most) {
            self.seen = (self.seen + 1) % self.ids.len();
            let id = self.ids[self.seen].clone();
            let key = format!("job:{id}");
            let [status, end]: [Option<String>; 2] = server.run(&["HMGET", &key, "status", "final"]).await;
            let (status, end) = (status.unwrap_or_default(), end.unwrap_or_default());
            let ended = !end.is_empty() || ["completed", "failed", "cancelled"].contains(&status.as_str());
            if ended && end.split(' ').next() != Some(&status) {
                // Nothing can be cancelled any more.
                self.touch(&id, "too late").await;
            }
        }
    }
}
