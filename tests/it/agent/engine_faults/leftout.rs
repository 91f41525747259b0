//! What fails again and again is left out: the whole engine for a pause, one model alone.

use super::super::super::support::{cli, until};
use super::super::picture;
use super::Site;
use serde_json::json;
use stand_ins::comfyui::Options;
use std::collections::BTreeMap;

#[tokio::test]
async fn an_engine_that_fails_three_jobs_in_a_row_rests_although_it_answers() {
    let site = Site::new(&[]).await;
    let mut ids = vec![site.begun().await];
    for lost in 1..=3 {
        // Another job each time: of the same one the job would be suspected.
        let mut next = picture();
        next["priority"] = (100 + lost).into();
        ids.push(site.queue.submit(next).await);
        site.engine.restart();
        until("the run is lost, and the next one begins or none may", || async {
            let rests = site.agent.log().contains("left out of the offer");
            (rests || site.engine.executions().len() > lost).then_some(())
        })
        .await;
        assert_eq!(site.agent.log().contains("left out of the offer"), lost == 3, "{}", site.agent.log());
        if lost < 3 {
            site.engine.starving().await;
        }
    }
    site.offers(false).await;
    site.engine.step_by_hand(false);
    site.agent.logged("offered again, on trial").await;
    for (id, claims) in ids.iter().zip(["2", "2", "2", "1"]) {
        let job = site.queue.reaches(id, "completed").await;
        assert_eq!((job["attempt"].as_str(), job["retry_count"].as_str()), (claims, "0"));
    }
    site.agent.logged("works again").await;
    site.offers(true).await;
}

#[tokio::test]
async fn a_damaged_model_leaves_the_offer_alone_and_its_jobs_are_not_tried_again_here() {
    let models = ["broken.safetensors", "v1-5-pruned-emaonly.safetensors", "sd_xl_base_1.0.safetensors"];
    let models = BTreeMap::from([("checkpoints".to_owned(), models.map(str::to_owned).to_vec())]);
    let site = Site::with(Options { models, ..Options::default() }, &[]).await;
    let mut job = picture();
    let nodes = job["payload"]["workflow"].as_object_mut().unwrap();
    let loader = nodes.values_mut().find(|node| node["inputs"]["ckpt_name"].is_string()).unwrap();
    loader["inputs"]["ckpt_name"] = "broken.safetensors".into();
    let broken = site.queue.submit(job).await;
    until("it is handed on twice", || async {
        (site.queue.field(&broken, "handed_on").await.parse::<u32>().ok()? >= 2).then_some(())
    })
    .await;
    assert_eq!(site.engine.executions().len(), 1, "read once, refused unread from then on");
    let record = site.record("w1").await.to_string();
    assert!(record.contains("v1-5-pruned") && !record.contains("broken.safetensors"), "{record}");
    let job = site.queue.job(&broken).await;
    assert_eq!((job["retry_count"].as_str(), job["failure_reason"].as_str()), ("0", "dependency_error"));
    let good = site.queue.submit(picture()).await;
    site.queue.reaches(&good, "completed").await;
    assert_eq!(cli(&site.server, &["cancel", &broken]).await.status.code(), Some(0));
}

#[tokio::test]
async fn an_engine_on_which_three_different_jobs_fail_for_no_known_reason_rests_and_the_next_one_decides() {
    let site = Site::new(&[]).await;
    let mut fails = picture();
    let graph = &mut fails["payload"]["workflow"];
    graph["90"] = json!({"class_type": "LabFail", "inputs": {"image": ["8", 0], "kind": "RuntimeError", "salt": 1}});
    graph["9"]["inputs"]["images"] = json!(["90", 0]);
    fails["max_retries"] = 1.into();
    for n in 1..=3 {
        let id = site.queue.submit(fails.clone()).await;
        site.queue.reaches(&id, "failed").await;
        let log = site.agent.log();
        assert_eq!(log.contains("left out of the offer"), n == 3, "{log}");
    }
    site.offers(false).await;
    let good = site.queue.submit(picture()).await;
    site.queue.reaches(&good, "completed").await;
    site.agent.logged("works again").await;
    site.offers(true).await;
}
