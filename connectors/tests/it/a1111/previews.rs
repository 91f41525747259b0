//! Pictures of work that goes on: of our own task alone, each once, and only if the job asks.
//! In: the stand-in, stepped by hand. Out: what was shown.

use super::{connector, fox_job, soon, stand_in};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Job};
use serde_json::json;

#[tokio::test]
async fn pictures_of_our_own_task_are_shown_if_the_job_asks() {
    for (ctx, shown) in [(json!({ "previews": true }), true), (json!({}), false)] {
        let server = stand_in().await;
        server.step_by_hand(true);
        let bench = Bench::new();
        // One picture is made every ten steps.
        let job = Job { ctx, ..fox_job(json!({ "steps": 25 })) };
        let a1111 = connector(&server.url());
        let step = async {
            for steps in [15_u32, 10] {
                server.starving().await;
                server.allow_steps(steps);
                server.starving().await;
                let asked = if steps == 15 { 12 } else { 22 };
                bench.progress.wait_for(|report| report.step.is_some_and(|(step, _)| step >= asked)).await;
            }
            server.step_by_hand(false);
        };
        let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), step) }).await;
        ended.unwrap();
        let previews = bench.progress.previews();
        assert_eq!(!previews.is_empty(), shown);
        assert!(previews.len() <= 3, "each once, and not with every question: {}", previews.len());
        assert!(previews.iter().all(|preview| preview.media_type == "image/png" && preview.node.is_none()));
        assert!(previews.windows(2).all(|two| two[0].bytes != two[1].bytes), "each once");
    }
}
