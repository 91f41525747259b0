//! Failing: another attempt later, somewhere else, uncharged, or the end.

use super::invariants::check;
use super::scene::{Scene, failure, job, with};
use connectors::failure::{Failure, FailureType, Reason};
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::operate::Cancelled;
use gpu_worker::protocol::outcome::{
    ASKED_PAUSE_MAX_MS, BACKOFF_MAX_MS, FailedAttempt, HAND_ONS_MAX, Settled, Verdict,
};
use gpu_worker::runner::retry::verdict;
use serde_json::json;

async fn fail_as(scene: &Scene, claim: &Claim, failed: &FailedAttempt) -> Settled {
    scene.space.fail(&mut scene.con(), claim, failed).await.unwrap()
}

/// Lets the pause pass and claims again, by a worker that is not avoided.
async fn next_attempt(scene: &Scene, id: &str, n: u64) -> Claim {
    scene.due(id).await;
    scene.claim(&format!("next{n}")).await.expect("another attempt")
}

#[tokio::test]
async fn a_failed_attempt_waits_for_its_turn_and_says_so() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let before = scene.now_ms().await;
    let Settled::Retry { due_ms } = scene.fail(&claim, Verdict::Retry).await else { panic!("no retry") };
    // The first pause is 1000 ms, and a jitter of one half puts the attempt at three quarters of it.
    assert!((before + 750..=scene.now_ms().await + 750).contains(&due_ms));
    assert_eq!(scene.score("jobs:delayed", "a").await, Some(due_ms as f64));
    let hash = scene.hash("a").await;
    let seen = |name: &str| hash.get(name).map(String::as_str);
    assert_eq!((seen("status"), seen("worker_id"), seen("claim")), (Some("pending"), Some(""), None));
    assert_eq!((seen("done"), seen("retry_count")), (Some(claim.token.as_str()), Some("1")));
    assert_eq!((seen("failure_type"), seen("failure_reason")), (Some("service_error"), Some("service_down")));
    assert_eq!((seen("error"), seen("last_failed_worker")), (Some("the engine is down"), Some("w1")));
    let event = scene.last_event("a").await;
    assert_eq!((&event["type"], &event["retry_count"]), (&"retry_scheduled".into(), &1.into()));
    assert_eq!(event["due"].as_f64(), Some(due_ms as f64 / 1000.0));
    assert_eq!(event["worker_id"], "w1");
    check(&scene).await;
}

#[tokio::test]
async fn failing_again_with_the_same_token_charges_nothing() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Retry).await;
    let before = scene.hash("a").await;
    assert_eq!(scene.fail(&claim, Verdict::Retry).await, Settled::Already);
    assert_eq!(scene.hash("a").await, before);
    let next = next_attempt(&scene, "a", 1).await;
    assert_eq!(scene.fail(&claim, Verdict::Retry).await, Settled::Lost { state: "assigned".to_owned() });
    assert_eq!(scene.fail(&next, Verdict::Never).await, Settled::Failed);
    assert_eq!(scene.fail(&next, Verdict::Never).await, Settled::Already);
    assert_eq!(scene.fail(&claim, Verdict::Never).await, Settled::Lost { state: "failed".to_owned() });
    check(&scene).await;
}

#[tokio::test]
async fn a_permanent_failure_ends_the_job_at_its_first_attempt() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    assert_eq!(scene.fail(&claim, Verdict::Never).await, Settled::Failed);
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["error"].as_str()), ("failed", "the engine is down"));
    assert!(hash.contains_key("failed_at"));
    let retention = scene.score("jobs:dead", "a").await.unwrap() - scene.now_ms().await as f64;
    assert!((604_000_000.0..=604_800_000.0).contains(&retention));
    assert_eq!(scene.last_event("a").await["failure_reason"], "service_down");
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "failure"]);
    check(&scene).await;
}

