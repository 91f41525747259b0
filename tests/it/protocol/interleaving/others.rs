//! What happens to agents: clients and operators, the reference's programs, time, and failovers.
//! In: an action and two numbers that choose its particulars. Out: Redis has changed, and nobody told the agents.

use super::Do;
use super::failover::Copy;
use super::world::World;

impl World<'_> {
    async fn status(&self, id: &str) -> String {
        self.scene.field(id, "status").await.unwrap_or_default()
    }

    fn new_life(&mut self) -> String {
        self.lives += 1;
        format!("2026-01-01T00:00:{:02}.{:03}Z", self.lives / 1000, self.lives % 1000)
    }

    pub async fn happen(&mut self, what: Do, a: u8, b: u8) {
        let scene = self.scene;
        match what {
            Do::ForeignSubmit => {
                let id = self.new_id();
                let life = self.new_life();
                let (service, priority) = (format!("s{}", a % 3), (b % 4).to_string());
                let fields = [("created_at", life.as_str()), ("service_required", &service), ("priority", &priority)];
                scene.foreign(&id, &fields).await;
                self.jobs.push(id);
            }
            Do::ForeignResubmit => {
                let Some(id) = self.pick(a) else { return };
                let life = self.new_life();
                self.foreign.insert(id.clone());
                scene.foreign(&id, &[("created_at", &life)]).await;
            }
            Do::Cancel => {
                let Some(id) = self.pick(a) else { return };
                scene.space.cancel(&mut scene.con(), &id, "x").await.unwrap();
            }
            Do::LeasesRunOut => {
                for id in scene.members("jobs:leases").await {
                    scene.stall(&id).await;
                }
            }
            Do::TimeJumps => {
                let _: String = scene.run(&["SET", "jobs:tick", "1"]).await;
                scene.tick().await;
            }
            Do::PausesEnd => {
                for id in scene.members("jobs:delayed").await {
                    scene.due(&id).await;
                }
            }
            Do::Sweep => scene.sweep().await,
            Do::Replay => {
                let Some(id) = self.pick(a) else { return };
                scene.space.replay(&mut scene.con(), &id).await.unwrap();
            }
            Do::ForeignClaim => {
                let waiting: Vec<String> = scene.run(&["ZREVRANGE", "jobs:pending", "0", "0"]).await;
                let Some(id) = waiting.first() else { return };
                self.foreign.insert(id.clone());
                scene.foreign_claim(id, "theirs").await;
            }
            Do::ForeignComplete | Do::ForeignRetry => {
                let Some(id) = self.pick(a) else { return };
                if scene.field(&id, "worker_id").await.as_deref() != Some("theirs") {
                    return;
                }
                self.foreign.insert(id.clone());
                if matches!(what, Do::ForeignComplete) {
                    scene.set(&id, &[("status", "completed")]).await;
                } else {
                    scene.set(&id, &[("status", "pending"), ("worker_id", "")]).await;
                    let _: u64 = scene.run(&["ZADD", "jobs:pending", "9005439304740991", &id]).await;
                }
            }
            Do::ForeignCancel => {
                let Some(id) = self.pick(a) else { return };
                if !["completed", "failed"].contains(&self.status(&id).await.as_str()) {
                    self.foreign.insert(id.clone());
                    scene.foreign_cancel(&id).await;
                }
            }
            Do::ForeignRequeue => {
                // Its hub resets a worker: whatever that one holds waits again, whoever's worker it is.
                let Some(id) = self.pick(a) else { return };
                let worker = scene.field(&id, "worker_id").await.unwrap_or_default();
                if !["assigned", "in_progress"].contains(&self.status(&id).await.as_str()) {
                    return;
                }
                self.foreign.insert(id.clone());
                scene.set(&id, &[("status", "pending"), ("worker_id", ""), ("assigned_at", "")]).await;
                let _: u64 = scene.run(&["HDEL", &format!("jobs:active:{worker}"), &id]).await;
                let _: u64 = scene.run(&["ZADD", "jobs:pending", "49999999999997975", &id]).await;
            }
            Do::Forgotten => {
                let mut due: Vec<String> = scene.members("jobs:finished").await;
                for key in ["jobs:finished", "jobs:dead"] {
                    for id in scene.members(key).await {
                        let _: u64 = scene.run(&["ZADD", key, "XX", "1", &id]).await;
                        due.push(id);
                    }
                }
                scene.tick().await;
                let mut left = Vec::new();
                for id in std::mem::take(&mut self.jobs) {
                    let there: bool = scene.run(&["EXISTS", &format!("job:{id}")]).await;
                    assert!(there || due.contains(&id), "{id} is gone, and was not due");
                    if there {
                        left.push(id);
                    }
                }
                self.jobs = left;
            }
            Do::ReplicaCatchesUp => self.replica = Some(Copy::take(self).await),
            Do::Failover => {
                if let Some(replica) = self.replica.take() {
                    replica.put_back(self).await;
                }
            }
            _ => unreachable!("agents do {what:?}"),
        }
    }
}
