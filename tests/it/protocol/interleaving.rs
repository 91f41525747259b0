//! Random sequences of what agents, clients, time and the reference's programs do, with the invariants after every step.

use super::invariants::{end_of, violations};
use super::model::hold;
use super::scene::{LEASE, Scene, job};
use gpu_worker::protocol::claim::ClaimReply;
use gpu_worker::protocol::hold::{Claim, Hold};
use gpu_worker::protocol::outcome::{Settled, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const AGENTS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Do {
    Submit,
    ForeignSubmit,
    ForeignResubmit,
    Claim,
    ClaimWithLostReply,
    Start,
    RenewAll,
    Complete,
    Fail,
    Release,
    Adopt,
    Cancel,
    Confirm,
    LeasesRunOut,
    TimeJumps,
    PausesEnd,
    Sweep,
    Replay,
    ForeignClaim,
    ForeignComplete,
    ForeignRetry,
    ForeignCancel,
}

fn what() -> impl Strategy<Value = Do> {
    use Do::*;
    prop_oneof![
        6 => prop::sample::select(vec![Submit, Claim, Claim, Complete]),
        4 => prop::sample::select(vec![ForeignSubmit, ClaimWithLostReply, Start, RenewAll, Fail, Release, Adopt, Cancel,
            Confirm, LeasesRunOut, TimeJumps, PausesEnd, Sweep, Replay]),
        2 => prop::sample::select(vec![ForeignResubmit, ForeignClaim, ForeignComplete, ForeignRetry, ForeignCancel]),
    ]
}

/// What the test knows beside Redis.
struct World<'a> {
    scene: &'a Scene,
    /// What each agent believes to hold; it may be wrong.
    believed: [Vec<Claim>; AGENTS],
    jobs: Vec<String>,
    /// Written to by other programs: their indexes follow later.
    foreign: BTreeSet<String>,
    accepted: BTreeMap<(String, String), u32>,
    lives: u32,
    tokens: u32,
}

impl World<'_> {
    fn pick(&self, n: u8) -> Option<String> {
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

    async fn status(&self, id: &str) -> String {
        self.scene.field(id, "status").await.unwrap_or_default()
    }

    async fn step(&mut self, what: Do, a: u8, b: u8) {
        let scene = self.scene;
        let agent = a as usize % AGENTS;
        let stubborn = b & 1 == 1;
        match what {
            Do::Submit => {
                let id = format!("j{}", self.jobs.len());
                let mut job = job(&id, &format!("s{}", a % 3));
                job.priority = u64::from(b % 4);
                scene.submit_as(job).await;
                self.jobs.push(id);
            }
            Do::ForeignSubmit => {
                let id = format!("j{}", self.jobs.len());
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
            Do::Claim => {
                let services = ["s0", "s1", "s2", "simulation"];
                let services = &services[..if b.is_multiple_of(4) { 2 } else { 4 }];
                let claimed = scene.claim_job(&format!("w{agent}"), services).await;
                self.believed[agent].extend(claimed.map(|(claim, _)| claim));
            }
            Do::ClaimWithLostReply => {
                self.tokens += 1;
                let token = format!("w{agent}|lost{}", self.tokens);
                let first = scene.claim_with(&token, LEASE).await;
                let again = scene.claim_with(&token, LEASE).await;
                if let (ClaimReply::Job(first), ClaimReply::Job(again)) = (first, again) {
                    assert_eq!((first.id, first.attempt), (again.id.clone(), again.attempt), "asked again");
                    self.believed[agent].push(super::scene::claim_of(&again, &token));
                }
            }
            Do::Start => {
                let Some(claim) = self.belief(agent, b) else { return };
                scene.space.start(&mut scene.con(), &claim, "engine").await.unwrap();
            }
            Do::RenewAll => self.renew_all(stubborn).await,
            Do::Complete => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                if scene.complete(&claim).await == Settled::Accepted {
                    *self.accepted.entry((claim.id.clone(), claim.life.clone())).or_default() += 1;
                }
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
                self.tokens += 1;
                let token = format!("w{agent}|adopted{}", self.tokens);
                let adopting = scene.space.adopt(&mut scene.con(), &claim.id, &claim.token, &token, LEASE, 3).await;
                if let Some(adopted) = adopting.unwrap().held() {
                    self.believed[agent].push(Claim { token, attempt: adopted.attempt, ..claim.clone() });
                }
                self.let_go(agent, &claim, stubborn);
            }
            Do::Cancel => {
                let Some(id) = self.pick(a) else { return };
                scene.space.cancel(&mut scene.con(), &id, "x").await.unwrap();
            }
            Do::Confirm => {
                let Some(claim) = self.belief(agent, b / 2) else { return };
                if scene.renew(&claim).await == Hold::Cancel {
                    assert_eq!(scene.space.confirm(&mut scene.con(), &claim).await.unwrap(), Settled::Accepted);
                }
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
        }
    }

    fn new_life(&mut self) -> String {
        self.lives += 1;
        format!("2026-01-01T00:00:{:02}.{:03}Z", self.lives / 1000, self.lives % 1000)
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

    async fn in_order(&self, excused: &BTreeSet<String>, when: &str) {
        let found = violations(self.scene, excused).await;
        assert!(found.is_empty(), "{when}, the queue is out of order:\n{}", found.join("\n"));
        for ((id, life), times) in &self.accepted {
            assert!(*times <= 1, "{times} results of {id} were accepted in its life {life}");
        }
    }

    /// Everybody finishes what there is: then each job has ended, once.
    async fn finish(&mut self) {
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
                if scene.complete(&claim).await == Settled::Accepted {
                    *self.accepted.entry((claim.id.clone(), claim.life.clone())).or_default() += 1;
                }
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

#[test]
fn whatever_happens_in_whatever_order_each_job_ends_once() {
    let steps = vec((what(), any::<u8>(), any::<u8>()), 1..60);
    hold(16, &steps, async |scene: &Scene, steps| {
        let mut world = World {
            scene,
            believed: Default::default(),
            jobs: Vec::new(),
            foreign: BTreeSet::new(),
            accepted: BTreeMap::new(),
            lives: 0,
            tokens: 0,
        };
        for (n, (what, a, b)) in steps.into_iter().enumerate() {
            world.step(what, a, b).await;
            world.in_order(&world.foreign, &format!("after step {n}, {what:?}")).await;
        }
        world.finish().await;
    });
}