#[tokio::test]
async fn max_retries_counts_attempts_and_zero_is_one() {
    let scene = Scene::start().await;
    for (max_retries, attempts) in [("3", 3), ("1", 1), ("0", 1), ("-4", 1), ("2", 2), ("", 3), ("many", 3), ("nan", 3)]
    {
        let id = format!("j{}", max_retries.replace('-', "minus"));
        scene.submit_as(with(job(&id, "simulation"), &[("max_retries", max_retries)])).await;
        let mut claim = scene.claim("w1").await.unwrap();
        for n in 1..attempts {
            assert!(matches!(scene.fail(&claim, Verdict::Retry).await, Settled::Retry { .. }), "{max_retries:?}, {n}");
            claim = next_attempt(&scene, &id, n).await;
        }
        assert_eq!(scene.fail(&claim, Verdict::Retry).await, Settled::Failed, "{max_retries:?}");
        assert_eq!(scene.field(&id, "retry_count").await, Some(attempts.to_string()));
        check(&scene).await;
    }
}

#[tokio::test]
async fn the_pause_doubles_lies_in_its_upper_half_and_is_capped() {
    let scene = Scene::start().await;
    for (id, jitter, share) in [("low", 0.0, 0.5), ("high", 1.0, 1.0)] {
        scene.submit_as(with(job(id, "simulation"), &[("max_retries", "30")])).await;
        let mut claim = scene.claim("first").await.unwrap();
        for n in 1..12 {
            let failed = FailedAttempt { jitter, backoff_ms: 1000, ..failure(Verdict::Retry) };
            let before = scene.now_ms().await;
            let Settled::Retry { due_ms } = fail_as(&scene, &claim, &failed).await else { panic!("no retry") };
            let pause = ((1000 << (n - 1)).min(BACKOFF_MAX_MS) as f64 * share) as u64;
            assert!((before + pause..=scene.now_ms().await + pause).contains(&due_ms), "{id}, attempt {n}");
            claim = next_attempt(&scene, id, n).await;
        }
        scene.complete(&claim).await;
    }
}

#[tokio::test]
async fn a_pause_that_the_engine_asks_for_is_kept_up_to_an_hour_where_another_machine_would_not_help() {
    let scene = Scene::start().await;
    let rows = [
        ("short", Verdict::Retry, 20_000, 20_000),
        ("long", Verdict::Retry, 600_000, 600_000),
        ("endless", Verdict::Retry, 86_400_000, ASKED_PAUSE_MAX_MS),
        ("elsewhere", Verdict::Elsewhere, 600_000, BACKOFF_MAX_MS),
        ("handed-on", Verdict::Uncharged, 600_000, BACKOFF_MAX_MS),
    ];
    for (id, verdict, asked, kept) in rows {
        let claim = scene.held(id, "w1").await;
        let failed = FailedAttempt { asked_pause_ms: asked, ..failure(verdict) };
        let before = scene.now_ms().await;
        let Settled::Retry { due_ms } = fail_as(&scene, &claim, &failed).await else { panic!("no retry") };
        assert!((before + kept..=scene.now_ms().await + kept).contains(&due_ms), "{id}");
    }
}

#[tokio::test]
async fn a_host_s_fault_is_not_charged_but_only_so_often() {
    let scene = Scene::start().await;
    scene.submit_as(with(job("a", "simulation"), &[("max_retries", "2")])).await;
    let mut claim = scene.claim("w1").await.unwrap();
    for n in 1..=HAND_ONS_MAX {
        assert!(matches!(scene.fail(&claim, Verdict::Uncharged).await, Settled::Retry { .. }), "hand-on {n}");
        assert_eq!(scene.field("a", "retry_count").await.as_deref(), Some("0"));
        claim = next_attempt(&scene, "a", n).await;
    }
    assert!(matches!(scene.fail(&claim, Verdict::Uncharged).await, Settled::Retry { .. }));
    assert_eq!(scene.field("a", "retry_count").await.as_deref(), Some("1"));
    claim = next_attempt(&scene, "a", 99).await;
    assert_eq!(scene.fail(&claim, Verdict::Uncharged).await, Settled::Failed);
    check(&scene).await;
}

#[tokio::test]
async fn elsewhere_keeps_the_job_off_this_worker_longer_than_a_plain_retry() {
    let scene = Scene::start().await;
    let mut ends = Vec::new();
    for (id, verdict) in [("a", Verdict::Retry), ("b", Verdict::Elsewhere)] {
        let claim = scene.held(id, "w1").await;
        let Settled::Retry { due_ms } = scene.fail(&claim, verdict).await else { panic!("no retry") };
        let avoid = scene.field(id, "avoid").await.unwrap();
        let (worker, till) = avoid.split_once(' ').unwrap();
        assert_eq!(worker, "w1");
        ends.push(till.parse::<u64>().unwrap() - due_ms);
    }
    assert_eq!(ends, [1000, 4 * BACKOFF_MAX_MS]);
}

