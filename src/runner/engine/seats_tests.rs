use super::*;
use async_trait::async_trait;
use connectors::contract::{
    Connector, Freed, Health, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError,
};
use connectors::failure::Failure;
use futures_util::FutureExt;
use std::time::Duration;

/// An engine that is well, and takes so many jobs.
struct Narrow {
    services: Vec<String>,
    seats: Option<usize>,
}

#[async_trait]
impl Connector for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }
    fn services(&self) -> &[String] {
        &self.services
    }
    fn seats(&self) -> Option<usize> {
        self.seats
    }
    async fn probe(&self) -> Probe {
        Probe { health: Health::Healthy, ..Probe::unhealthy("") }
    }
    async fn run(&self, _: &Job, _: &RunContext) -> Result<Outcome, RunError> {
        Err(RunError::Cancelled)
    }
    async fn reattach(&self, _: &Job, _: &str, _: &RunContext) -> Result<Reattached, RunError> {
        Ok(Reattached::Unknown)
    }
    async fn interrupt(&self, _: &str) -> Result<Interrupted, Failure> {
        Ok(Interrupted::NothingToStop)
    }
    async fn free_memory(&self) -> Result<Freed, Failure> {
        Ok(Freed::NotSupported)
    }
}

async fn engine(services: &[&str], seats: Option<usize>) -> Arc<Engine> {
    let services = services.iter().map(ToString::to_string).collect();
    let engine = Engine::new(String::new(), Arc::new(Narrow { services, seats }), Duration::ZERO);
    engine.probe().await;
    Arc::new(engine)
}

fn out(services: &[&str], unnamed: bool) -> LeftOut {
    LeftOut { services: services.iter().map(ToString::to_string).collect(), unnamed }
}

#[tokio::test]
async fn a_service_is_left_out_while_each_of_its_engines_is_full() {
    let engines = [engine(&["a"], Some(1)).await, engine(&["a", "b"], Some(2)).await, engine(&["b", "c"], None).await];
    let [mut one, mut two, mut three] = [Seats::default(), Seats::default(), Seats::default()];
    one.take(&engines);
    two.take(&engines);
    three.take(&engines);
    assert_eq!([one.full(), two.full()], [LeftOut::default(), LeftOut::default()]);
    assert_eq!((three.full(), three.none()), (out(&["a"], false), false), "b has the engine without a limit");
    one.narrow(Some("a"));
    assert!(one.holds(&engines[0]) && !one.holds(&engines[1]), "the first that it can have");
    one.settle(&engines[0]);
    three.take(&engines);
    assert!(three.full().is_empty() && !three.has_room(&engines[0]) && three.has_room(&engines[1]));
    let narrow = &engines[..1];
    two.take(narrow);
    assert_eq!((two.full(), two.none()), (out(&["a"], true), true));
}

#[tokio::test]
async fn a_free_seat_goes_to_the_first_in_line_and_on_to_the_next_if_that_one_has_gone() {
    let engines = [engine(&["a"], Some(1)).await];
    let mut at_work = Seats::default();
    at_work.take(&engines);
    let (mut first, mut second) = (Box::pin(freed(&engines)), Box::pin(freed(&engines)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    at_work.release();
    let mut third = Seats::default();
    third.take(&engines);
    assert!(third.none(), "nobody pushes in");
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert!(second.now_or_never().is_some());
    third.take(&engines);
    assert!(!third.none());
}

#[tokio::test]
async fn slots_that_have_each_others_seats_ask_for_each_engine_once() {
    let engines = [engine(&["a"], Some(1)).await, engine(&["b"], Some(1)).await];
    let [a, b] = &engines;
    let (mut one, mut two, in_the_way) = (Seats::default(), Seats::default(), b.try_seat());
    one.take(&engines);
    drop(in_the_way);
    two.take(&engines);
    assert_eq!([one.full(), two.full()], [out(&["b"], false), out(&["a"], false)]);
    for (slot, missed) in [(&mut one, b), (&mut two, a)] {
        slot.cover();
        assert!(is_among(&slot.missed().0, missed) && slot.missed().0.len() == 1);
    }
    one.hand(freed(&one.missed().0).await);
    two.hand(freed(&two.missed().0).await);
    one.take(&engines);
    two.take(&engines);
    assert_eq!([one.full(), two.full()], [out(&["a"], false), out(&["b"], false)]);
    for slot in [&mut one, &mut two] {
        slot.cover();
        assert!(slot.missed().0.is_empty() && slot.missed().1.is_empty(), "both have asked for both");
        slot.take(&engines[..0]);
        assert!(slot.covered.is_empty(), "woken for another reason it begins anew");
    }
}

#[tokio::test]
async fn a_job_that_is_held_already_has_the_next_seat() {
    let engines = [engine(&["a"], Some(1)).await];
    let (mut at_work, mut held, mut line) = (Seats::default(), Seats::default(), Box::pin(freed(&engines)));
    at_work.take(&engines);
    held.settle(&engines[0]);
    tokio::task::yield_now().await;
    assert!((&mut line).now_or_never().is_none());
    at_work.release();
    tokio::task::yield_now().await;
    assert!((&mut line).now_or_never().is_none(), "it is taken");
    held.release();
    line.await;
}

#[tokio::test]
async fn what_is_owed_is_no_seat_for_a_further_job() {
    let engines = [engine(&["a"], Some(1)).await];
    let (mut at_work, mut late) = (Seats::default(), Seats::default());
    at_work.take(&engines);
    late.settle(&engines[0]);
    assert!(late.holds(&engines[0]));
    late.take(&engines);
    assert!(late.none() && at_work.holds(&engines[0]));
}
