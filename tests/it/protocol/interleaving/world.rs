//! What an episode knows beside Redis, and what agents and their clients do in it.
//! In: an action and two numbers that choose its particulars. Out: Redis and beliefs have changed.

use super::Do;
use super::failover::Copy;
use crate::protocol::invariants::{end_of, violations};
use crate::protocol::scene::{LEASE, Scene, claim_of, job};
use gpu_worker::protocol::claim::ClaimReply;
use gpu_worker::protocol::hold::{Claim, Hold};
use gpu_worker::protocol::outcome::{Settled, Verdict};
use gpu_worker::protocol::submit::{QueueLimits, Submitted};
use gpu_worker::queue::recover::left_behind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const AGENTS: usize = 3;

/// What the test knows beside Redis.
pub struct World<'a> {
    pub scene: &'a Scene,
    /// What each agent believes to hold; it may be wrong.
    pub believed: [Vec<Claim>; AGENTS],
    /// Claims whose answers are still on their way.
    pub on_the_way: [Vec<Claim>; AGENTS],
    pub jobs: Vec<String>,
    /// Written to by other programs: their indexes follow later.
    pub foreign: BTreeSet<String>,
    /// Results by job and life.
    pub accepted: BTreeMap<(String, String), u32>,
    pub replica: Option<Copy>,
    pub ids: u32,
    pub lives: u32,
    pub tokens: u32,
}

