//! What an engine process has started for a run and left at work: ended with a stopped run, told from what is not its.
//! In: engines that start programs and stop when they are told to. Out: which of the programs are alive after a cancel.

use crate::process::{Lab, SOON, is_alive, number_in, python, until, within};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, RunError};
use serde_json::json;

/// Two at once, each of which does this before it waits.
fn starting(what: &str) -> Lab {
    let program = python(&format!("{what}\njob.progress(0.5)\njob.sleep(600)"));
    Lab::new(&program.replace("services=['hello']", "services=['hello'], concurrency=2"))
}

/// Cancels a run once all of these have written their numbers; says which are alive after it.
async fn cancel_and_look(lab: &Lab, names: &[&str]) -> Vec<bool> {
    let (engine, bench) = (lab.engine(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let run = engine.run(&wanted, &bench.ctx);
    let stop = async {
        until("all are started", || names.iter().all(|name| number_in(&lab.path(name)).is_some())).await;
        bench.progress.wait_for(|report| report.fraction > 0.0).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = within("cancelling", futures_util::future::join(run, stop)).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    let alive = |name: &&str| is_alive(number_in(&lab.path(name)).unwrap());
    let alive: Vec<bool> = names.iter().map(alive).collect();
    // It stopped when it was told to: nobody had to end it, and all that is its with it.
    assert!(is_alive(number_in(&lab.path("engine.pid")).unwrap()));
    alive
}

#[tokio::test]
async fn what_has_left_the_engine_but_not_the_folder_of_a_cancelled_run_is_ended() {
    // One is the engine's child, one an orphan; nothing but their folder says whose they are.
    let lab = starting(
        "open('engine.pid', 'w').write(str(os.getpid()))
subprocess.Popen(['sh', '-c', 'echo $$ > ../../child; exec sleep 600'], start_new_session=True, cwd=job.scratch)
subprocess.run(['sh', '-c', 'setsid sh -c \"echo \\\\$\\\\$ > ../../orphan; exec sleep 600\" &'], cwd=job.scratch)",
    );
    assert_eq!(cancel_and_look(&lab, &["child", "orphan"]).await, [false, false]);
}

#[tokio::test]
async fn a_program_that_bears_the_id_of_a_cancelled_run_is_ended_whatever_its_session_and_all_below_it() {
    let lab = starting(
        "open('engine.pid', 'w').write(str(os.getpid()))
subprocess.Popen(['sh', '-c', 'sh -c \"echo \\\\$\\\\$ > below; exec sleep 600\"; : $0', str(job.scratch)])
subprocess.Popen(['sh', '-c', 'echo $$ > daemon; exec sleep 600'], start_new_session=True, env=job.env)",
    );
    assert_eq!(cancel_and_look(&lab, &["below", "daemon"]).await, [false, false]);
}

#[tokio::test]
async fn helpers_that_the_engine_keeps_outlive_a_cancelled_run() {
    // As pools of workers and servers are started, with the first job that needs them.
    let lab = starting(
        "open('engine.pid', 'w').write(str(os.getpid()))
subprocess.Popen(['sh', '-c', 'echo $$ > ../../pool; exec sleep 600'], cwd=job.scratch)
subprocess.Popen(['sh', '-c', 'echo $$ > server; exec sleep 600'], start_new_session=True)
os.chdir(job.scratch)",
    );
    assert_eq!(cancel_and_look(&lab, &["pool", "server"]).await, [true, true]);
}

#[tokio::test]
async fn what_was_started_for_another_run_is_left_alone() {
    let lab = starting(
        "subprocess.Popen(['sh', '-c', f'echo $$ > ../../of-{job.id}; exec sleep 600'], start_new_session=True, cwd=job.scratch)",
    );
    let engine = lab.engine();
    engine.describe(SOON).await.unwrap();
    let (doomed, other) = (Bench::new(), Bench::new());
    let (a, b) = (job("a", "hello", json!({})), job("b", "hello", json!({})));
    let other_run = engine.run(&b, &other.ctx);
    tokio::pin!(other_run);
    let doomed_run = async {
        let run = engine.run(&a, &doomed.ctx);
        let stop = async {
            let started = |name: &str| number_in(&lab.path(name)).is_some();
            until("both are started", || started("of-a") && started("of-b")).await;
            doomed.progress.wait_for(|report| report.fraction > 0.0).await;
            doomed.ctx.cancel.cancel();
        };
        futures_util::future::join(run, stop).await.0
    };
    let ended = tokio::select! {
        ended = within("cancelling", doomed_run) => ended,
        ended = &mut other_run => panic!("{ended:?}"),
    };
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    let alive = ["of-a", "of-b"].map(|name| is_alive(number_in(&lab.path(name)).unwrap()));
    assert_eq!(alive, [false, true]);
    other.ctx.cancel.cancel();
    assert!(matches!(within("the other's end", other_run).await, Err(RunError::Cancelled)));
}
