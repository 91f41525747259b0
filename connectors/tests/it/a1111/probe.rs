//! How the server is said to be.
//! In: stand-ins in various states. Out: health with its remedy, models, work at hand.

use super::{connector, connector_with, fox, fox_job, run_on, soon, stand_in, stand_in_with, timing};
use connectors::a1111::{Settings, Timing};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Freed, Health};
use serde_json::json;
use stand_ins::a1111::Options;
use std::time::Duration;

#[tokio::test]
async fn models_are_listed_by_file_and_the_version_is_known_from_the_first_result_on() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let probe = a1111.probe().await;
    assert_eq!((probe.health, probe.version, probe.queue_remaining), (Health::Healthy, None, Some(0)));
    assert_eq!(probe.models["checkpoints"], ["v1-5-pruned-emaonly.safetensors", "sd_xl_base_1.0.safetensors"]);
    assert_eq!(probe.models["loras"], ["lineart.safetensors"]);
    run_on(&a1111, fox()).await.0.unwrap();
    assert_eq!(a1111.probe().await.version.as_deref(), Some("v1.10.1"));
}

#[tokio::test]
async fn a_server_without_any_checkpoint_takes_no_work() {
    let server = stand_in_with(Options { checkpoints: vec![], ..Options::default() }).await;
    let Health::Unhealthy(why) = connector(&server.url()).probe().await.health else { panic!("healthy") };
    assert!(why.contains("models/Stable-diffusion"), "{why}");
    let (ended, _) = run_on(&connector(&server.url()), fox()).await;
    let failure = super::failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (connectors::failure::Reason::ModelNotFound, true));
    assert!(!failure.message.contains("/opt/"), "{failure}");
}

#[tokio::test]
async fn work_at_hand_is_counted_and_leftovers_are_not() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let (ended, _) = run_on(&a1111, super::fox_with(json!({ "init_images": ["AAAA"] }))).await;
    super::failure(ended);
    assert_eq!(a1111.probe().await.queue_remaining, Some(0), "a failed task stays listed as waiting");
    server.step_by_hand(true);
    let (bench, job) = (Bench::new(), fox_job(json!({})));
    let look = async {
        server.starving().await;
        assert!(a1111.probe().await.queue_remaining.is_some_and(|count| count >= 1));
        server.step_by_hand(false);
    };
    soon(async { tokio::join!(a1111.run(&job, &bench.ctx), look) }).await.0.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_remedy() {
    let server = stand_in().await;
    let a1111 = connector_with(&server.url(), Timing { probe: Duration::from_millis(100), ..timing() });
    let why = async || match a1111.probe().await.health {
        Health::Unhealthy(why) => why,
        Health::Healthy => panic!("healthy"),
    };
    server.freeze();
    assert!(why().await.contains("does not answer in time"));
    server.thaw();
    server.kill().await;
    assert!(why().await.contains("nothing answers"));
    for (address, fault) in [("nonsense", "is not a URL"), ("ftp://x", "http://"), ("http://u:p@x", "credentials")] {
        let failure = Settings::at(address).unwrap_err();
        assert!(failure.message.contains(fault) && !failure.message.contains("u:p"), "{failure}");
    }
}

#[tokio::test]
async fn memory_is_freed_and_the_next_job_loads_again() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    run_on(&a1111, fox()).await.0.unwrap();
    assert_eq!(a1111.free_memory().await.unwrap(), Freed::Requested);
    assert_eq!(server.loaded(), None);
    run_on(&a1111, fox()).await.0.unwrap();
    assert!(server.loaded().is_some());
}
