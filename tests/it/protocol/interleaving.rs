//! Random sequences of what agents, clients, operators, time, failovers and the reference's programs do, with the
//! invariants after every step, and the record of all writes judged at the end of each episode.
//! In: a seed. Out: a verdict; a failing sequence is cut down to a short one.
//!
//! `make explore EPISODES=1000 SEED=7` runs many.

mod failover;
mod others;
mod world;

use super::model::hold;
use super::scene::Scene;
use crate::storm::tool::record::{Recorder, check};
use proptest::collection::vec;
use proptest::prelude::*;
use world::World;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Do {
    // Clients and operators.
    Submit,
    SubmitAgain,
    Cancel,
    Replay,
    // Agents.
    Claim,
    ClaimWithLostReply,
    ClaimWithLateReply,
    RepliesArrive,
    Start,
    RenewAll,
    Complete,
    CompleteWithLostReply,
    Fail,
    Release,
    FailOrReleaseWithLostReply,
    Adopt,
    Confirm,
    Crash,
    Sweep,
    // Time, and machines.
    LeasesRunOut,
    TimeJumps,
    PausesEnd,
    Forgotten,
    ReplicaCatchesUp,
    Failover,
    // The reference's programs.
    ForeignSubmit,
    ForeignResubmit,
    ForeignClaim,
    ForeignComplete,
    ForeignRetry,
    ForeignCancel,
    ForeignRequeue,
}

fn what() -> impl Strategy<Value = Do> {
    use Do::*;
    prop_oneof![
        6 => prop::sample::select(vec![Submit, Claim, Claim, Complete]),
        4 => prop::sample::select(vec![ForeignSubmit, ClaimWithLostReply, ClaimWithLateReply, RepliesArrive, Start, RenewAll,
            CompleteWithLostReply, Fail, Release, FailOrReleaseWithLostReply, Adopt, Cancel, Confirm, Crash, LeasesRunOut,
            TimeJumps, PausesEnd, Sweep, Replay]),
        2 => prop::sample::select(vec![SubmitAgain, ForeignResubmit, ForeignClaim, ForeignComplete, ForeignRetry, ForeignCancel,
            ForeignRequeue, Forgotten, ReplicaCatchesUp, Failover]),
    ]
}

#[test]
fn whatever_happens_in_whatever_order_each_job_ends_once() {
    let steps = vec((what(), any::<u8>(), any::<u8>()), 1..60);
    hold(16, &(any::<bool>(), steps), async |scene: &Scene, (failovers, steps)| {
        // What a failover undoes, the record cannot know: those episodes go without it.
        let recorder = if failovers { None } else { Some(Recorder::start(&scene.server.url, "").await) };
        let mut world = World::new(scene);
        for (n, (what, a, b)) in steps.into_iter().enumerate() {
            if what == Do::Failover && !failovers {
                continue;
            }
            world.step(what, a, b).await;
            world.in_order(&world.foreign, &format!("after step {n}, {what:?}")).await;
        }
        world.finish().await;
        if let Some(recorder) = recorder {
            let summary = check(&recorder.finish().await);
            assert!(summary.breaches.is_empty(), "the record of all writes: {:#?}", summary.breaches);
        }
    });
}
