//! What happens to the job while the armed agent lives: the ways in which points are reached.
//! In: a stage and a point. Out: the job's id, the agent on its way to the point.

use super::super::agent::{self, is_at_work};
use super::super::support::{PATIENCE, until};
use super::stage::{Process, Stage, WORKER};
use failpoints::Point;
use gpu_worker::protocol::operate::Cancelled;
use serde_json::{Value, json};
use stand_ins::comfyui::StandIn;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// An idle agent gets a job, and nothing is in its way.
    Completes,
    /// The same, and the job takes long.
    Works,
    /// The graph raises an exception at each of the two attempts that it has.
    FailsTwice,
    /// The engine runs out of GPU memory; then somebody cancels the waiting job.
    OutOfMemory,
    /// Somebody cancels the job at work.
    Cancelled,
    /// The agent is told to stop at work, and the job outlasts the drain.
    Drained,
    /// The agent has died at work before; its engine goes on.
    Returns,
    /// The agent has died before, when the engine's id was recorded and the engine had not seen the work.
    ReturnsUnseen,
    /// Redis is away when the engine is done; for good, as far as this process lives.
    Journals,
    /// The same, and Redis comes back.
    JournalsAndHandsIn,
    /// The agent has died before with an end in its journal, and its engine has gone, too.
    ReturnsWithJournal,
    /// A program of the reference adds a job without a word.
    Foreign,
    /// The same, with a job that keeps off this worker until it has been at the point.
    ForeignAvoiding,
    /// A program of the reference adds a job that cannot be understood.
    ForeignNonsense,
    /// Another agent has died for good with the job.
    Inherits,
}

/// Leases that no row of the sweep of kills waits for.
const LONG: (&str, &str) = ("LEASE_SECONDS", "30");

impl Scene {
    /// What its agents are told beside the usual.
    pub fn env(self) -> Vec<(&'static str, &'static str)> {
        match self {
            // Tokens alone wake it.
            Scene::Completes | Scene::ForeignAvoiding => vec![LONG, ("POLL_INTERVAL_MS", "20000")],
            Scene::Drained => vec![LONG, ("DRAIN_SECONDS", "0.1")],
            Scene::FailsTwice => vec![LONG, ("RETRY_BACKOFF_MS", "1500")],
            Scene::OutOfMemory => vec![LONG, ("RETRY_BACKOFF_MS", "60000")],
            Scene::Inherits => vec![("LEASE_SECONDS", "1")],
            _ => vec![LONG],
        }
    }