impl<'a> World<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            believed: Default::default(),
            on_the_way: Default::default(),
            jobs: Vec::new(),
            foreign: BTreeSet::new(),
            accepted: BTreeMap::new(),
            replica: None,
            ids: 0,
            lives: 0,
            tokens: 0,
        }
    }

    pub fn pick(&self, n: u8) -> Option<String> {
        (!self.jobs.is_empty()).then(|| self.jobs[n as usize % self.jobs.len()].clone())
    }

    fn belief(&self, agent: usize, n: u8) -> Option<Claim> {
        let all = &self.believed[agent];
        (!all.is_empty()).then(|| all[n as usize % all.len()].clone())
    }

    /// The agent is told that it holds the job no longer. A bad one does not listen, and says things again.
    fn let_go(&mut self, agent: usize, claim: &Claim, stubborn: bool) {
        if !stubborn {
            self.believed[agent].retain(|held| held.token != claim.token);
        }
    }

    pub fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("j{}", self.ids)
    }

    fn new_token(&mut self, agent: usize, why: &str) -> String {
        self.tokens += 1;
        format!("w{agent}|{why}{}", self.tokens)
    }

    fn count(&mut self, claim: &Claim, settled: &Settled) {
        if *settled == Settled::Accepted {
            *self.accepted.entry((claim.id.clone(), claim.life.clone())).or_default() += 1;
        }
    }

    pub async fn step(&mut self, what: Do, a: u8, b: u8) {
        let scene = self.scene;
        let agent = a as usize % AGENTS;
        let stubborn = b & 1 == 1;
        match what {
            Do::Submit => {
                let id = self.new_id();
                let mut job = job(&id, &format!("s{}", a % 3));
                job.priority = u64::from(b % 4);
                scene.submit_as(job).await;
                self.jobs.push(id);
            }
            Do::Claim => {
                let services = ["s0", "s1", "s2", "simulation"];
                let services = &services[..if b.is_multiple_of(4) { 2 } else { 4 }];
                let claimed = scene.claim_job(&format!("w{agent}"), services).await;
                self.believed[agent].extend(claimed.map(|(claim, _)| claim));
            }
            Do::ClaimWithLostReply => {
                let token = self.new_token(agent, "lost");
                let first = scene.claim_with(&token, LEASE).await;
                let again = scene.claim_with(&token, LEASE).await;
                if let (ClaimReply::Job(first), ClaimReply::Job(again)) = (first, again) {
                    assert_eq!((first.id, first.attempt), (again.id.clone(), again.attempt), "asked again");
                    self.believed[agent].push(claim_of(&again, &token));
                }
            }
            Do::Start => {
                let Some(claim) = self.belief(agent, b) else { return };
                scene.space.start(&mut scene.con(), &claim, "engine").await.unwrap();
            }
            Do::RenewAll => self.renew_all(stubborn).await,
            Do::Complete => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                let settled = scene.complete(&claim).await;
                self.count(&claim, &settled);
                self.let_go(agent, &claim, stubborn);
            }
            Do::Fail => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                let verdicts = [Verdict::Retry, Verdict::Elsewhere, Verdict::Uncharged, Verdict::Never];
                scene.fail(&claim, verdicts[a as usize / 3 % 4]).await;
                self.let_go(agent, &claim, stubborn);
            }
            Do::Release => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                scene.space.release(&mut scene.con(), &claim, a > 128, "x").await.unwrap();
                self.let_go(agent, &claim, stubborn);
            }
            Do::Adopt => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                let token = self.new_token(agent, "adopted");
                let adopting = scene.space.adopt(&mut scene.con(), &claim, &token, LEASE, 3).await;
                if let Some(adopted) = adopting.unwrap().held() {
                    self.believed[agent].push(Claim { token, attempt: adopted.attempt, ..claim.clone() });
                }
                self.let_go(agent, &claim, stubborn);
            }
            Do::Confirm => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                if scene.renew(&claim).await == Hold::Cancel {
                    assert_eq!(scene.space.confirm(&mut scene.con(), &claim).await.unwrap(), Settled::Accepted);
                }
            }
            Do::SubmitAgain => {
                let Some(id) = self.pick(b) else { return };
                let again = job(&id, "s0");
                let answer = scene.space.submit(&mut scene.con(), &again, QueueLimits::default()).await.unwrap();
                assert!(matches!(answer, Submitted::Exists { .. }), "{id} is there: {answer:?}");
            }
            Do::ClaimWithLateReply => {
                let token = self.new_token(agent, "late");
                if let ClaimReply::Job(job) = scene.claim_with(&token, LEASE).await {
                    self.on_the_way[agent].push(claim_of(&job, &token));
                }
            }
            Do::RepliesArrive => {
                let late = std::mem::take(&mut self.on_the_way[agent]);
                self.believed[agent].extend(late);
            }
            Do::CompleteWithLostReply => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                let first = scene.complete(&claim).await;
                self.count(&claim, &first);
                let again = scene.complete(&claim).await;
                let fits = match first {
                    Settled::Accepted | Settled::Already => again == Settled::Already,
                    _ => matches!(again, Settled::Lost { .. }),
                };
                assert!(fits, "{first:?}, asked again {again:?}");
                self.let_go(agent, &claim, stubborn);
            }
            Do::FailOrReleaseWithLostReply => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                let first =
                    if a > 128 { scene.release(&claim).await } else { scene.fail(&claim, Verdict::Retry).await };
                let again =
                    if a > 128 { scene.release(&claim).await } else { scene.fail(&claim, Verdict::Retry).await };
                let fits = match first {
                    Settled::Lost { .. } => matches!(again, Settled::Lost { .. }),
                    // An end that the same token made, or one of an earlier call.
                    _ => matches!(again, Settled::Already | Settled::Lost { .. } | Settled::Cancelled),
                };
                assert!(fits, "{first:?}, asked again {again:?}");
                self.let_go(agent, &claim, stubborn);
            }
            Do::Crash => {
                self.believed[agent].clear();
                self.on_the_way[agent].clear();
                // Back at once, or never: then its leases run out.
                if stubborn {
                    return;
                }
                let lease = Duration::from_millis(LEASE);
                let found = left_behind(&scene.link, &scene.space, &format!("w{agent}"), lease, 3).await.unwrap();
                let claims = found.held.iter().map(|one| claim_of(&one.claimed, &one.token));
                self.believed[agent].extend(claims);
            }
            _ => self.happen(what, a, b).await,
        }
    }

    /// Every agent asserts all that it believes to hold: of each job one at most may go on.
    async fn renew_all(&mut self, stubborn: bool) {
        let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for agent in 0..AGENTS {
            let claims = self.believed[agent].clone();
            if claims.is_empty() {
                continue;
            }
            let answers = self.scene.space.renew(&mut self.scene.con(), LEASE, &claims).await.unwrap();
            for (claim, answer) in claims.iter().zip(answers) {
                if matches!(answer, Hold::Lost | Hold::Moved) {
                    self.let_go(agent, claim, stubborn);
                } else {
                    holders.entry(claim.id.clone()).or_default().push(claim.token.clone());
                }
            }
        }
        for (id, tokens) in holders {
            assert!(tokens.len() == 1, "{id} is held by {tokens:?}");
        }
    }

    pub async fn in_order(&self, excused: &BTreeSet<String>, when: &str) {
        let found = violations(self.scene, excused).await;
        assert!(found.is_empty(), "{when}, the queue is out of order:\n{}", found.join("\n"));
        for ((id, life), times) in &self.accepted {
            assert!(*times <= 1, "{times} results of {id} were accepted in its life {life}");
        }
    }

    /// Everybody finishes what there is: then each job has ended, once.
    pub async fn finish(&mut self) {
        let scene = self.scene;
        for id in self.jobs.clone() {
            if scene.field(&id, "worker_id").await.as_deref() == Some("theirs")
                && end_of(&scene.hash(&id).await).is_none()
            {
                scene.set(&id, &[("status", "completed")]).await;
            }
        }
        for _ in 0..8 {
            self.step(Do::LeasesRunOut, 0, 0).await;
            self.step(Do::PausesEnd, 0, 0).await;
            scene.sweep().await;
            while let Some(claim) = scene.claim("last").await {
                let settled = scene.complete(&claim).await;
                self.count(&claim, &settled);
            }
        }
        for id in &self.jobs {
            // Whoever looks at a job that others have ended records its end.
            scene.space.cancel(&mut scene.con(), id, "x").await.unwrap();
            let hash = scene.hash(id).await;
            let end = end_of(&hash).unwrap_or_else(|| panic!("{id} has not ended: {hash:?}"));
            let by_token = hash["final"].split(' ').nth(1) != Some("-");
            let counted = self.accepted.get(&(id.clone(), hash["created_at"].clone())).copied().unwrap_or_default();
            assert_eq!(counted == 1, end.0 == "completed" && by_token, "{id}: {hash:?}");
        }
        // Entries that claims of the same worker remove.
        for agent in 0..AGENTS {
            scene.claim(&format!("w{agent}")).await;
        }
        self.in_order(&BTreeSet::new(), "in the end").await;
    }
}
