//! Killed at each point and started again: the job ends as it should have, once, and the engine does nothing twice that
//! it still had. In: rows. Out: what became of the job, the engine's work and the queue.

use super::super::support::until;
use super::aftermath;
use super::scenes::Scene;
use super::stage::{Stage, WORKER};
use failpoints::Point;
use std::rc::Rc;

/// One agent that dies.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub scene: Scene,
    pub point: Point,
    /// It dies when it is here for this time.
    time: u32,
    /// How the job ends.
    end: &'static str,
    /// The claims that it took: 1 where the job stayed with its worker.
    claims: u64,
    /// What the engine ran for it, by outcome.
    runs: &'static [&'static str],
}

const fn row(scene: Scene, point: Point, end: &'static str, claims: u64, runs: &'static [&'static str]) -> Row {
    Row { scene, point, time: 1, end, claims, runs }
}

/// A job that is done at the first attempt, by one run of the engine.
const fn once(scene: Scene, point: Point) -> Row {
    row(scene, point, "completed", 1, &["success"])
}

/// Where and how often: every row that needs more than one run says why.
pub const ROWS: &[Row] = &[
    once(Scene::Completes, Point::Registered),
    once(Scene::Completes, Point::TokenTaken),
    once(Scene::Completes, Point::ClaimAnswered),
    once(Scene::Completes, Point::StatusWritten),
    once(Scene::Completes, Point::JobRead),
    once(Scene::Completes, Point::SocketOpen),
    once(Scene::Completes, Point::StartRecorded),
    once(Scene::Completes, Point::PromptAnswered),
    once(Scene::Completes, Point::PromptAccepted),
    once(Scene::Completes, Point::ProgressWritten),
    once(Scene::Completes, Point::ExecutionOver),
    once(Scene::Completes, Point::HistoryRead),
    once(Scene::Completes, Point::OutputPart),
    once(Scene::Completes, Point::OutputWritten),
    once(Scene::Completes, Point::OutputRenamed),
    once(Scene::Completes, Point::RunEnded),
    once(Scene::Completes, Point::CompleteAnswered),
    once(Scene::Completes, Point::JobLetGo),
    once(Scene::Returns, Point::AdoptAnswered),
    once(Scene::Returns, Point::JobRead),
    once(Scene::Returns, Point::WorkFound),
    once(Scene::Returns, Point::SocketOpen),
    once(Scene::Returns, Point::ProgressWritten),
    once(Scene::Returns, Point::ExecutionOver),
    once(Scene::Returns, Point::OutputWritten),
    once(Scene::Returns, Point::CompleteAnswered),
    once(Scene::ReturnsUnseen, Point::AdoptAnswered),
    once(Scene::ReturnsUnseen, Point::StartRecorded),
    once(Scene::ReturnsUnseen, Point::PromptAnswered),
    once(Scene::ReturnsUnseen, Point::CompleteAnswered),
    // Both attempts run into the same exception.
    row(Scene::FailsTwice, Point::HistoryRead, "failed", 2, &["error", "error"]),
    row(Scene::FailsTwice, Point::FailAnswered, "failed", 2, &["error", "error"]),
    row(Scene::FailsTwice, Point::JobLetGo, "failed", 2, &["error", "error"]),
    Row { time: 2, ..row(Scene::FailsTwice, Point::FailAnswered, "failed", 2, &["error", "error"]) },
    // A machine that runs out of memory is at fault, not the job: nothing is charged.
    // Once more after freeing memory, then charged: there is nobody to hand it to.
    row(Scene::OutOfMemory, Point::FailAnswered, "cancelled", 1, &["error", "error"]),
    row(Scene::OutOfMemory, Point::MemoryFreed, "cancelled", 1, &["error", "error"]),
    row(Scene::Cancelled, Point::Renewed, "cancelled", 1, &["interrupted"]),
    row(Scene::Cancelled, Point::CancelHeard, "cancelled", 1, &["interrupted"]),
    row(Scene::Cancelled, Point::InterruptSent, "cancelled", 1, &["interrupted"]),
    row(Scene::Cancelled, Point::RunEnded, "cancelled", 1, &["interrupted"]),
    row(Scene::Cancelled, Point::ConfirmAnswered, "cancelled", 1, &["interrupted"]),
    // The drain has stopped the first run: half of it is of no use to anybody.
    row(Scene::Drained, Point::InterruptSent, "completed", 1, &["interrupted", "success"]),
    row(Scene::Drained, Point::RunEnded, "completed", 1, &["interrupted", "success"]),
    row(Scene::Drained, Point::ReleaseAnswered, "completed", 2, &["interrupted", "success"]),
    row(Scene::Drained, Point::JobLetGo, "completed", 2, &["interrupted", "success"]),
    row(Scene::Drained, Point::Deregistered, "completed", 2, &["interrupted", "success"]),
    once(Scene::Journals, Point::JournalWritten),
    once(Scene::Journals, Point::JournalRenamed),
    once(Scene::JournalsAndHandsIn, Point::CompleteAnswered),
    once(Scene::JournalsAndHandsIn, Point::JournalForgotten),
    once(Scene::ReturnsWithJournal, Point::CompleteAnswered),
    once(Scene::ReturnsWithJournal, Point::JournalForgotten),
    once(Scene::Foreign, Point::SweepLocked),
    once(Scene::Foreign, Point::Indexed),
    once(Scene::ForeignAvoiding, Point::TokenPutBack),
    row(Scene::ForeignNonsense, Point::Rejected, "failed", 0, &[]),
    // The engine has been restarted since its agent died for good.
    row(Scene::Inherits, Point::Reaped, "completed", 2, &["lost", "success"]),
];

async fn play(stage: Rc<Stage>, row: Row) {
    let Row { scene, point, time, end, claims, runs } = row;
    let env = scene.env();
    let (id, mut agent) = scene.play(&stage, &format!("{}:kill@{time}", point.name()), &env).await;
    agent.died_at(point).await;
    scene.go_on(&stage, &id).await;

    let again = stage.spawn(WORKER, &stage.engine, "", &env);
    let job = stage.queue().reaches(&id, end).await;

    let number = |name: &str| job.get(name).and_then(|text| text.parse().ok()).unwrap_or(0u64);
    assert_eq!(number("attempt"), claims, "claims: {:?}", stage.queue().kinds(&id).await);
    let charged = match scene {
        Scene::FailsTwice => 2,
        Scene::OutOfMemory => 1,
        _ => 0,
    };
    assert_eq!(number("retry_count"), charged, "a death is not charged: {:?}", stage.queue().kinds(&id).await);
    let outcomes: Vec<&str> = stage.engine.executions().iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, runs, "what the engine ran");
    aftermath::is_clean(&stage, &id, &[WORKER]).await;
    until("the agent is back", || async { again.said("\"registered\"").then_some(()) }).await;
}

