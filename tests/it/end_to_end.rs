//! The main job: a submitted job is claimed, run, streamed and stored, and its submitter sees it.

use super::support::{Agent, RedisServer, cli};
use serde_json::Value;

#[tokio::test]
async fn a_submitted_job_completes_and_its_submitter_sees_every_step() {
    let server = RedisServer::start().await;
    let _agent = Agent::start(&server, "w1", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, r#"{"service_required":"simulation","payload":{"steps":4,"step_ms":5,"outputs":2}}"#)
        .unwrap();

    let output = cli(&server, &["submit", file.to_str().unwrap(), "--watch", "--json"]).await;

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = lines[0]["job_id"].as_str().unwrap();
    let kinds: Vec<&str> = lines[1..].iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["job_submitted", "assigned", "started"]);
    assert_eq!(kinds.last(), Some(&"completion"));
    assert!(kinds[3..kinds.len() - 1].iter().all(|kind| *kind == "progress"), "{kinds:?}");
    let result = &lines.last().unwrap()["result"];
    let outputs = result["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2);
    for output in outputs {
        let path = url::Url::parse(output["url"].as_str().unwrap()).unwrap().to_file_path().unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, output["bytes"].as_u64().unwrap());
        assert_eq!(output["media_type"], "image/png");
    }
    assert_eq!(server.hget(&format!("job:{id}"), "status").await.as_deref(), Some("completed"));
}
