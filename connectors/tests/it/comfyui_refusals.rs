//! Graphs that ComfyUI, or we before it, refuse: both releases' recorded answers, and payloads of the wrong shape.
//! In: recorded submissions. Out: a failure that names node, class and input, and nothing of the user's text.

use crate::comfyui::{connector, failure, run};
use crate::replay::{Cut, Replay, http_steps, recording};
use connectors::conformance::{Bench, job};
use connectors::contract::Connector;
use connectors::failure::{Failure, Reason};
use serde_json::{Value, json};

/// The failure for the recorded submission whose answer names this error.
async fn refused(release: &str, fits: impl Fn(&Value) -> bool) -> Failure {
    let name = format!("{release}/prompt-validation-errors");
    let recording = recording(&name);
    let nth = http_steps(&recording, "POST", "/prompt")
        .iter()
        .position(|step| step["request"]["body"]["prompt"].is_object() && fits(&step["response"]["body"]))
        .unwrap_or_else(|| panic!("no such answer in {name}"));
    let replay = Replay::start(&name, nth, Cut::default()).await;
    failure(run(replay.url(), replay.graph()).await.0)
}

fn names(kind: &str) -> impl Fn(&Value) -> bool {
    move |answer| answer.to_string().contains(&format!("\"type\":\"{kind}\""))
}

#[tokio::test]
async fn prompt_validation_errors_name_node_class_and_input() {
    let cases = [
        (
            "required_input_missing",
            Reason::MissingRequiredField,
            "node 1 (EmptyImage), input `width`: this input is required",
        ),
        (
            "invalid_input_type",
            Reason::InvalidFormat,
            "node 1 (EmptyImage), input `width`: the value must be of type INT",
        ),
        (
            "value_smaller_than_min",
            Reason::InvalidPayload,
            "node 1 (EmptyImage), input `width`: the value is below min 1",
        ),
        ("value_bigger_than_max", Reason::InvalidPayload, "the value is above max 16384"),
        (
            "value_not_in_list",
            Reason::InvalidPayload,
            "node 2 (ImageScale), input `upscale_method`: the value is not one of the allowed: nearest-exact, bilinear, area",
        ),
        ("bad_linked_input", Reason::InvalidFormat, "node 9 (SaveImage), input `images`: a link must be"),
        ("return_type_mismatch", Reason::InvalidPayload, "it takes IMAGE, but the linked output gives LATENT"),
        ("exception_during_validation", Reason::InvalidPayload, "node 9 (SaveImage): it cannot be checked"),
        ("custom_validation_failed", Reason::InvalidPayload, "node 1 (LoadImage), input `image`: the node refuses"),
        ("prompt_no_outputs", Reason::InvalidPayload, "no output node"),
    ];
    for release in ["0.27.0", "0.3.64"] {
        for (kind, reason, said) in &cases {
            let failure = refused(release, names(kind)).await;
            assert!(failure.message.contains(said), "{release} {kind}: {failure}");
            assert_eq!((failure.reason, failure.hosts_fault), (*reason, false), "{release} {kind}");
            for secret in ["wide", "magic", "/opt", "Traceback"] {
                assert!(!failure.message.contains(secret), "{release} {kind}: {failure}");
            }
        }
    }
    assert!(refused("0.27.0", names("dependency_cycle")).await.message.contains("cycle"));
}

#[tokio::test]
async fn a_model_that_this_box_lacks_is_the_hosts_fault() {
    for release in ["0.27.0", "0.3.64"] {
        let failure = refused(release, |answer| answer.to_string().contains("ckpt_name")).await;
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ModelNotFound, true));
        let said =
            "node 1 (CheckpointLoaderSimple), input `ckpt_name`: this ComfyUI lacks the model `not-there.safetensors`";
        assert!(failure.message.contains(said), "{failure}");
    }
}

#[tokio::test]
async fn a_node_class_that_this_box_lacks_is_the_hosts_fault() {
    for release in ["0.27.0", "0.3.64"] {
        let failure = refused(release, |answer| answer.to_string().contains("Node ID '#2'")).await;
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ComponentError, true), "{failure}");
        assert!(failure.message.contains("node 2 (NoSuchNodeXYZ)"), "{failure}");
    }
}

#[tokio::test]
async fn payloads_of_the_wrong_shape_never_reach_the_server() {
    let node = json!({ "class_type": "SaveImage", "inputs": {} });
    let cases = [
        (json!({ "workflow": { "nodes": [], "links": [], "version": 0.4 } }), Reason::InvalidFormat, "Export (API)"),
        (json!({ "nodes": [{ "id": 1, "type": "KSampler" }], "links": [] }), Reason::InvalidFormat, "editor's format"),
        (json!({ "workflow": "{}" }), Reason::InvalidFormat, "must be an object"),
        (json!({ "workflow": null }), Reason::InvalidFormat, "must be an object"),
        (json!([node]), Reason::InvalidFormat, "must be an object"),
        (json!(null), Reason::InvalidFormat, "must be an object"),
        (json!({}), Reason::MissingRequiredField, "no workflow"),
        (json!({ "prompt": "a red fox" }), Reason::MissingRequiredField, "no workflow"),
        (json!({ "1": node, "2": "text" }), Reason::InvalidFormat, "node `2` of the workflow has no class_type"),
        (json!({ "1": { "class_type": "SaveImage" } }), Reason::InvalidFormat, "node `1` (SaveImage)"),
        (
            json!({ "1": { "class_type": "SaveImageWebsocket", "inputs": {} } }),
            Reason::UnsupportedOperation,
            "use SaveImage",
        ),
    ];
    for (payload, reason, said) in cases {
        let bench = Bench::new();
        // Nobody listens there: an attempt to submit would fail in another way.
        let ended = connector("http://127.0.0.1:1").run(&job("j", "comfyui", payload.clone()), &bench.ctx).await;
        let failure = failure(ended);
        assert_eq!(failure.reason, reason, "{payload}: {failure}");
        assert!(failure.message.contains(said), "{payload}: {failure}");
        assert!(bench.ledger.ids().is_empty() && !failure.message.contains("fox"));
    }
}
