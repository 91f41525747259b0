//! What the agent is asked for by those who only want to know whether it is well.

use super::get;
use super::hostile::{Ledger, unknown_key};
use futures_util::future::BoxFuture;
use gpu_worker::dashboard::view::{connectors, gpus, queue, slots, system, worker};
use gpu_worker::dashboard::{Guard, Limits, Source, bind, serve};
use gpu_worker::telemetry::metrics::{LoopSeen, Observed, Readiness};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Notes what it is asked for.
#[derive(Default)]
struct Noting(Mutex<Vec<&'static str>>);

impl Noting {
    fn note<T: Default>(&self, what: &'static str) -> T {
        self.0.lock().unwrap().push(what);
        T::default()
    }
}

impl Source for Noting {
    fn observe(&self) -> Observed {
        self.note("observe")
    }

    fn readiness(&self) -> Readiness {
        self.note("readiness")
    }

    fn fresh(&self) -> BoxFuture<'_, ()> {
        self.note::<()>("fresh");
        Box::pin(std::future::ready(()))
    }

    fn loops(&self) -> Vec<LoopSeen> {
        self.note("loops")
    }

    fn worker(&self) -> worker::Worker {
        self.note("worker")
    }

    fn gpus(&self) -> Vec<gpus::Gpu> {
        self.note("gpus")
    }

    fn slots(&self) -> Vec<slots::Slot> {
        self.note("slots")
    }

    fn queue(&self) -> queue::Queue {
        self.note("queue")
    }

    fn connectors(&self) -> Vec<connectors::Connector> {
        self.note("connectors")
    }

    fn system(&self) -> system::System {
        self.note("system")
    }

    fn looked_at(&self) {
        self.note::<()>("looked_at");
    }
}

#[tokio::test]
async fn whoever_asks_whether_it_is_well_costs_no_look_at_anything_else() {
    let source = Arc::new(Noting::default());
    let listener = bind([127, 0, 0, 1].into(), [0]).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (guard, stop) = (Guard::new(at.port(), &unknown_key(), &[], false), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    tokio::spawn(serve(listener, guard, source.clone(), Arc::new(Ledger::default()), Limits::default(), stop));
    for (path, asked) in
        [("/healthz", &["loops"][..]), ("/readyz", &["readiness"]), ("/metrics", &["fresh", "observe"])]
    {
        get(at, path).await;
        assert_eq!(std::mem::take(&mut *source.0.lock().unwrap()), asked, "{path}");
    }
}
