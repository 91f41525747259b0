//! Faults while the agent works: which GPU is fenced, what becomes of its job, what people read.

use super::bench::{Bench, Driver};
use serde_json::json;

#[tokio::test]
async fn a_card_with_a_fatal_xid_gives_its_job_back_and_the_other_card_works_on() {
    let bench = Bench::ready(&[]).await;
    let [well, hit] = bench.both_at_work().await;
    bench.driver.reports("1 79");
    let fence = bench.fenced("m-1").await;
    assert_eq!(fence["reason"], "Xid 79: fallen off the bus");
    assert!(fence["remedy"].as_str().unwrap().starts_with("reboot") && fence["since"].is_string(), "{fence}");
    let back = bench.queue.reaches(&hit, "pending").await;
    assert_eq!((back["retry_count"].as_str(), back["worker_id"].as_str()), ("0", ""));
    let released = bench.queue.events(&hit).await;
    let released = released.iter().find(|event| event.kind() == "released").unwrap();
    assert!(released.get("message").unwrap().contains("out of order: Xid 79"), "{released:?}");
    assert_eq!(bench.queue.field(&well, "worker_id").await, "m-0");
    assert_eq!(bench.field("m-0", "status").await, "busy");
    let table = bench.workers().await;
    assert!(table.contains("GPU 1 fenced") && table.contains("-> reboot"), "{table}");

    bench.go_on();
    for id in [well, hit] {
        let job = bench.queue.reaches(&id, "completed").await;
        assert_eq!((job["worker_id"].as_str(), job["retry_count"].as_str()), ("m-0", "0"));
        bench.queue.ended_once(&id).await;
    }
    assert_eq!(bench.engines[0].executions().len(), 2, "the first job ran once");
    // It hung between two steps, as engines on a lost card do; the job went back all the same.
    assert_eq!(bench.engines[1].executions()[0].outcome, "interrupted", "nor does it work for nobody once it goes on");
    assert_eq!(bench.agent.log().matches("GPU fenced").count(), 1, "{}", bench.agent.log());
}

#[tokio::test]
async fn a_card_too_far_gone_to_tell_its_name_is_found_by_looking() {
    // The next look by the clock comes in ten seconds: the event is heard before the loss is seen.
    let bench = Bench::ready(&[("HEARTBEAT_INTERVAL_SECONDS", "30")]).await;
    bench.driver.becomes("one-of-two-lost");
    bench.driver.reports("1 119");
    bench.agent.logged("Xid 119: ").await;
    assert!(bench.fenced("m-1").await["reason"].as_str().unwrap().starts_with("Xid 119"));
    bench.offers("m-0", json!(["comfyui"])).await;
}

#[tokio::test]
async fn a_programs_own_fault_is_told_and_fences_nothing() {
    let bench = Bench::ready(&[]).await;
    let ids = bench.both_at_work().await;
    for number in ["31", "13", "43", "45"] {
        bench.driver.reports(&format!("1 {number}"));
        bench.agent.logged(&format!("Xid {number}: ")).await;
    }
    bench.driver.reports("1 12345");
    bench.agent.logged("Xid 12345, of which nothing is known").await;
    bench.go_on();
    for id in ids {
        assert_eq!(bench.queue.reaches(&id, "completed").await["attempt"], "1");
    }
    assert!(!bench.agent.log().contains("GPU fenced"), "{}", bench.agent.log());
}

#[tokio::test]
async fn memory_errors_are_seen_by_counting_and_by_being_told() {
    let driver = Driver::new("two");
    driver.counts(1, 3);
    let bench = Bench::over(driver, &[]).await;
    bench.both_offer().await;
    // What was counted before the agent came is no news.
    let hit = bench.endless_on_both().await;
    bench.driver.counts(1, 4);
    let fence = bench.fenced("m-1").await;
    assert_eq!(fence["reason"], "uncorrectable memory error (4 since the driver was loaded)");
    bench.queue.reaches(&hit, "pending").await;
    bench.driver.reports("0 ecc");
    assert_eq!(bench.fenced("m-0").await["reason"], "uncorrectable memory error");
}

#[tokio::test]
async fn an_engine_that_blames_the_gpu_has_it_looked_at_before_the_attempt_counts() {
    // The next look by the clock comes in ten seconds.
    let driver = Driver::new("two");
    driver.counts(0, 0);
    let bench = Bench::over(driver, &[("HEARTBEAT_INTERVAL_SECONDS", "30"), ("RETRY_BACKOFF_MS", "60000")]).await;
    bench.both_offer().await;
    let mut job = super::super::agent::picture();
    let graph = &mut job["payload"]["workflow"];
    graph["90"] = json!({"class_type": "LabFail", "inputs": {"image": ["8", 0], "kind": "CUDA", "salt": 1}});
    graph["9"]["inputs"]["images"] = json!(["90", 0]);
    let id = bench.queue.submit(job.clone()).await;
    let worker = bench.queue.reaches(&id, "in_progress").await["worker_id"].clone();
    let card = if worker == "m-0" { 0 } else { 1 };
    bench.driver.counts(card, 7);
    bench.engines[card as usize].step_by_hand(false);
    let fence = bench.fenced(&worker).await;
    assert!(fence["reason"].as_str().unwrap().contains("(7 since"), "{fence}");
    let kinds = bench.queue.kinds(&id).await;
    assert!(kinds.contains(&"released".to_owned()) && !kinds.contains(&"retry_scheduled".to_owned()), "{kinds:?}");
}

#[tokio::test]
async fn an_engine_that_needs_no_gpu_works_on_beside_a_fenced_one() {
    let bench = Bench::new("two", &[("SERVICES", "comfyui,simulation")]).await;
    bench.offers("m-1", json!(["comfyui", "simulation"])).await;
    bench.driver.reports("0 119");
    bench.driver.becomes("one-of-two-lost");
    for worker in ["m-0", "m-1"] {
        bench.offers(worker, json!(["simulation"])).await;
        assert!(bench.json(worker, "gpu").await["fence"].is_object());
    }
    let waiting = bench.queue.submit(super::super::agent::picture()).await;
    let done = bench.queue.submit(super::super::agent::quick()).await;
    bench.queue.reaches(&done, "completed").await;
    assert_eq!(bench.queue.field(&waiting, "status").await, "pending");
    // What asks for a GPU does not go where it cannot work, whatever the service.
    let mut big = super::super::agent::quick();
    big["requirements"] = json!({"hardware": {"gpu_memory_gb": 8}});
    let big = bench.queue.submit(big).await;
    let after = bench.queue.submit(super::super::agent::quick()).await;
    bench.queue.reaches(&after, "completed").await;
    assert_eq!(bench.queue.field(&big, "status").await, "pending");
}

#[tokio::test]
async fn all_instances_of_a_divided_card_go_with_it() {
    let bench = Bench::new("mig", &[]).await;
    bench.both_offer().await;
    bench.driver.reports("0 95");
    for worker in ["m-0", "m-1"] {
        assert!(bench.fenced(worker).await["reason"].as_str().unwrap().starts_with("Xid 95"));
    }
}
