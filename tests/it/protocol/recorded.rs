//! The checker of recorded histories, checked: real scripts with one rule taken out, each caught as what it is.
//! In: a table of cuts. Out: a verdict a row; the scripts as they are pass.

mod table;

use super::broken::{call_with, lua};
use super::scene::{LEASE, Scene, class_of, completion, job};
use crate::storm::tool::record::{Recorder, Summary, Wrong, check, line};
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::outcome::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use table::{Cut, Drive, TABLE};

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
                self.call("adopt", &["a", &claim.token, &claim.life, "w2|t", &LEASE.to_string(), "3"]).await;
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
    scene.space.adopt(&mut scene.con(), c, "w1|new", lease, 3).await.unwrap();
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

#[test]
fn a_line_of_monitor_is_read_with_all_that_it_escapes() {
    let line = line::parse(br#"1795344824.662614 [0 lua] "HSET" "job:a" "x" "q\"\n\\z\x01\xc3\xa9]" """#).unwrap();
    assert_eq!((line.at_us, line.lua), (1_795_344_824_662_614, true));
    assert_eq!(line.words, ["HSET", "job:a", "x", "q\"\n\\z\u{1}é]", ""]);
    let other = line::parse(br#"1795344824.666953 [0 127.0.0.1:60078] "hgetall" "a""#).unwrap();
    assert!(!other.lua && other.words.is_empty(), "{other:?}");
    for broken in [&b"+OK"[..], b"1795344824.66 [0 lua] \"HSET\" \"a", b"1 [0 lua] \"HSET\"", b""] {
        assert_eq!(line::parse(broken), None);
    }
}
