//! Waiting jobs by class in the metrics: what waits, for how long, and why it is not run here; not more than 50 classes of them.

use super::agent;
use super::numbers::numbers;
use crate::support::{Queue, RedisServer, until};
use serde_json::json;
use std::collections::BTreeMap;

fn of<'a>(samples: &'a BTreeMap<String, f64>, name: &str) -> Vec<(&'a str, f64)> {
    let start = format!("gpu_worker_queue_class_{name}{{");
    samples.iter().filter(|(series, _)| series.starts_with(&start)).map(|(series, value)| (&**series, *value)).collect()
}

#[tokio::test]
async fn what_waits_is_told_by_class_with_why_it_does_not_fit_and_goes_when_it_is_run() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let large = json!({"type": "simulation", "priority": 70, "requirements": {"hardware": {"gpu_memory_gb": 80}},
        "payload": {"steps": 1, "step_ms": 1, "outputs": 0}});
    for _ in 0..3 {
        queue.submit(large.clone()).await;
    }
    let strange = queue.submit(json!({"type": "some-service", "payload": {}})).await;
    let samples = until("both classes are told", || async {
        Some(numbers(at).await)
            .filter(|samples| of(samples, "waiting").iter().map(|(_, count)| count).sum::<f64>() == 4.0)
    })
    .await;
    let class = |count: f64| {
        let (series, _) = of(&samples, "waiting").into_iter().find(|(_, waiting)| *waiting == count).unwrap();
        series.split_once('{').unwrap().1.trim_end_matches('}').to_owned()
    };
    let (three, one) = (class(3.0), class(1.0));
    assert!(three.ends_with("service=\"simulation\"") && one.ends_with("service=\"some-service\""), "{three} {one}");
    let value = |name: &str, labels: &str| samples.get(&format!("gpu_worker_queue_class_{name}{{{labels}}}")).copied();
    for labels in [&three, &one] {
        assert_eq!(value("fitting_workers", labels), Some(0.0));
        assert!(value("oldest_wait_seconds", labels).is_some_and(|waited| (0.0..3600.0).contains(&waited)), "{labels}");
    }
    assert_eq!(value("priority", &three), Some(70.0));
    assert_eq!(value("misfit_workers", &format!("{three},misfit=\"gpu_memory\"")), Some(1.0), "{samples:#?}");
    assert_eq!(value("misfit_workers", &format!("{one},misfit=\"service\"")), Some(1.0), "{samples:#?}");
    assert_eq!((samples["gpu_worker_queue_fitting"], samples["gpu_worker_queue_classes_truncated"]), (0.0, 0.0));
    assert_eq!(crate::support::cli(&server, &["cancel", &strange]).await.status.code(), Some(0));
    until("a class that nobody waits in has no series", || async {
        (!numbers(at).await.keys().any(|series| series.contains("some-service"))).then_some(())
    })
    .await;
    drop(agent);
}

#[tokio::test]
async fn of_more_than_fifty_classes_fifty_have_series_and_it_is_told_that_there_are_more() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    for gb in 0..60 {
        let needs = json!({"hardware": {"gpu_memory_gb": 100 + gb}});
        queue.submit(json!({"type": "simulation", "requirements": needs, "payload": {}})).await;
    }
    let samples = until("they are told", || async {
        Some(numbers(at).await).filter(|samples| samples.get("gpu_worker_queue_waiting") == Some(&60.0))
    })
    .await;
    let counts = ["waiting", "oldest_wait_seconds", "priority", "fitting_workers", "misfit_workers"];
    assert_eq!(counts.map(|name| of(&samples, name).len()), [50; 5]);
    assert_eq!(samples["gpu_worker_queue_classes_truncated"], 1.0);
    assert!(!samples.contains_key("gpu_worker_queue_unindexed"), "nobody knows");
}
