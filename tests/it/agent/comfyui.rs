//! A ComfyUI workflow from `submit` to files, through the agent and the stand-in.

use super::super::support::{Agent, Queue, RedisServer, cli};
use sha2::{Digest, Sha256};
use stand_ins::comfyui::{Options, StandIn};

const WORKFLOW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/comfyui-workflow.json");

#[tokio::test]
async fn the_example_workflow_becomes_the_very_file_that_the_engine_wrote() {
    let server = RedisServer::start().await;
    let engine = StandIn::start(Options::default()).await.unwrap();
    let agent = Agent::start(&server, "painter", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let output = cli(&server, &["submit", WORKFLOW, "--watch", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}\n{}", String::from_utf8_lossy(&output.stderr), agent.log());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = lines[0]["job_id"].as_str().unwrap();
    let result = &lines.last().unwrap()["result"];
    let outputs = result["outputs"].as_array().unwrap();
    let written = engine.files_written();
    assert_eq!((outputs.len(), written.len()), (1, 1));
    let bytes = std::fs::read(&written[0]).unwrap();
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(outputs[0]["sha256"], sum.as_str());
    assert_eq!((outputs[0]["media_type"].as_str(), outputs[0]["kind"].as_str()), (Some("image/png"), Some("images")));
    let path = url::Url::parse(outputs[0]["url"].as_str().unwrap()).unwrap().to_file_path().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(path.starts_with(agent.folder.path().join("outputs")), "{}", path.display());
    let percents: Vec<f64> = lines[1..].iter().filter_map(|event| event["progress"].as_f64()).collect();
    assert!(percents.is_sorted() && percents.last() == Some(&100.0), "{percents:?}");
    let steps = lines.iter().filter(|event| event["node"].is_string()).count();
    assert!(steps > 0, "progress names its node: {text}");
    Queue::of(&server).ended_once(id).await;
}

#[tokio::test]
async fn a_workflow_with_a_fault_names_node_and_input() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options::default()).await.unwrap();
    let _agent = Agent::start(&server, "painter", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let mut job = super::picture();
    job["payload"]["workflow"]["3"]["inputs"]["steps"] = 0.into();
    let id = queue.submit(job).await;
    let failed = queue.reaches(&id, "failed").await;
    assert_eq!((failed["failure_type"].as_str(), failed["attempt"].as_str()), ("validation_error", "1"));
    assert!(failed["error"].contains("node 3 (KSampler), input `steps`"), "{}", failed["error"]);
    assert!(engine.executions().is_empty());
}
