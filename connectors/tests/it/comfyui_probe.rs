//! Probes: healthy, down, strange, too old, and models that change.
//! In: the stand-in, recorded answers, servers of another kind. Out: health with its remedy, version, models.

use crate::comfyui::{connector, connector_with, timing};
use crate::replay::recording;
use axum::Router;
use axum::routing::get;
use connectors::comfyui::{Settings, Timing};
use connectors::contract::{Connector, Freed, Health};
use serde_json::json;
use stand_ins::comfyui::{Options, StandIn};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

fn unhealthy(health: Health) -> String {
    match health {
        Health::Unhealthy(why) => why,
        Health::Healthy => panic!("it must not be healthy"),
    }
}

async fn serve(router: Router) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, AbortOnDropHandle::new(served))
}

#[tokio::test]
async fn a_healthy_server_tells_version_load_and_models() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let probe = connector(&server.url()).probe().await;
    assert_eq!(probe.health, Health::Healthy);
    assert_eq!(probe.version.as_deref(), Some("0.27.0"));
    assert_eq!(probe.queue_remaining, Some(0));
    assert!(probe.models["checkpoints"].iter().any(|name| name == "v1-5-pruned-emaonly.safetensors"));
}

#[tokio::test]
async fn models_are_kept_for_a_while_and_then_listed_anew() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let forever = connector(&server.url());
    let never = connector_with(&server.url(), Timing { models_refresh: Duration::ZERO, ..timing() });
    let before = forever.probe().await.models;
    never.probe().await;
    server.set_models("checkpoints", &["new.safetensors"]);
    assert_eq!(forever.probe().await.models, before);
    assert_eq!(never.probe().await.models["checkpoints"], ["new.safetensors"]);
}

#[tokio::test]
async fn a_server_that_is_down_or_frozen_is_said_to_be_so() {
    let server = StandIn::start(Options::default()).await.unwrap();
    // Impatience is for the frozen server alone: a loaded machine may take as long for a good answer.
    let impatient = connector_with(&server.url(), Timing { probe: Duration::from_millis(50), ..timing() });
    let comfy = connector(&server.url());
    server.freeze();
    assert!(unhealthy(impatient.probe().await.health).contains("does not answer in time"));
    server.thaw();
    assert!(comfy.probe().await.is_healthy());
    server.kill().await;
    assert!(unhealthy(comfy.probe().await.health).contains("start ComfyUI"));
    server.revive().await;
    assert!(comfy.probe().await.is_healthy());
}

#[tokio::test]
async fn another_kind_of_server_is_told_from_comfyui() {
    let (page, _one) = serve(Router::new().fallback(async || "<html>")).await;
    assert!(unhealthy(connector(&page).probe().await.health).contains("is not ComfyUI"));
    let (bare, _two) = serve(Router::new().fallback(async || axum::Json(json!({})))).await;
    assert!(unhealthy(connector(&bare).probe().await.health).contains("is not ComfyUI"));
}

#[tokio::test]
async fn recorded_versions_are_new_enough_and_older_ones_are_not() {
    for (version, healthy) in
        [("0.27.0", true), ("0.3.64", true), ("v0.3.45-4-gabc", true), ("0.3.44", false), ("fork", true)]
    {
        let mut stats = recording("0.27.0/info-endpoints")["steps"][0]["response"]["body"].clone();
        stats["system"]["comfyui_version"] = json!(version);
        let router = Router::new()
            .route("/system_stats", get(async move || axum::Json(stats)))
            .route("/prompt", get(async || axum::Json(json!({ "exec_info": { "queue_remaining": 3 } }))));
        let (url, _server) = serve(router).await;
        let probe = connector(&url).probe().await;
        assert_eq!(probe.is_healthy(), healthy, "{version}: {:?}", probe.health);
        assert_eq!(probe.version.as_deref(), Some(version));
    }
}

#[tokio::test]
async fn free_memory_is_asked_for() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let comfy = connector(&server.url());
    assert_eq!(comfy.free_memory().await.unwrap(), Freed::Requested);
    server.kill().await;
    assert!(comfy.free_memory().await.unwrap_err().hosts_fault);
}

#[test]
fn addresses_are_checked_and_never_repeated() {
    for wrong in ["", "127.0.0.1:8188", "ftp://user:secret@host", "http://", "nonsense"] {
        let failure = Settings::at(wrong).unwrap_err();
        assert!(failure.hosts_fault && !failure.message.contains("secret"), "{wrong}: {failure}");
    }
    let settings = Settings::at("https://user:secret@host/comfy/?x=1").unwrap();
    assert_eq!(settings.base_url.as_str(), "https://host/comfy/");
    assert_eq!(settings.username.as_deref(), Some("user"));
}
