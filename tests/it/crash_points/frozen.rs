//! Frozen at each point for twice its lease, and woken when another agent has the job: whatever the first one says is
//! refused, its engine works for nobody, and it goes on with other jobs. In: rows. Out: who ended the job, and how.

use super::super::support::until;
use super::aftermath;
use super::scenes::{Scene, is_starving, picture};
use super::stage::{Process, Stage, WORKER};
use failpoints::Point;
use serde_json::json;
use stand_ins::comfyui::{Options, StandIn};
use std::rc::Rc;

/// The agent that takes over, with an engine of its own.
const HEIR: &str = "w2";
const LEASE_MS: i64 = 1000;

/// One agent that freezes.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub scene: Scene,
    pub point: Point,
    /// How the job ends, and by whom.
    end: End,
    /// Whether the woken agent is told that the job is lost; otherwise it holds nothing that it could say so of.
    told: bool,
    /// What the first engine may have run by then, by outcome.
    runs: &'static [&'static [&'static str]],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The heir takes the job over and completes it.
    Heir,
    /// The heir takes the job over and has no more luck with it.
    HeirFails,
    /// It ends so without the heir, who has another job meanwhile.
    Without(&'static str),
}

const fn row(scene: Scene, point: Point, end: End, told: bool, runs: &'static [&'static [&'static str]]) -> Row {
    Row { scene, point, end, told, runs }
}

/// The first agent held the job when it froze.
const fn lost(scene: Scene, point: Point, runs: &'static [&'static [&'static str]]) -> Row {
    row(scene, point, End::Heir, true, runs)
}

const NOTHING: &[&[&str]] = &[&[]];
const STOPPED: &[&[&str]] = &[&["interrupted"]];
const DONE: &[&[&str]] = &[&["success"]];

pub const ROWS: &[Row] = &[
    row(Scene::Completes, Point::Registered, End::Heir, false, NOTHING),
    row(Scene::Completes, Point::TokenTaken, End::Heir, false, NOTHING),
    lost(Scene::Works, Point::ClaimAnswered, NOTHING),
    // Beside the run: it may have come as far as the engine, which is then told to stop.
    lost(Scene::Works, Point::StatusWritten, &[&[], &["interrupted"]]),
    lost(Scene::Works, Point::Renewed, &[&[], &["interrupted"]]),
    lost(Scene::Works, Point::JobRead, NOTHING),
    lost(Scene::Works, Point::SocketOpen, NOTHING),
    // It submits what it was about to submit unless the renewal, which is due, is answered sooner.
    lost(Scene::Works, Point::StartRecorded, &[&[], &["interrupted"]]),
    lost(Scene::Works, Point::PromptAnswered, STOPPED),
    lost(Scene::Works, Point::PromptAccepted, STOPPED),
    lost(Scene::Works, Point::ProgressWritten, STOPPED),
    lost(Scene::Completes, Point::ExecutionOver, DONE),
    lost(Scene::Completes, Point::HistoryRead, DONE),
    lost(Scene::Completes, Point::OutputPart, DONE),
    lost(Scene::Completes, Point::OutputWritten, DONE),
    lost(Scene::Completes, Point::OutputRenamed, DONE),
    lost(Scene::Completes, Point::RunEnded, DONE),
    row(Scene::Completes, Point::CompleteAnswered, End::Without("completed"), false, DONE),
    row(Scene::Completes, Point::JobLetGo, End::Without("completed"), false, DONE),
    lost(Scene::Returns, Point::AdoptAnswered, DONE),
    lost(Scene::Returns, Point::WorkFound, DONE),
    row(Scene::FailsTwice, Point::FailAnswered, End::HeirFails, false, &[&["error"]]),
    row(Scene::OutOfMemory, Point::MemoryFreed, End::Without("cancelled"), false, &[&["error", "error"]]),
    row(Scene::Cancelled, Point::CancelHeard, End::Without("cancelled"), true, STOPPED),
    row(Scene::Cancelled, Point::InterruptSent, End::Without("cancelled"), true, STOPPED),
    row(Scene::Cancelled, Point::ConfirmAnswered, End::Without("cancelled"), false, STOPPED),
    lost(Scene::Drained, Point::InterruptSent, STOPPED),
    row(Scene::Drained, Point::ReleaseAnswered, End::Heir, false, STOPPED),
    row(Scene::Drained, Point::Deregistered, End::Heir, false, STOPPED),
    lost(Scene::Journals, Point::JournalWritten, DONE),
    lost(Scene::Journals, Point::JournalRenamed, DONE),
    row(Scene::JournalsAndHandsIn, Point::JournalForgotten, End::Without("completed"), false, DONE),
    row(Scene::Foreign, Point::SweepLocked, End::Heir, false, NOTHING),
    row(Scene::Foreign, Point::Indexed, End::Heir, false, NOTHING),
    row(Scene::ForeignAvoiding, Point::TokenPutBack, End::Heir, false, NOTHING),
    row(Scene::ForeignNonsense, Point::Rejected, End::Without("failed"), false, NOTHING),
    row(Scene::Inherits, Point::Reaped, End::Heir, false, &[&["lost"]]),
];

async fn play(stage: Rc<Stage>, row: Row) {
    let Row { scene, point, end, told, runs } = row;
    let mut env = scene.env();
    env.retain(|(name, _)| *name != "LEASE_SECONDS");
    env.push(("LEASE_SECONDS", "1"));
    let (id, agent) = scene.play(&stage, &format!("{}:freeze", point.name()), &env).await;
    agent.froze_at(point).await;
    scene.go_on(&stage, &id).await;
    let frozen_at = now_ms(&stage).await;

    // The heir has the job, or another one, and keeps it until the first agent has been heard.
    let engine = StandIn::start(Options::default()).await.expect("an engine");
    engine.step_by_hand(true);
    let _heir = stage.spawn(HEIR, &engine, "", &[("LEASE_SECONDS", "30")]);
    let heirs = match end {
        End::Heir | End::HeirFails => id.clone(),
        End::Without(end) => {
            stage.queue().reaches(&id, end).await;
            stage.queue().submit(picture()).await
        }
    };
    is_starving(&engine).await;
    assert_eq!(stage.queue().field(&heirs, "worker_id").await, HEIR);
    until("two leases have gone by", || async { (now_ms(&stage).await >= frozen_at + 2 * LEASE_MS).then_some(()) })
        .await;
    agent.signal("CONT");
    until("the agent has let go", || async { has_let_go(&stage, &agent, told.then_some(&id)).await }).await;
    let ran: Vec<&str> = stage.engine.executions().iter().map(|run| run.outcome).collect();
    assert!(runs.contains(&ran.as_slice()), "the first engine ran {ran:?}");

    // The heir is busy: what comes now is for the first agent, unless it was about to leave.
    if scene == Scene::Drained {
        until("the agent leaves", || async { agent.is_halted().then_some(()) }).await;
    } else {
        stage.engine.step_by_hand(false);
        let mut further = picture();
        // Of another class: one that ran out of memory is left out of the offer for a while.
        further["requirements"] = json!({"hardware": {"cpu_cores": 1}});
        let further = stage.queue().submit(further).await;
        assert_eq!(stage.queue().reaches(&further, "completed").await["worker_id"], WORKER, "it goes on claiming");
    }
    assert_eq!(stage.queue().field(&heirs, "worker_id").await, HEIR, "the heir is left alone");
    engine.allow_steps(100_000);
    let (status, worker) = match end {
        End::Heir => ("completed", Some(HEIR)),
        End::HeirFails => ("failed", Some(HEIR)),
        End::Without(end) => (end, None),
    };
    let job = stage.queue().reaches(&id, status).await;
    if let Some(worker) = worker {
        assert_eq!(engine.executions().len(), 1, "the heir was not disturbed");
        said_by_one_alone(&stage, &id, worker).await;
        assert!(status != "completed" || job["result"].contains(&format!("/{worker}/outputs/")), "{}", job["result"]);
    }
    stage.queue().reaches(&heirs, if end == End::HeirFails { "failed" } else { "completed" }).await;
    aftermath::is_clean(&stage, &id, &[WORKER, HEIR]).await;
}

/// Nothing runs on the first engine, and if its agent held the job, it knows that it has lost it.
async fn has_let_go(stage: &Stage, agent: &Process, told: Option<&String>) -> Option<()> {
    let knows = told.is_none_or(|id| {
        let log = stage.log();
        log.lines().any(|line| line.contains("no longer held") && line.contains(id.as_str()))
    });
    let runs = stage.engine.executions().iter().any(|run| run.outcome == "running");
    (knows && !runs && !agent.is_frozen()).then_some(())
}

/// From its claim on, every event of the job is of this worker.
async fn said_by_one_alone(stage: &Stage, id: &str, worker: &str) {
    let events = stage.queue().events(id).await;
    let workers: Vec<&str> = events.iter().map(|event| event.get("worker_id").unwrap_or_default()).collect();
    let claimed = workers.iter().position(|one| *one == worker).expect("a claim");
    assert!(workers[claimed..].iter().all(|one| *one == worker), "{workers:?}");
}

/// By Redis' clock, which leases run by.
async fn now_ms(stage: &Stage) -> i64 {
    let (seconds, micros): (i64, i64) = stage.ask(&["TIME"]).await;
    seconds * 1000 + micros / 1000
}

async fn sweep(scenes: &[Scene]) {
    super::sweep(ROWS.iter().copied().filter(|row| scenes.contains(&row.scene)).collect(), play).await;
}

#[tokio::test]
async fn a_worker_frozen_for_twice_its_lease_and_woken_is_refused_on_every_write_and_stops_its_engine_work() {
    sweep(&[Scene::Works]).await;
}

#[tokio::test]
async fn a_worker_frozen_with_its_engine_done_hands_in_what_it_has_only_while_nobody_else_has_claimed() {
    sweep(&[Scene::Completes]).await;
}

#[tokio::test]
async fn a_worker_frozen_while_it_recovers_or_over_its_journal_is_refused_as_well() {
    sweep(&[Scene::Returns, Scene::Journals, Scene::JournalsAndHandsIn]).await;
}

#[tokio::test]
async fn a_worker_frozen_while_work_fails_or_stops_leaves_its_end_to_others() {
    sweep(&[Scene::FailsTwice, Scene::OutOfMemory, Scene::Cancelled, Scene::Drained]).await;
}

#[tokio::test]
async fn a_worker_frozen_in_its_chores_for_the_queue_holds_up_nobody() {
    sweep(&[Scene::Foreign, Scene::ForeignAvoiding, Scene::ForeignNonsense, Scene::Inherits]).await;
}
