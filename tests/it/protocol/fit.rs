//! Properties of the claim: its order, and that it takes what fits and nothing else.

use super::invariants::check;
use super::model::hold;
use super::scene::{Scene, class_of, job, with};
use gpu_worker::protocol::order::{Order, OrderFields, order};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn jobs_of_one_class_are_claimed_by_priority_then_time_then_id_whoever_wrote_them() {
    let priorities = prop_oneof!["0", "1", "50", "51", "1023", "5000", "-3", "7.9", ""];
    let workflow = prop_oneof![4 => Just(String::new()), 1 => "[0-9]{1,3}"];
    let times = 1_767_323_045_000_u64..1_767_323_045_004;
    let jobs = vec((priorities, workflow, times, any::<bool>()), 1..12);
    hold(16, &jobs, async |scene: &Scene, jobs| {
        let mut expected = Vec::new();
        for (n, (priority, workflow, time, ours)) in jobs.iter().enumerate() {
            // Ids that do not rise with time.
            let id = format!("{}-{n}", (n * 7) % 5);
            let created = format!("{:.3}", jiff_text(*time));
            let fields: [(&str, &str); 3] =
                [("priority", priority), ("workflow_priority", workflow), ("created_at", &created)];
            let get = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
            let place = order(&OrderFields::of(get), 0);
            if *ours {
                let mut job = with(job(&id, "simulation"), &fields[..2]);
                (job.priority, job.order_time_ms) = (place.priority(), Some(place.time_ms()));
                scene.submit_as(job).await;
            } else {
                scene.foreign(&id, &fields).await;
            }
            expected.push((place, id));
        }
        scene.sweep().await;
        check(scene).await;
        expected.sort();
        let mut claimed: Vec<(Order, String)> = Vec::new();
        while let Some(claim) = scene.claim("w1").await {
            let place = Order::parse(&scene.field(&claim.id, "order").await.unwrap()).unwrap();
            claimed.push((place, claim.id));
        }
        assert_eq!(claimed, expected);
        assert!(claimed.windows(2).all(|pair| pair[0] < pair[1]), "the order is not strict");
        check(scene).await;
    });
}

/// Seconds with decimals: one of the spellings of `created_at` that are understood.
fn jiff_text(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    service: u8,
    priority: u8,
    /// It failed on the worker lately.
    avoids: bool,
    later: bool,
    /// Another program has cancelled it without telling.
    stale: bool,
}

fn waiting() -> impl Strategy<Value = Waiting> {
    let odds = || prop::bool::weighted(0.2);
    (0..40u8, 0..3u8, odds(), odds(), odds()).prop_map(|(service, priority, avoids, later, stale)| Waiting {
        service,
        priority,
        avoids,
        later,
        stale,
    })
}

#[test]
fn a_claim_takes_the_best_job_that_fits_and_passes_no_other_over() {
    let input = (vec(waiting(), 1..30), vec(0..40u8, 0..40));
    hold(24, &input, async |scene: &Scene, (jobs, served)| {
        let served: BTreeSet<u8> = served.into_iter().collect();
        let names: Vec<String> = served.iter().map(|n| format!("s{n}")).collect();
        // A worker that serves nothing is asked for a service that no job wants.
        let mut services: Vec<&str> = names.iter().map(String::as_str).collect();
        services.push("none");
        let far = scene.now_ms().await + 10_000_000;
        let mut expected = Vec::new();
        for (n, waiting) in jobs.iter().enumerate() {
            let (id, service) = (format!("j{n:02}"), format!("s{}", waiting.service));
            let mut job = job(&id, &service);
            job.priority = u64::from(waiting.priority);
            job.order_time_ms = Some(1000 + n as u64);
            job.due_ms = waiting.later.then_some(far);
            if waiting.avoids {
                job = with(job, &[("avoid", &format!("w1 {far}"))]);
            }
            scene.submit_as(job).await;
            if waiting.stale {
                scene.foreign_cancel(&id).await;
            } else if served.contains(&waiting.service) && !waiting.avoids && !waiting.later {
                let class = class_of(&service).id();
                expected.push((Order::new(u64::from(waiting.priority), 1000 + n as u64), class, id));
            }
        }
        expected.sort();
        let mut claimed = Vec::new();
        while let Some((claim, _)) = scene.claim_job("w1", &services).await {
            claimed.push(claim.id);
        }
        let expected: Vec<String> = expected.into_iter().map(|(_, _, id)| id).collect();
        // More than 8 jobs of one class that avoid the worker may hide what is behind them.
        let hidden = served.iter().any(|service| {
            jobs.iter().filter(|job| job.service == *service && job.avoids && !job.later && !job.stale).count() >= 8
        });
        if !hidden {
            assert_eq!(claimed, expected);
        }
    });
}