async fn sweep(scenes: &[Scene]) {
    super::sweep(ROWS.iter().copied().filter(|row| scenes.contains(&row.scene)).collect(), play).await;
}

#[tokio::test]
async fn an_agent_killed_at_any_step_of_a_job_completes_it_after_its_restart_by_one_run() {
    sweep(&[Scene::Completes]).await;
}

#[tokio::test]
async fn an_agent_killed_again_while_it_recovers_completes_the_job_by_one_run() {
    sweep(&[Scene::Returns, Scene::ReturnsUnseen]).await;
}

#[tokio::test]
async fn an_agent_killed_around_a_failure_charges_the_job_no_more_than_its_failures() {
    sweep(&[Scene::FailsTwice, Scene::OutOfMemory]).await;
}

#[tokio::test]
async fn an_agent_killed_while_it_stops_work_leaves_the_job_to_its_end_and_the_engine_idle() {
    sweep(&[Scene::Cancelled, Scene::Drained]).await;
}

#[tokio::test]
async fn an_agent_killed_over_its_journal_hands_the_result_in_once() {
    sweep(&[Scene::Journals, Scene::JournalsAndHandsIn, Scene::ReturnsWithJournal]).await;
}

#[tokio::test]
async fn an_agent_killed_in_its_chores_for_the_queue_leaves_no_job_behind() {
    sweep(&[Scene::Foreign, Scene::ForeignAvoiding, Scene::ForeignNonsense, Scene::Inherits]).await;
}