#[tokio::test]
async fn a_failure_with_a_wanted_cancellation_is_the_cancellation() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(scene.fail(&claim, Verdict::Retry).await, Settled::Cancelled);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    assert_eq!(scene.events("a").await.last().unwrap(), "cancellation");
    check(&scene).await;
    assert_eq!(scene.fail(&claim, Verdict::Retry).await, Settled::Already);
}

#[tokio::test]
async fn a_failure_is_refused_unless_held() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let other = Claim { token: "w2|x".to_owned(), ..claim.clone() };
    assert_eq!(scene.fail(&other, Verdict::Never).await, Settled::Lost { state: "assigned".to_owned() });
    // Unlike a result, the failure of a stalled holder is of no use to anybody.
    scene.stall("a").await;
    assert_eq!(scene.fail(&claim, Verdict::Never).await, Settled::Lost { state: "pending".to_owned() });
    check(&scene).await;
    let gone = Claim { id: "nowhere".to_owned(), ..claim };
    assert_eq!(scene.fail(&gone, Verdict::Never).await, Settled::Lost { state: "gone".to_owned() });
    assert!(scene.hash("nowhere").await.is_empty());
}

#[tokio::test]
async fn a_job_keeps_its_place_through_all_attempts() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.submit("b").await;
    let order = scene.field("a", "order").await;
    scene.fail(&claim, Verdict::Retry).await;
    scene.due("a").await;
    assert_eq!(scene.field("a", "order").await, order);
    assert_eq!(scene.claim("w2").await.unwrap().id, "a");
}

#[tokio::test]
async fn a_job_that_needs_too_much_memory_keeps_off_all_that_had_it_and_those_that_have_no_more() {
    let scene = Scene::start().await;
    let mut claim = scene.held("a", "w1").await;
    for (keep_off, avoids) in [(vec!["w3".to_owned(), "w4".to_owned()], "w1 w3 w4"), (Vec::new(), "w1 w2")] {
        let reason = Reason::GpuMemoryFull.to_string();
        let failed = FailedAttempt { reason, keep_off, ..super::scene::failure(Verdict::Uncharged) };
        let Settled::Retry { due_ms } = fail_as(&scene, &claim, &failed).await else { panic!("no retry") };
        let avoid = scene.field("a", "avoid").await.unwrap();
        assert_eq!(avoid, format!("{avoids} {}", due_ms + 4 * BACKOFF_MAX_MS));
        scene.due("a").await;
        for worker in avoids.split(' ') {
            assert!(scene.claim(worker).await.is_none(), "{worker}");
        }
        claim = scene.claim("w2").await.unwrap_or_else(|| claim.clone());
    }
    assert_eq!(scene.field("a", "refused_by").await.as_deref(), Some("w1 w2"));
    // A claim of the others that passed it over once finds it when its time has come.
    assert_eq!(scene.claim("w3").await.unwrap().id, "a");
    check(&scene).await;
}

#[tokio::test]
async fn who_lacks_what_another_has_shows_the_way_and_it_is_not_counted() {
    let scene = Scene::start().await;
    let mut claim = scene.held("a", "w0").await;
    let keep_off = vec!["poor".to_owned()];
    // More workers than a job is handed on to without charge.
    for n in 0..=HAND_ONS_MAX {
        let reason = Reason::ModelNotFound.to_string();
        let lacks = super::scene::failure(Verdict::Uncharged);
        let lacks = FailedAttempt { reason, keep_off: keep_off.clone(), is_elsewhere: true, ..lacks };
        let Settled::Retry { due_ms } = fail_as(&scene, &claim, &lacks).await else { panic!("no retry") };
        let avoid = scene.field("a", "avoid").await.unwrap();
        assert!(avoid.ends_with(&format!(" w{n} poor {}", due_ms + 4 * BACKOFF_MAX_MS)) || n == 0, "{avoid}");
        scene.due("a").await;
        assert!(scene.claim("poor").await.is_none() && scene.claim(&format!("w{n}")).await.is_none());
        claim = scene.claim(&format!("w{}", n + 1)).await.unwrap();
    }
    let counts = [scene.field("a", "handed_on").await, scene.field("a", "retry_count").await];
    assert_eq!(counts, [Some("0".to_owned()), Some("0".to_owned())]);
    // What is not known to be elsewhere is counted as ever.
    let reason = Reason::ModelNotFound.to_string();
    fail_as(&scene, &claim, &FailedAttempt { reason, ..super::scene::failure(Verdict::Uncharged) }).await;
    assert_eq!(scene.field("a", "handed_on").await.as_deref(), Some("1"));
    check(&scene).await;
}

