//! GPU memory that runs out: freed and tried once more, handed on, offered less.

use super::super::super::support::until;
use super::super::picture;
use super::{Site, worker};
use serde_json::json;
use stand_ins::comfyui::{Options, OutOfMemory, Release, StandIn};

#[tokio::test]
async fn memory_that_can_be_freed_costs_a_second_run_and_nothing_else() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let site = Site::with(Options { release, ..Options::default() }, &[]).await;
        site.engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::UntilFreed);
        let id = site.queue.submit(picture()).await;
        site.ends(&id, "completed", "1", "0", 2).await;
        assert!(site.record("w1").await.get("classes_left_out").is_none());
    }
}

const CARD: [(&str, &str); 3] = [("GPU_COUNT", "1"), ("GPU_MEMORY_GB", "24"), ("HEARTBEAT_INTERVAL_SECONDS", "0.2")];

#[tokio::test]
async fn a_job_that_states_its_memory_goes_to_another_worker_and_this_one_offers_less() {
    let site = Site::new(&CARD).await;
    site.engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::Always);
    // The other one is there, but takes nothing yet.
    let _: u64 = site.server.run(&["HSET", "worker:heir:control", "state", "paused"]).await;
    let sound = StandIn::start(Options::default()).await.unwrap();
    let heir = worker(&site.server, "heir", &sound, &CARD).await;
    until("the heir pauses", || async { (site.server.hget("worker:heir", "status").await? == "paused").then_some(()) })
        .await;
    let mut job = picture();
    job["requirements"] = json!({"hardware": {"gpu_memory_gb": 16}});
    let id = site.queue.submit(job).await;
    until("less is offered", || async { (site.record("w1").await["hardware"]["gpu_memory_gb"] == 15).then_some(()) })
        .await;
    let waiting = site.queue.reaches(&id, "pending").await;
    assert_eq!((waiting["retry_count"].as_str(), waiting["handed_on"].as_str()), ("0", "1"), "{}", heir.log());
    assert_eq!(waiting["failure_reason"], "gpu_memory_full");
    let _: u64 = site.server.run(&["HSET", "worker:heir:control", "state", "running"]).await;
    let job = site.ends(&id, "completed", "2", "0", 2).await;
    assert_eq!((job["worker_id"].as_str(), sound.executions().len()), ("heir", 1));
    // Smaller jobs are still welcome here.
    site.engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::Never);
    let _: u64 = site.server.run(&["HSET", "worker:heir:control", "state", "paused"]).await;
    until("the heir pauses", || async { (site.server.hget("worker:heir", "status").await? == "paused").then_some(()) })
        .await;
    let mut small = picture();
    small["requirements"] = json!({"hardware": {"gpu_memory_gb": 8}});
    let small = site.queue.submit(small).await;
    assert_eq!(site.queue.reaches(&small, "completed").await["worker_id"], "w1");
}

#[tokio::test]
async fn a_job_that_states_no_memory_goes_to_a_larger_gpu_and_neither_back_nor_to_one_that_is_no_larger() {
    let of = |gb| [("GPU_COUNT", "1"), ("GPU_MEMORY_GB", gb), ("HEARTBEAT_INTERVAL_SECONDS", "0.2")];
    let site = Site::new(&of("12")).await;
    let [alike, larger] =
        [StandIn::start(Options::default()).await.unwrap(), StandIn::start(Options::default()).await.unwrap()];
    for engine in [&site.engine, &alike] {
        engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::Always);
    }
    for name in ["alike", "larger"] {
        let _: u64 = site.server.run(&["HSET", &format!("worker:{name}:control"), "state", "paused"]).await;
    }
    let _alike = worker(&site.server, "alike", &alike, &of("12")).await;
    let _larger = worker(&site.server, "larger", &larger, &of("48")).await;
    let paused =
        async |name: &str| site.server.hget(&format!("worker:{name}"), "status").await.as_deref() == Some("paused");
    until("both pause", || async { (paused("alike").await && paused("larger").await).then_some(()) }).await;
    let id = site.queue.submit(picture()).await;
    let waiting = until("w1 hands it on", || async {
        let job = site.queue.job(&id).await;
        (job["status"] == "pending" && job.get("handed_on").is_some_and(|count| count == "1")).then_some(job)
    })
    .await;
    let [whom @ .., till] = &waiting["avoid"].split(' ').collect::<Vec<_>>()[..] else { panic!("{waiting:?}") };
    let (seconds, _): (u64, u64) = site.server.run(&["TIME"]).await;
    assert_eq!(whom, ["w1", "alike"]);
    assert!(
        till.parse::<u64>().unwrap() / 1000 > seconds + 200,
        "for minutes, not until its class is tried again here"
    );
    for name in ["alike", "larger"] {
        let _: u64 = site.server.run(&["HSET", &format!("worker:{name}:control"), "state", "running"]).await;
    }
    let job = site.ends(&id, "completed", "2", "0", 2).await;
    assert_eq!((job["worker_id"].as_str(), alike.executions().len()), ("larger", 0));
}

#[tokio::test]
async fn with_nobody_else_to_do_it_a_job_that_needs_too_much_is_charged_and_its_class_left_out() {
    let site = Site::new(&[]).await;
    site.engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::Always);
    let mut job = picture();
    job["max_retries"] = 1.into();
    let id = site.queue.submit(job).await;
    let ended = site.ends(&id, "failed", "1", "1", 2).await;
    assert_eq!(ended["failure_reason"], "gpu_memory_full");
    until("the class is left out", || async {
        (site.record("w1").await["classes_left_out"] == json!([ended["class"]])).then_some(())
    })
    .await;
    // Jobs of another class are taken, those of this one wait.
    site.engine.quirks(|quirks| quirks.out_of_memory = OutOfMemory::Never);
    let alike = site.queue.submit(picture()).await;
    let mut other = picture();
    other["requirements"] = json!({"timeout_minutes": 5});
    let other = site.queue.submit(other).await;
    site.queue.reaches(&other, "completed").await;
    assert_eq!(site.queue.field(&alike, "status").await, "pending");
}
