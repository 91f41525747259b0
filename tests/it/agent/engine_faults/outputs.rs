//! Ends that are not told, told too early, or have nothing to show.

use super::super::picture;
use super::Site;
use std::time::Duration;

#[tokio::test]
async fn a_dropped_socket_costs_nothing() {
    // No probe falls into the cut: whatever is said of the engine comes from the run.
    let site = Site::new(&[("HEALTH_CHECK_INTERVAL_SECONDS", "3600")]).await;
    let id = site.begun().await;
    site.engine.drop_connections();
    site.engine.step_by_hand(false);
    site.ends(&id, "completed", "1", "0", 1).await;
    assert!(!site.agent.log().contains("engine cannot take work"), "{}", site.agent.log());
}

#[tokio::test]
async fn a_success_that_is_never_sent_is_found_in_history() {
    let site = Site::new(&[]).await;
    site.engine.quirks(|quirks| quirks.withhold_endings = true);
    let id = site.queue.submit(picture()).await;
    site.ends(&id, "completed", "1", "0", 1).await;
}

#[tokio::test]
async fn a_success_before_history_and_files_are_there_is_waited_for() {
    let site = Site::new(&[]).await;
    site.engine.quirks(|quirks| (quirks.history_delay, quirks.missing_views) = (Duration::from_millis(700), 1));
    let id = site.queue.submit(picture()).await;
    let job = site.ends(&id, "completed", "1", "0", 1).await;
    assert!(job["result"].contains("sha256"), "{}", job["result"]);
}

#[tokio::test]
async fn a_success_without_outputs_is_charged_and_ends_after_its_attempts() {
    for unnamed in [true, false] {
        let site = Site::new(&[]).await;
        site.engine.quirks(|quirks| {
            (quirks.outputs_unnamed, quirks.missing_views) = (unnamed, if unnamed { 0 } else { u32::MAX });
        });
        let mut job = picture();
        job["max_retries"] = 2.into();
        let id = site.queue.submit(job).await;
        // Its nodes come out of the cache for the second attempt, all but the one that saves.
        let job = site.ends(&id, "failed", "2", "2", 2).await;
        assert_eq!(job["failure_reason"], "missing_expected_data");
        site.offers(true).await;
    }
}
