//! A GPU's memory is freed when it is asked for, and not under a job.

use super::address;
use super::controls::{done, order};
use crate::agent::picture;
use crate::fencing::bench::Bench;
use crate::support::until;
use stand_ins::comfyui::StandIn;

#[tokio::test]
async fn a_gpus_memory_is_freed_while_nothing_runs_on_it() {
    let bench = Bench::ready(&[("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")]).await;
    let at = address(&bench.agent).await;
    let [_, _] = bench.both_at_work().await;
    let (status, told) = order(&bench.agent, at, "free-vram/0").await;
    assert_eq!((status, told["error"].as_str()), (409, Some("a job runs on GPU 0")), "{told}");
    assert!(told["remedy"].as_str().is_some_and(|remedy| remedy.contains("pause first")), "{told}");
    bench.go_on();
    bench.works_again("m-0").await;
    bench.works_again("m-1").await;
    until("nothing runs", || async {
        let both = [bench.field("m-0", "status").await, bench.field("m-1", "status").await];
        (both == ["idle", "idle"]).then_some(())
    })
    .await;
    assert!(bench.engines.iter().all(StandIn::holds_a_model), "the jobs have left their models there");
    let said = done(&bench.agent, at, "free-vram/1").await;
    assert_eq!(said, "comfyui[1] gave back the memory of GPU 1");
    until("the engine has let it go", || async { (!bench.engines[1].holds_a_model()).then_some(()) }).await;
    assert!(bench.engines[0].holds_a_model(), "the other one was not asked");
    let again = bench.queue.submit(picture()).await;
    bench.queue.reaches(&again, "completed").await;
}
