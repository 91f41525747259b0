//! The checker of recorded histories, checked: real scripts with one rule taken out, each caught as what it is.
//! In: a table of cuts. Out: a verdict a row; the scripts as they are pass.

use super::broken::{call_with, lua};
use super::scene::{LEASE, Scene, class_of, completion, job};
use crate::storm::tool::record::{Recorder, Summary, Wrong, check};
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::outcome::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// What is done with the broken scripts.
#[derive(Clone, Copy)]
enum Drive {
    /// Claimed, started, completed.
    Life,
    /// Two claims, one after the other.
    TwoClaims,
    /// The same, of two jobs in one class.
    TwoJobs,
    /// Whoever lost the job to another says this.
    Loser(&'static str),
    /// The holder says this, with a job that it holds in order.
    Holder(&'static str),
    /// The holder says this once more behind the end.
    Again(&'static str),
    /// A stranger takes the job over.
    Stranger,
    /// A tick, another claim behind it, and a tick when jobs are old.
    Ticks,
}

/// What was taken out: script, text, what stands there instead.
type Cut = (&'static str, &'static str, &'static str);

const NOT_MINE: &str = "if not mine(job, token, attempt, life) then return { 'lost', job.status } end\n";
const BLIND_TO_ENDS: Cut =
    ("prelude", "local function ended(job)\n", "local function ended(job)\n  if true then return nil end\n");
const HELD_IS_TRUE: Cut = (
    "prelude",
    "local function held(job, token)\n",
    "local function held(job, token)\n  if true then return true end\n",
);
const ANY_CLAIM_OF_THE_CLASS: Cut = (
    "claim",
    "    if job and job.status == 'pending' and job.class == class and job.life == job.created_at and not ended(job)\n      and redis.call('ZSCORE', PENDING, id) then",
    "    if job then",
);

const TABLE: &[(&str, &[Cut], Drive, &[Wrong])] = &[
    ("as they are: a life", &[], Drive::Life, &[]),
    ("as they are: two claims", &[], Drive::TwoClaims, &[]),
    ("as they are: two jobs", &[], Drive::TwoJobs, &[]),
    ("as they are: a loser completes", &[], Drive::Loser("complete"), &[]),
    ("as they are: a loser fails", &[], Drive::Loser("fail"), &[]),
    ("as they are: a loser renews", &[], Drive::Loser("renew"), &[]),
    ("as they are: a holder releases", &[], Drive::Holder("release"), &[]),
    ("as they are: a holder fails", &[], Drive::Holder("fail"), &[]),
    ("as they are: a holder is cancelled", &[], Drive::Holder("cancel"), &[]),
    ("as they are: completed twice", &[], Drive::Again("complete"), &[]),
    ("as they are: a stranger", &[], Drive::Stranger, &[]),
    ("as they are: ticks", &[], Drive::Ticks, &[]),
    (
        "complete does not look at the token",
        &[("complete", NOT_MINE, "")],
        Drive::Loser("complete"),
        &[Wrong::AcceptedFromLoser, Wrong::IndexLeft],
    ),
    (
        "complete does not look at the end",
        &[BLIND_TO_ENDS, ("complete", NOT_MINE, "")],
        Drive::Again("complete"),
        &[Wrong::EndedTwice, Wrong::AcceptedTwice],
    ),
    (
        "an end is not recorded",
        &[("prelude", "'final', state .. ' ' .. token .. ' ' .. job.created_at,\n    ", "")],
        Drive::Life,
        &[Wrong::EndUntold],
    ),
    (
        "an end is not told",
        &[("prelude", "  event(job, LAST_EVENT[state], extra, true)\n", "")],
        Drive::Life,
        &[Wrong::EndUntold],
    ),
    (
        "an end is told twice",
        &[(
            "prelude",
            "  event(job, LAST_EVENT[state], extra, true)\n",
            "  event(job, LAST_EVENT[state], extra, true)\n  event(job, LAST_EVENT[state], extra, true)\n",
        )],
        Drive::Life,
        &[Wrong::EndedTwice],
    ),
    (
        "leaving keeps the lease",
        &[("prelude", "  redis.call('ZREM', LEASES, id)\n  leave_class", "  leave_class")],
        Drive::Life,
        &[Wrong::LeaseLeft],
    ),
    (
        "leaving keeps the holder's entry",
        &[(
            "prelude",
            "  if job.worker_id and job.worker_id ~= '' then redis.call('HDEL', active_key(job.worker_id), id) end\nend",
            "end",
        )],
        Drive::Life,
        &[Wrong::IndexLeft],
    ),
    (
        "leaving keeps the class",
        &[("prelude", "  leave_class(id, job.class)\n  if job.worker_id", "  if job.worker_id")],
        Drive::Life,
        &[Wrong::IndexLeft],
    ),
    (
        "leaving keeps the head",
        &[(
            "prelude",
            "redis.call('ZREM', class_key(class), id) == 1 then update_head(class) end",
            "redis.call('ZREM', class_key(class), id) == 1 then return end",
        )],
        Drive::TwoJobs,
        &[Wrong::IndexMissing],
    ),
    ("claim leaves the job where it waited", &[("claim", "  leave(id, job)\n", "")], Drive::Life, &[Wrong::IndexLeft]),
    (
        "claim gives no lease",
        &[("claim", "  set_lease(id, worker, token, job, lease)\n", "")],
        Drive::Life,
        &[Wrong::NoLease],
    ),
    (
        "claim gives no lease, and an entry",
        &[("prelude", "  redis.call('ZADD', LEASES, int(NOW + lease), id)\n", "")],
        Drive::Life,
        &[Wrong::NoLease],
    ),
    (
        "claim ignores that somebody has it",
        &[("claim", "  leave(id, job)\n", ""), ANY_CLAIM_OF_THE_CLASS],
        Drive::TwoClaims,
        &[Wrong::IndexLeft, Wrong::TwoLive],
    ),
    (
        "renew does not look at the claim",
        &[("renew", "not mine(job, token, attempt, life)", "false")],
        Drive::Loser("renew"),
        &[Wrong::TwoLive],
    ),
    (
        "renew takes everybody for the holder",
        &[HELD_IS_TRUE],
        Drive::Loser("renew"),
        &[Wrong::WrittenByLoser, Wrong::IndexLeft],
    ),
    ("start takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("start"), &[Wrong::WrittenByLoser]),
    ("progress takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("progress"), &[Wrong::WrittenByLoser]),
    ("fail takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("fail"), &[Wrong::TakenAway]),
    ("release takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("release"), &[Wrong::TakenAway]),
    ("confirm takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("confirm"), &[Wrong::WrittenByLoser]),
    (
        "adopt does not look at the worker",
        &[("adopt", "worker_of(old) ~= worker_of(new) or ", "")],
        Drive::Stranger,
        &[Wrong::TakenAway, Wrong::LeaseLeft, Wrong::IndexLeft],
    ),
    (
        "cancel ends what a live token holds",
        &[(
            "cancel",
            "if busy and job.claim and held(job, job.claim) and redis.call('ZSCORE', LEASES, id) then",
            "if false then",
        )],
        Drive::Holder("cancel"),
        &[Wrong::TakenAway],
    ),
    (
        "release puts the job nowhere",
        &[("release", "enqueue(id, job)\n", "")],
        Drive::Holder("release"),
        &[Wrong::IndexMissing],
    ),
    (
        "release does not put it into its class",
        &[("prelude", "    redis.call('ZADD', class_key(job.class), job.order, id)\n", "")],
        Drive::Holder("release"),
        &[Wrong::IndexMissing],
    ),
    (
        "fail puts the job nowhere",
        &[("fail", "redis.call('ZADD', DELAYED, int(due), id)\n", "")],
        Drive::Holder("fail"),
        &[Wrong::IndexMissing],
    ),
    ("progress is written behind the end", &[HELD_IS_TRUE], Drive::Again("progress"), &[Wrong::WrittenAfterEnd]),
    (
        "tick reaps a live lease",
        &[(
            "tick",
            "redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(NOW),",
            "redis.call('ZRANGEBYSCORE', LEASES, '-inf', '+inf',",
        )],
        Drive::Ticks,
        &[Wrong::TakenAway, Wrong::TwoLive],
    ),
    (
        "tick deletes what has not ended",
        &[("tick", "local purged = 0\n", "local purged = 0\nredis.call('DEL', job_key('a'))\n")],
        Drive::Ticks,
        &[Wrong::Gone, Wrong::LeaseLeft],
    ),
];

struct Stand<'a> {
    scene: &'a Scene,
    cuts: &'a [Cut],
}

impl Stand<'_> {
    /// The script by this name, broken.
    fn text(&self, name: &str) -> String {
        let cuts = self.cuts.iter().filter(|(of, ..)| *of == name);
        cuts.fold(lua(name).to_owned(), |text, (_, part, instead)| {
            assert_eq!(text.matches(part).count(), 1, "{name} has changed: {part:?} is to be found once");
            text.replace(part, instead)
        })
    }

    async fn call(&self, name: &str, words: &[&str]) -> Vec<String> {
        call_with(self.scene, &self.text("prelude"), &self.text(name), words).await
    }

    async fn claim(&self, token: &str) {
        let worker = token.split('|').next().unwrap();
        let (lease, class) = (LEASE.to_string(), class_of("simulation").id().to_string());
        self.call("claim", &[token, worker, &lease, "", "1", &class]).await;
    }

    async fn say(&self, what: &str, claim: &Claim) {
        let (id, token, attempt, lease) = (&*claim.id, &*claim.token, claim.attempt.to_string(), LEASE.to_string());
        let result = completion();
        let mut words = vec![id, token];
        match what {
            "complete" => words.extend([&*attempt, &claim.life, &result.result, &result.reference_result, "", ""]),
            "fail" => {
                words.extend(["retry", "service_error", "down", "m", "1000", "0.5", "0", "60000", "16"]);
                words.extend([""; 9]);
            }
            "release" => words.extend(["0", "x"]),
            "renew" => words = vec![&lease, id, token, &attempt, &claim.life],
            "start" => words.push("engine"),
            "progress" => words.extend(["10", "m", "", "", ""]),
            "confirm" => {}
            "cancel" => words = vec![id, "x"],
            other => panic!("there is no {other}"),
        }
        self.call(what, &words).await;
    }

    async fn run(&self, drive: Drive) {
        let scene = self.scene;
        match drive {
            Drive::Life => {
                scene.submit("a").await;
                self.claim("w1|t").await;
                let claim = self.claimed("w1|t").await;
                self.say("start", &claim).await;
                self.say("complete", &claim).await;
            }
            Drive::TwoClaims => {
                scene.submit("a").await;
                self.claim("w1|t").await;
                self.claim("w2|t").await;
            }
            Drive::TwoJobs => {
                for (id, time) in [("a", 1000), ("b", 2000)] {
                    let mut job = job(id, "simulation");
                    job.order_time_ms = Some(time);
                    scene.submit_as(job).await;
                }
                self.claim("w1|t").await;
            }
            Drive::Loser(what) => {
                let first = scene.held("a", "w1").await;
                scene.stall("a").await;
                scene.claim("w2").await.unwrap();
                self.say(what, &first).await;
            }
            Drive::Holder(what) => {
                let claim = scene.held("a", "w1").await;
                self.say(what, &claim).await;
            }
            Drive::Again(what) => {
                let claim = scene.held("a", "w1").await;
                scene.complete(&claim).await;
                self.say(what, &claim).await;
            }
            Drive::Stranger => {
                let claim = scene.held("a", "w1").await;
                self.call("adopt", &["a", &claim.token, "w2|t", &LEASE.to_string()]).await;
            }
            Drive::Ticks => {
                scene.held("a", "w1").await;
                scene.tick().await;
                self.call("tick", &[&LEASE.to_string(), "3"]).await;
                scene.claim("w2").await;
            }
        }
    }

    async fn claimed(&self, token: &str) -> Claim {
        let life = self.scene.field("a", "created_at").await.unwrap();
        Claim { id: "a".to_owned(), token: token.to_owned(), attempt: 1, life }
    }
}

fn kinds(summary: &Summary) -> BTreeSet<Wrong> {
    summary.breaches.iter().map(|breach| breach.wrong).collect()
}

#[tokio::test]
async fn scripts_with_one_rule_taken_out_are_each_caught_as_what_they_are() {
    let scene = Scene::start().await;
    let mut missed = Vec::new();
    for (name, cuts, drive, expected) in TABLE {
        let _: String = scene.run(&["FLUSHALL"]).await;
        let recorder = Recorder::start(&scene.server.url, "").await;
        Stand { scene: &scene, cuts }.run(*drive).await;
        let summary = check(&recorder.finish().await);
        if kinds(&summary) != expected.iter().copied().collect() {
            missed.push(format!("{name}: expected {expected:?}, found {:#?}", summary.breaches));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test]
async fn a_recorded_history_counts_each_way_in_which_a_token_comes_and_goes() {
    let scene = Scene::start().await;
    let recorder = Recorder::start(&scene.server.url, "").await;
    for id in ["a", "b", "c", "d"] {
        scene.submit(id).await;
        let claim = scene.claim("w1").await.unwrap();
        scene.space.release(&mut scene.con(), &claim, false, "quoted \"\\\n\u{7}é").await.unwrap();
    }
    let mut claims = Vec::new();
    for worker in ["w1", "w2", "w1", "w3"] {
        claims.push(scene.claim(worker).await.unwrap());
    }
    let [a, b, c, d] = &claims[..] else { panic!("{claims:?}") };
    scene.complete(a).await;
    scene.stall(&b.id).await;
    scene.renew(b).await;
    let lease = LEASE;
    scene.space.adopt(&mut scene.con(), &c.id, &c.token, "w1|new", lease).await.unwrap();
    scene.fail(d, Verdict::Never).await;
    let summary = check(&recorder.finish().await);
    assert!(summary.breaches.is_empty(), "{:#?}", summary.breaches);
    let counts =
        [summary.granted, summary.handed_back, summary.taken_up, summary.handed_over, summary.reaped, summary.gaps];
    assert_eq!(counts, [8, 4, 1, 1, 1, 0]);
    assert_eq!(summary.ended, BTreeMap::from([("completed".to_owned(), 1), ("failed".to_owned(), 1)]));
}

#[tokio::test]
async fn a_recorder_that_loses_its_connection_goes_on_behind_a_snapshot() {
    let scene = Scene::start().await;
    let recorder = Recorder::start(&scene.server.url, "").await;
    let claim = scene.held("a", "w1").await;
    let before = recorder.pictures();
    let _: u64 = scene.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    scene.submit("b").await;
    recorder.taken(before).await;
    scene.complete(&claim).await;
    let summary = check(&recorder.finish().await);
    assert!(summary.breaches.is_empty(), "{:#?}", summary.breaches);
    assert_eq!((summary.gaps, summary.ended["completed"]), (1, 1));
}

#[tokio::test]
async fn an_end_that_is_gone_behind_a_gap_is_noticed() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let recorder = Recorder::start(&scene.server.url, "").await;
    scene.complete(&claim).await;
    // A step is known to be whole when the next command is seen.
    let _: String = scene.run(&["PING"]).await;
    let before = recorder.pictures();
    kill_and_forget(&scene).await;
    recorder.taken(before).await;
    let entries = recorder.finish().await;
    let summary = check(&entries);
    assert!(kinds(&summary).contains(&Wrong::EndLost), "{:#?}", summary.breaches);
}

/// Ends every other connection and undoes the end of the job in one go.
async fn kill_and_forget(scene: &Scene) {
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).ignore();
    pipe.cmd("HDEL").arg("job:a").arg("final").ignore();
    pipe.cmd("HSET").arg("job:a").arg("status").arg("in_progress").ignore();
    pipe.query_async::<()>(&mut scene.con()).await.unwrap();
}