/// What the table says of each reason, where it leads in Redis: at once to the end, or to another attempt that is charged
/// or not, and keeps off the worker that failed for a pause or for minutes.
#[tokio::test]
async fn every_reason_leads_where_its_row_says_and_is_told_in_event_and_hash() {
    let scene = Scene::start().await;
    let first_attempts = Reason::ALL.iter().flat_map(|reason| [(*reason, false), (*reason, true)]);
    for (n, (reason, of_host)) in first_attempts.enumerate() {
        let failure = if of_host { Failure::of_host(reason, "why") } else { Failure::new(reason, "why") };
        let verdict = verdict(&failure);
        let id = format!("j{n}");
        let claim = scene.held(&id, "w1").await;
        let failed = FailedAttempt {
            verdict,
            kind: failure.kind().to_string(),
            reason: reason.to_string(),
            message: failure.message,
            jitter: 1.0,
            ..super::scene::failure(verdict)
        };
        let settled = fail_as(&scene, &claim, &failed).await;
        let (event, hash) = (scene.last_event(&id).await, scene.hash(&id).await);

        let ends = !of_host
            && [FailureType::GenerationRefusal, FailureType::ValidationError, FailureType::AuthError]
                .contains(&reason.kind());
        let charged = !of_host;
        let seen = (&event["type"], &event["will_retry"], &event["charged"], &event["retry_count"]);
        let kind = if ends { "failure" } else { "retry_scheduled" };
        let count = u8::from(charged);
        assert_eq!(seen, (&json!(kind), &json!(!ends), &json!(charged), &json!(count)), "{reason} {of_host}");
        assert_eq!(
            (&event["failure_type"], &event["failure_reason"]),
            (&json!(reason.kind().as_str()), &json!(reason.as_str()))
        );
        let fields = [&hash["failure_type"], &hash["failure_reason"], &hash["error"], &hash["retry_count"]];
        assert_eq!(fields, [reason.kind().as_str(), reason.as_str(), "why", &count.to_string()]);
        assert_eq!(hash["status"], if ends { "failed" } else { "pending" }, "{reason}");

        match settled {
            Settled::Failed => assert!(ends && !event.as_object().unwrap().contains_key("due"), "{reason}"),
            Settled::Retry { due_ms } => {
                assert_eq!(event["due"].as_f64(), Some(due_ms as f64 / 1000.0), "{reason}");
                let (worker, until) = hash["avoid"].split_once(' ').unwrap();
                let kept_off = until.parse::<u64>().unwrap() - due_ms;
                let elsewhere =
                    charged && (reason.kind() == FailureType::ResourceLimit || reason == Reason::DailyQuotaExceeded);
                let expected = match (elsewhere, reason) {
                    (true, _) => 4 * BACKOFF_MAX_MS,
                    (false, Reason::OutOfMemory | Reason::GpuMemoryFull | Reason::DiskSpaceFull) => 4 * BACKOFF_MAX_MS,
                    // What is lacking here others are asked for first.
                    (false, Reason::ComponentError | Reason::ModelNotFound) if of_host => BACKOFF_MAX_MS,
                    _ => 1000,
                };
                assert_eq!((worker, kept_off), ("w1", expected), "{reason} {of_host}");
                // Not to be due again before the table is through.
                assert_eq!(scene.space.cancel(&mut scene.con(), &id, "seen").await.unwrap(), Cancelled::Now);
            }
            other => panic!("{reason}: {other:?}"),
        }
    }
    check(&scene).await;
}
