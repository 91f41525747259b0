//! How the server is said to be.
//! In: stand-ins in various states. Out: health with its remedy, models, work at hand.

use super::{
    connector, connector_with, failure, fox, fox_job, fox_with, run_on, soon, stand_in, stand_in_with, timing,
};
use connectors::a1111::{Settings, Timing};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Freed, Health};
use connectors::failure::Reason;
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
async fn memory_is_freed_and_the_model_is_back_on_the_card_for_the_next_job() {
    let server = stand_in().await;
    server.quirks(|quirks| (quirks.stays_unloaded, quirks.full_until_unloaded) = (true, true));
    let a1111 = connector(&server.url());
    let full = failure(run_on(&a1111, fox()).await.0);
    assert_eq!((full.reason, full.hosts_fault), (Reason::GpuMemoryFull, true));
    assert_eq!(a1111.free_memory().await.unwrap(), Freed::Requested);
    let asked = ["unload", "reload"].map(|what| server.asked(&format!("POST /sdapi/v1/{what}-checkpoint")));
    assert_eq!(asked, [1, 1]);
    run_on(&a1111, fox()).await.0.unwrap();
}

#[tokio::test]
async fn models_are_named_as_they_are_advertised() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let models = |name: &str| a1111.models(&fox_job(json!({ "sd_model_checkpoint": name })));
    assert_eq!(models("sd_xl_base_1.0"), ["sd_xl_base_1.0"], "nothing is known yet");
    let advertised = a1111.probe().await.models["checkpoints"][1].clone();
    for name in ["sd_xl_base_1.0", "sd_xl_base_1.0.safetensors", "sd_xl_base_1.0.safetensors [0123456789]"] {
        assert_eq!(models(name), [advertised.as_str()], "{name}");
    }
    let refined =
        fox_job(json!({ "refiner_checkpoint": "sd_xl_base_1.0", "hr_checkpoint_name": "Use same checkpoint" }));
    assert_eq!(a1111.models(&refined), [advertised.as_str()]);
    assert!(a1111.models(&fox_job(json!({ "prompt": 7 }))).is_empty());
    // What the server goes back from is left out alone.
    server.quirks(|quirks| quirks.ignore_switches = true);
    let damaged = failure(run_on(&a1111, fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }))).await.0);
    assert_eq!((damaged.reason, damaged.model.as_deref()), (Reason::DependencyError, Some(advertised.as_str())));
}
