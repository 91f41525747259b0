//! An agent beside the reference's programs: jobs written by hand, and everything that its hub and monitor listen for.

use super::ear::{Ear, names};
use super::scene::Scene;
use crate::support::{Agent, until};
use serde_json::{Value, json};

const ENV: &[(&str, &str)] = &[("MACHINE_ID", "m1"), ("RETRY_BACKOFF_MS", "1")];

async fn ended(scene: &Scene, id: &str, status: &str) {
    until(&format!("{id} is {status}"), || async {
        (scene.field(id, "status").await.as_deref() == Some(status)).then_some(())
    })
    .await;
}

fn sim(extra: &[(&str, Value)]) -> String {
    let mut payload = json!({"steps": 3, "step_ms": 1, "outputs": 1, "width": 8, "height": 8});
    for (name, value) in extra {
        payload[*name] = value.clone();
    }
    payload.to_string()
}

#[tokio::test]
async fn a_job_written_by_hand_is_completed_and_every_hint_is_seen() {
    let scene = Scene::start().await;
    let ear = Ear::open(&scene).await;
    let _agent = Agent::start(&scene.server, "w1", ENV).await;
    let payload = sim(&[]);
    let workflow = [
        ("payload", payload.as_str()),
        ("workflow_id", "wf1"),
        ("workflow_priority", "60"),
        ("workflow_datetime", "1767323045678"),
        ("current_step", "2"),
        ("total_steps", "2"),
    ];
    scene.foreign("step-7", &workflow).await;
    let told = ear.wait("complete_job", |_| true).await;
    ended(&scene, "step-7", "completed").await;

    assert_eq!(
        names(&told),
        "current_step job_id message progress result status timestamp total_steps worker_id workflow_datetime workflow_id \
         workflow_priority"
    );
    assert_eq!((&told["job_id"], &told["worker_id"]), (&json!("step-7"), &json!("w1")));
    let result = &told["result"];
    assert_eq!(names(result), "data output_files processing_time_ms service_metadata success");
    assert_eq!((&result["success"], &result["data"]["mime_type"]), (&json!(true), &json!("image/png")));
    assert!(result["data"]["image_url"].as_str().is_some_and(|url| url.starts_with("file://")));
    assert_eq!(result["output_files"].as_array().map(Vec::len), Some(1));

    let claimed = ear.wait("job_claimed", |_| true).await;
    assert_eq!((&claimed["job_id"], &claimed["status"]), (&json!("step-7"), &json!("claimed")));
    let statuses: Vec<Value> = ear.on("update_job_progress").iter().map(|hint| hint["status"].clone()).collect();
    assert_eq!(statuses[..2], [json!("assigned"), json!("processing")]);
    assert!(statuses.len() > 2 && statuses[2..].iter().all(|status| status == "in_progress"), "{statuses:?}");
    let told: Vec<u64> = ear.on("update_job_progress").iter().map(|hint| hint["progress"].as_u64().unwrap()).collect();
    assert!(told[2..].iter().all(|progress| (1..=99).contains(progress)) && told.is_sorted(), "{told:?}");

    let attestation: Value =
        serde_json::from_str(&scene.run::<String>(&["GET", "worker:completion:job-id:wf1:step-id:7:attempt:1"]).await)
            .unwrap();
    assert_eq!(
        names(&attestation),
        "attestation_created_at completed_at current_step job_id machine_id raw_service_output raw_service_request result \
         retry_count status total_steps worker_id worker_version workflow_id"
    );
    assert_eq!((&attestation["status"], &attestation["machine_id"]), (&json!("completed"), &json!("m1")));
    assert!(attestation["result"].as_str().is_some_and(|text| serde_json::from_str::<Value>(text).is_ok()));
}

