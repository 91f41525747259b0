//! The driver as a whole at fault, at the start and while the agent runs: it stays, says what to do, and goes on when that is done.

use super::super::support::RedisServer;
use super::bench::{Bench, Driver, agent};
use stand_ins::comfyui::{Options, StandIn};

#[tokio::test]
async fn a_driver_that_was_upgraded_while_loaded_drains_its_cards_until_it_is_mended() {
    let bench = Bench::ready(&[]).await;
    let ids = bench.both_at_work().await;
    bench.driver.becomes("mismatch");
    bench.driver.is_replaced();
    bench.agent.logged("different versions").await;
    // Programs that run already have the old library: their work may finish.
    bench.go_on();
    for id in &ids {
        assert_eq!(bench.queue.reaches(id, "completed").await["attempt"], "1");
    }
    for worker in ["m-0", "m-1"] {
        let fence = bench.fenced(worker).await;
        assert!(fence["remedy"].as_str().unwrap().contains("reboot"), "{fence}");
    }
    let waiting = bench.queue.submit(super::super::agent::picture()).await;
    bench.driver.becomes("two");
    bench.queue.reaches(&waiting, "completed").await;
    assert_eq!(bench.agent.log().matches("GPU fenced").count(), 2, "once a card: {}", bench.agent.log());
}

#[tokio::test]
async fn an_agent_that_starts_on_a_faulty_driver_stays_registered_and_goes_on_when_it_is_mended() {
    for scenario in ["mismatch", "no-permission"] {
        let mut bench = Bench::new(scenario, &[]).await;
        for worker in ["m-0", "m-1"] {
            let fence = bench.fenced(worker).await;
            assert!(fence["remedy"].as_str().unwrap().contains(if scenario == "mismatch" {
                "reboot"
            } else {
                "/dev/nvidia"
            }));
        }
        let waiting = bench.queue.submit(super::super::agent::picture()).await;
        bench.go_on();
        assert!(bench.agent.child.try_wait().unwrap().is_none(), "it does not give up");
        assert_eq!(bench.queue.field(&waiting, "status").await, "pending");
        bench.driver.becomes("two");
        bench.queue.reaches(&waiting, "completed").await;
        bench.works_again("m-1").await;
        let hardware = bench.json("m-1", "capabilities").await["hardware"].take();
        assert_eq!((&hardware["gpu_memory_gb"], &hardware["gpu_count"]), (&24.into(), &1.into()), "{hardware}");
    }
}

#[tokio::test]
async fn a_card_that_is_lost_from_the_start_shifts_no_engine_to_another_card() {
    let bench = Bench::new("one-of-two-lost", &[]).await;
    bench.fenced("m-1").await;
    bench.go_on();
    let id = bench.queue.submit(super::super::agent::picture()).await;
    assert_eq!(bench.queue.reaches(&id, "completed").await["worker_id"], "m-0");
    assert_eq!((bench.engines[0].executions().len(), bench.engines[1].executions().len()), (1, 0));
    bench.driver.becomes("two");
    bench.works_again("m-1").await;
}

#[tokio::test]
async fn a_driver_that_hangs_keeps_no_agent_from_starting_nor_from_leaving() {
    let (server, driver) = (RedisServer::start().await, Driver::new("hanging"));
    let engines =
        [StandIn::start(Options::default()).await.unwrap(), StandIn::start(Options::default()).await.unwrap()];
    let agent = agent(&server, &driver, &engines, &[]);
    agent.registered(&server, "m-1").await;
    let bench = Bench { queue: super::super::support::Queue::of(&server), server, driver, engines, agent };
    let fence = bench.fenced("m-1").await;
    assert!(fence["reason"].as_str().unwrap().contains("has not answered within 10"), "{fence}");
    let mut bench = bench;
    bench.agent.signal("TERM");
    assert_eq!(bench.agent.ended().await, Some(0));
}