    /// Starts the armed agent, and does all that makes it reach the point.
    pub async fn play(self, stage: &Stage, failpoint: &str, env: &[(&str, &str)]) -> (String, Process) {
        let engine = &stage.engine;
        let armed = |failpoint: &str| stage.spawn(WORKER, engine, failpoint, env);
        match self {
            Scene::Completes | Scene::Works | Scene::FailsTwice | Scene::OutOfMemory => {
                let job = match self {
                    Scene::Completes => picture(),
                    Scene::Works => long_picture(),
                    Scene::FailsTwice => failing("RuntimeError"),
                    _ => failing("OOM"),
                };
                let agent = armed(failpoint);
                stage.is_idle(WORKER, &agent).await;
                (stage.queue().submit(job).await, agent)
            }
            Scene::Cancelled | Scene::Drained => {
                let agent = armed(failpoint);
                // Who begins to listen renews what he holds: that must be over.
                stage.is_idle(WORKER, &agent).await;
                let id = stage.queue().submit(long_picture()).await;
                is_at_work(&stage.engine).await;
                if self == Scene::Drained {
                    agent.signal("TERM");
                } else {
                    assert!(matches!(cancel(stage, &id).await, Cancelled::Requested { .. }));
                }
                (id, agent)
            }
            Scene::Returns | Scene::ReturnsUnseen => {
                engine.step_by_hand(true);
                let id = stage.queue().submit(picture()).await;
                let first = if self == Scene::Returns { Point::PromptAccepted } else { Point::StartRecorded };
                armed(&format!("{}:kill", first.name())).died_at(first).await;
                // When a socket closes late, the server forgets a newer one of the same name as well.
                until("the dead one's socket is closed", || async { (engine.open_sockets() == 0).then_some(()) }).await;
                let agent = armed(failpoint);
                let what = "the agent has a socket, or has come to its point";
                until(what, || async { (engine.open_sockets() > 0 || agent.is_halted()).then_some(()) }).await;
                if self == Scene::Returns {
                    // What it hears of a step it hears behind its first look at history.
                    engine.allow_steps(1);
                    let what = "the agent has heard of a step, or has come to its point";
                    until(what, || async { (stage.progress(&id).await > 0.0 || agent.is_halted()).then_some(()) })
                        .await;
                }
                engine.step_by_hand(false);
                (id, agent)
            }
            Scene::Journals | Scene::JournalsAndHandsIn | Scene::ReturnsWithJournal => {
                engine.step_by_hand(true);
                let id = stage.queue().submit(picture()).await;
                let journaled = Point::JournalRenamed;
                let first = match self {
                    Scene::ReturnsWithJournal => &format!("{}:kill", journaled.name()),
                    _ => failpoint,
                };
                let mut agent = armed(first);
                is_starving(engine).await;
                stage.lose_redis();
                engine.step_by_hand(false);
                match self {
                    Scene::Journals => return (id, agent),
                    Scene::ReturnsWithJournal => {
                        agent.died_at(journaled).await;
                        engine.kill().await;
                        stage.redis_is_back().await;
                        agent = armed(failpoint);
                    }
                    _ => {
                        let kept = stage.journal(WORKER);
                        let is_entry =
                            |file: &std::fs::DirEntry| file.path().extension().is_some_and(|end| end == "json");
                        let entries =
                            || std::fs::read_dir(&kept).into_iter().flatten().flatten().filter(is_entry).count();
                        until("the end is in the journal", || async { (entries() > 0).then_some(()) }).await;
                        stage.redis_is_back().await;
                    }
                }
                (id, agent)
            }
            Scene::Foreign | Scene::ForeignAvoiding | Scene::ForeignNonsense => {
                if self == Scene::ForeignAvoiding {
                    // Its class is known and waited for: one that is born calls the agent, which may find the job without
                    // a token.
                    let first = stage.queue().submit(picture()).await;
                    assert_eq!(cancel(stage, &first).await, Cancelled::Now);
                }
                let agent = armed(failpoint);
                stage.is_idle(WORKER, &agent).await;
                let requirements = if self == Scene::ForeignNonsense { "[not JSON" } else { "{}" };
                let payload = picture()["payload"].to_string();
                let fields =
                    ["service_required", "comfyui", "status", "pending", "created_at", "2026-01-02T03:04:05.678Z"];
                let own = ["id", "by-hand", "requirements", requirements, "payload", &payload];
                let (now, _): (u64, u64) = stage.ask(&["TIME"]).await;
                // Until the point has been reached, however long that takes.
                let avoid = format!("{WORKER} {}", (now + 600) * 1000);
                let avoid = if self == Scene::ForeignAvoiding { vec!["avoid", &avoid] } else { Vec::new() };
                let _: u64 = stage.ask(&[&["HSET", "job:by-hand"], &fields[..], &own[..], &avoid].concat()).await;
                let _: u64 = stage.ask(&["ZADD", "jobs:pending", "49999998232676755", "by-hand"]).await;
                ("by-hand".to_owned(), agent)
            }
            Scene::Inherits => {
                let id = stage.queue().submit(picture()).await;
                engine.step_by_hand(true);
                let mut gone = stage.spawn("gone", engine, "", env);
                is_starving(engine).await;
                gone.kill();
                engine.restart();
                engine.step_by_hand(false);
                (id, armed(failpoint))
            }
        }
    }

    /// What must be so for the job to end, now that the agent has been at its point.
    pub async fn go_on(self, stage: &Stage, id: &str) {
        match self {
            // All steps at once.
            Scene::Drained => {
                stage.engine.step_by_hand(true);
                stage.engine.allow_steps(100_000);
            }
            Scene::Journals => stage.redis_is_back().await,
            Scene::ForeignAvoiding => {
                let gone: u64 = stage.ask(&["HDEL", "job:by-hand", "avoid"]).await;
                assert_eq!(gone, 1);
            }
            Scene::OutOfMemory => assert_eq!(cancel(stage, id).await, Cancelled::Now),
            _ => {}
        }
    }
}

/// A job for ComfyUI that is soon done.
pub fn picture() -> Value {
    steps(4)
}

/// One that takes longer than any row.
fn long_picture() -> Value {
    steps(1000)
}

fn steps(count: u64) -> Value {
    let mut job = agent::picture();
    job["payload"]["workflow"]["3"]["inputs"]["steps"] = count.into();
    job
}

/// A graph whose node raises this, with two attempts.
fn failing(kind: &str) -> Value {
    let mut job = picture();
    let graph = &mut job["payload"]["workflow"];
    let saved = graph.as_object().and_then(|nodes| {
        let save = nodes.iter().find(|(_, node)| node["class_type"] == "SaveImage");
        save.map(|(id, node)| (id.clone(), node["inputs"]["images"].clone()))
    });
    let (save, image) = saved.expect("the example saves an image");
    graph["fails"] = json!({"class_type": "LabFail", "inputs": {"image": image, "kind": kind, "salt": 0}});
    graph[save]["inputs"]["images"] = json!(["fails", 0]);
    job["max_retries"] = 2.into();
    job
}

/// Waits until a node waits for a step.
pub async fn is_starving(engine: &StandIn) {
    tokio::time::timeout(PATIENCE, engine.starving()).await.expect("the engine comes to a step");
}

async fn cancel(stage: &Stage, id: &str) -> Cancelled {
    let queue = stage.queue();
    queue.link.call(async |con| queue.space.cancel(con, id, "no longer needed").await).await.expect("Redis answers")
}