#[tokio::test]
async fn a_worker_tells_of_itself_when_it_comes_works_and_goes() {
    let scene = Scene::start().await;
    let ear = Ear::open(&scene).await;
    let mut agent = Agent::start(&scene.server, "w1", ENV).await;
    let payload = sim(&[]);
    scene.foreign("a", &[("payload", &payload)]).await;
    ended(&scene, "a", "completed").await;

    let connected = ear.wait("worker:events", |event| event["type"] == "worker_connected").await;
    assert_eq!(names(&connected), "machine_id timestamp type worker_data worker_id");
    assert_eq!(names(&connected["worker_data"]), "capabilities connected_at id jobs_completed jobs_failed status");
    let own = ear.wait("worker_status:w1", |status| status["status"] == "idle").await;
    assert_eq!(names(&own), "capabilities connected_at last_heartbeat machine_id status timestamp worker_id");
    let services = &own["capabilities"]["services"];
    assert!(services.as_array().is_some_and(|services| services.contains(&json!("simulation"))), "{services}");

    for (old, new, job) in [("idle", "busy", json!("a")), ("busy", "idle", Value::Null)] {
        let change = ear.wait("worker_status", |change| change["new_status"] == new).await;
        assert_eq!(names(&change), "current_job_id new_status old_status timestamp worker_id");
        assert_eq!((&change["old_status"], &change["current_job_id"]), (&json!(old), &job));
        let told = ear
            .wait("machine:m1:worker:w1", |event| {
                event["data"]["status"] == new && event["data"]["current_job_id"] == job
            })
            .await;
        assert_eq!(names(&told), "data event_type timestamp worker_id");
        assert_eq!(told["event_type"], "worker_status_changed");
    }

    let machine = ear.wait("machine:status:m1", |status| status["update_type"] == "initial").await;
    assert_eq!(names(&machine), "health_url machine_id status structure timestamp update_type");
    assert_eq!(names(&machine["structure"]), "capabilities gpu_count services workers");
    assert_eq!(
        names(&machine["structure"]["workers"]["w1"]),
        "connectors gpu_id pm2_name resource_binding services worker_id worker_type"
    );
    assert_eq!(
        names(&machine["structure"]["services"]["w1.simulation"]),
        "health pm2_name service_type status worker_id"
    );
    assert_eq!(names(&machine["status"]), "machine services workers");
    assert_eq!(machine["status"]["machine"]["phase"], "ready");
    let worker = &machine["status"]["workers"]["w1"];
    assert_eq!(names(worker), "build_info build_timestamp current_job_id is_connected last_activity status version");
    assert!(worker["last_activity"].is_number());
    assert_eq!(
        names(&machine["status"]["services"]["w1.simulation"]),
        "health pm2_status service_type status worker_id"
    );

    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    ear.caught_up(&scene).await;
    let gone = ear.on("worker:events");
    assert_eq!(names(gone.last().unwrap()), "machine_id timestamp type worker_id");
    assert_eq!(gone.last().unwrap()["type"], "worker_disconnected");
    assert_eq!(ear.on("worker_status:w1").last().unwrap()["status"], "offline");
    assert_eq!(ear.on("machine:startup:events")[0]["event_type"], "shutdown");
    // A machine status behind that would bring the worker back in the reference's hub.
    let left = ear.position("worker:events", |event| event["type"] == "worker_disconnected");
    assert!(ear.position("machine:status:m1", |_| true) < left, "no machine status after leaving");
    for key in ["worker:w1", "worker:w1:heartbeat", "workers:active"] {
        assert_eq!(scene.run::<u64>(&["EXISTS", key]).await, 0, "{key}");
    }
}

#[tokio::test]
async fn a_failing_job_is_told_once_when_it_is_final() {
    let scene = Scene::start().await;
    let ear = Ear::open(&scene).await;
    let _agents = (Agent::start(&scene.server, "w1", ENV).await, Agent::start(&scene.server, "w2", ENV).await);
    let payload = sim(&[("failure", json!("service_error")), ("fail_at_step", json!(1))]);
    scene.foreign("a", &[("payload", &payload), ("max_retries", "2"), ("workflow_id", "wf1")]).await;
    let told = ear.wait("job_failed", |_| true).await;
    assert_eq!((&told["can_retry"], &told["retry_count"]), (&json!(false), &json!(2)));
    assert_eq!(names(&told), "can_retry error failed_at job_id retry_count status timestamp worker_id workflow_id");
    ended(&scene, "a", "failed").await;
    ear.caught_up(&scene).await;
    assert_eq!(ear.on("job_failed").len(), 1);
    let step = "job-id:wf1:step-id:a";
    for key in [
        format!("worker:failure:{step}:attempt:1"),
        format!("worker:failure:{step}:permanent"),
        format!("worker:completion:{step}"),
        "workflow:failure:wf1:attempt:1".to_owned(),
        "workflow:failure:wf1:permanent".to_owned(),
    ] {
        let record: Value = serde_json::from_str(&scene.run::<String>(&["GET", &key]).await).unwrap();
        let last = !key.ends_with(":attempt:1");
        assert_eq!(record["will_retry"], !last, "{key}");
        assert_eq!(record["status"], if last { "failed_permanent" } else { "failed_retrying" }, "{key}");
        let common = "attestation_created_at attestation_type current_step error_message failed_at failure_description \
                      failure_reason failure_type job_id machine_id max_retries raw_service_output raw_service_request \
                      retry_count status total_steps will_retry worker_id worker_version workflow_id workflow_impact";
        for name in common.split(' ') {
            assert!(record.get(name).is_some(), "{key} has no {name}");
        }
        assert_eq!(record.get("workflow_attestation_type").is_some(), key.starts_with("workflow:"), "{key}");
    }
}

#[tokio::test]
async fn a_waiting_and_a_running_job_cancelled_by_the_reference_s_hub_end_as_cancelled() {
    let scene = Scene::start().await;
    let ear = Ear::open(&scene).await;
    let _agent = Agent::start(&scene.server, "w1", ENV).await;
    let hangs = sim(&[("hang_at_step", json!(1))]);
    scene.foreign("runs", &[("payload", &hangs)]).await;
    ended(&scene, "runs", "in_progress").await;
    scene.foreign("waits", &[]).await;
    scene.index(&["waits"]).await;
    for id in ["waits", "runs"] {
        scene.foreign_cancel(id).await;
    }
    let hint = json!({"job_id": "runs", "worker_id": "w1", "reason": "Job cancelled by user", "timestamp": 1});
    let _: u64 = scene.run(&["PUBLISH", "cancel_job", &hint.to_string()]).await;
    for id in ["runs", "waits"] {
        ended(&scene, id, "cancelled").await;
        assert_eq!(scene.events(id).await.last().unwrap(), "cancellation");
    }
    // The engine has stopped: the worker is free for the next job.
    let payload = sim(&[]);
    scene.foreign("next", &[("payload", &payload)]).await;
    ended(&scene, "next", "completed").await;
    ear.caught_up(&scene).await;
    assert_eq!(ear.on("complete_job").len(), 1);
}

#[tokio::test]
async fn an_agent_behind_a_prefix_without_reference_events_says_nothing_to_the_reference() {
    let mut scene = Scene::start().await;
    (scene.space.prefix, scene.space.reference_events) = ("{p}:".to_owned(), false);
    let ear = Ear::open(&scene).await;
    let env = [ENV, &[("REFERENCE_EVENTS", "false"), ("REDIS_KEY_PREFIX", "{p}:")]].concat();
    let mut agent = Agent::spawn(&scene.server, "w1", &env);
    until("the worker is registered", || async {
        let there: bool = scene.run(&["EXISTS", "{p}:worker:w1:heartbeat"]).await;
        there.then_some(())
    })
    .await;
    let payload = sim(&[]);
    scene.foreign("a", &[("payload", &payload)]).await;
    ended(&scene, "a", "completed").await;
    agent.signal("TERM");
    agent.ended().await;
    ear.caught_up(&scene).await;
    let channels: Vec<String> = ear.channels().into_iter().collect();
    assert_eq!(channels, ["mark", "{p}:job:events:a", "{p}:jobs:classes:born", "{p}:jobs:workers:started"]);
    let keys: Vec<String> = scene.run(&["KEYS", "*"]).await;
    assert!(keys.iter().all(|key| key.starts_with("{p}:")), "{keys:?}");
}
