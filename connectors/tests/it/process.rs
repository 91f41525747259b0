//! Engine processes, real ones: what they are started with, how they run, stop, die and come back.
//! In: small programs written to a temporary folder. Out: what the connector made of them.

use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Interrupted, Reattached, RunError};
use connectors::files::Surroundings;
use connectors::process::{Gpu, Process, Settings, Timing};
use connectors::rest::Secrets;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(20);
const HELPER: &str = include_str!("../../python/gpu_worker_connector.py");

/// A folder with one engine, and the settings to drive it.
pub struct Lab {
    pub folder: tempfile::TempDir,
    pub settings: Settings,
}

impl Lab {
    /// Writes the program, with the helper beside it.
    pub fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gpu_worker_connector.py"), HELPER).unwrap();
        let path = folder.path().join("engine");
        write_program(&path, program);
        let settings = Settings {
            name: "engine",
            path,
            guard: vec![env!("CARGO_BIN_EXE_connector-guard").into()],
            env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
            scratch: folder.path().join("scratch"),
            gpu: None,
            memory: None,
            timing: Timing {
                obey: Duration::from_millis(300),
                pause_first: Duration::from_millis(1),
                ..Timing::default()
            },
        };
        Self { folder, settings }
    }

    pub fn engine(&self) -> Arc<Process> {
        let engine = Process::new(self.settings.clone());
        engine.offer(vec!["hello".to_owned()]);
        Arc::new(engine)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Another file under the same name, so that one that runs is not in the way.
pub fn write_program(path: &Path, program: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, program).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// A Python engine whose `run` is this.
pub fn python(run: &str) -> String {
    let body = run.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "#!/usr/bin/env python3\nimport os, signal, subprocess, sys, time\n\
         from gpu_worker_connector import serve, Failed\ndef run(job):\n{body}\nserve(run, services=['hello'])\n"
    )
}

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            pulse.tick().await;
        }
    };
    within(what, looking).await;
}

/// Alive and not only waiting to be buried.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub fn number_in(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[tokio::test]
async fn a_helper_engine_that_looks_for_cancels_stops_without_being_ended() {
    let mut lab = Lab::new(&python("job.progress(0.5)\nwhile True:\n  job.progress(0.5)\n  time.sleep(0.01)"));
    lab.settings.timing.obey = SOON;
    let engine = lab.engine();
    let described = engine.describe(SOON).await.unwrap();
    assert_eq!(described.services, ["hello"]);
    for _ in 0..2 {
        let bench = Bench::new();
        let wanted = job("j", "hello", json!({}));
        let run = engine.run(&wanted, &bench.ctx);
        let cancel = async {
            bench.progress.wait_for(|report| report.fraction > 0.0).await;
            bench.ctx.cancel.cancel();
        };
        let (ended, ()) = within("cancelling", futures_util::future::join(run, cancel)).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    }
}

#[tokio::test]
async fn an_engine_gets_its_gpu_and_nothing_of_the_agents_environment() {
    let program = python(
        "job.output('env.txt').write_text('\\n'.join(sorted(f'{k}={v}' for k, v in os.environ.items())))\n\
         return {'cwd': os.getcwd(), 'group': os.getpgid(0) == os.getpid(), 'unbuffered': sys.stdout.write_through}",
    );
    let mut lab = Lab::new(&program);
    lab.settings.gpu = Some(Gpu { index: 3, uuid: "GPU-abc".to_owned() });
    lab.settings.env.push(("CONNECTOR_ENGINE_KEY".to_owned(), "a secret word".to_owned()));
    let shown = format!("{:?}", lab.settings);
    assert!(shown.contains("CONNECTOR_ENGINE_KEY") && !shown.contains("a secret word"), "{shown}");
    let (engine, bench) = (lab.engine(), Bench::new());
    let outcome = within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await.unwrap();
    let text = String::from_utf8(bench.outputs.files()[0].bytes.to_vec()).unwrap();
    // Whatever a launcher of the interpreter adds: of what this process has, nothing but the path is there.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    let inherited = text.lines().find(|line| line.starts_with("CARGO") || line.starts_with("HOME="));
    assert_eq!(inherited, None, "{text}");
    assert!(text.contains("CUDA_VISIBLE_DEVICES=GPU-abc") && text.contains("GPU_WORKER_GPU=3"), "{text}");
    assert_eq!(outcome.data["cwd"], json!(lab.folder.path().canonicalize().unwrap()));
    assert_eq!(outcome.data["group"], json!(true), "it has a process group of its own");
    assert_eq!(outcome.data["unbuffered"], json!(true), "what it prints is heard at once");
}

#[tokio::test]
async fn an_engine_in_plain_shell_works_too() {
    let lab = Lab::new(include_str!("programs/echo.sh"));
    let (engine, bench) = (lab.engine(), Bench::new());
    assert!(within("the probe", engine.probe()).await.is_healthy());
    within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await.unwrap();
    assert_eq!(&bench.outputs.files()[0].bytes[..], b"from the shell");
    assert_eq!(bench.progress.reports()[0].fraction, 0.5);
}

#[tokio::test]
async fn what_a_dropped_run_started_is_stopped_all_the_same() {
    let lab = Lab::new(&python("job.progress(0.5)\nwhile True:\n  job.check()\n  time.sleep(0.01)"));
    let (engine, bench) = (lab.engine(), Bench::new());
    {
        let wanted = job("j", "hello", json!({}));
        let run = engine.run(&wanted, &bench.ctx);
        let moving = bench.progress.wait_for(|report| report.fraction > 0.0);
        tokio::select! {
            ended = run => panic!("{ended:?}"),
            () = moving => {}
        }
    }
    let id = bench.ledger.first_id().await;
    until("the run is gone", || !engine.is_at_work(&id)).await;
    assert_eq!(engine.interrupt(&id).await.unwrap(), Interrupted::NothingToStop);
}

async fn until_described(engine: &Process) {
    let asking = async {
        while engine.describe(SOON).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("it describes itself", asking).await;
}

#[tokio::test]
async fn an_engine_that_has_died_comes_back_after_a_rest_that_grows() {
    let lab = Lab::new(
        "#!/bin/sh\n[ -e well ] || exit 7\nread x\n\
                        echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}'\nread x\n",
    );
    let mut settings = lab.settings.clone();
    settings.timing.pause_first = Duration::from_millis(40);
    let engine = Process::new(settings);
    let said = engine.describe(SOON).await.unwrap_err().message;
    assert!(said.contains("exit code 7"), "{said}");
    // Not the file has changed, but what it finds.
    std::fs::write(lab.path("well"), "").unwrap();
    until_described(&engine).await;
    // Rests that outlast the test: a changed file is tried at once all the same, but a death remains a death.
    let mut settings = lab.settings.clone();
    settings.timing.pause_first = Duration::from_secs(3600);
    settings.timing.pause_longest = Duration::from_secs(3 * 3600);
    let engine = Process::new(settings);
    let mut rests = Vec::new();
    for death in 0..4 {
        write_program(&lab.settings.path, &format!("#!/bin/sh\nexit {death}\n{}", " ".repeat(death)));
        let said = engine.describe(SOON).await.unwrap_err().message;
        let rest = said.rsplit("is in ").next().and_then(|rest| rest.strip_suffix(" s")?.parse::<f64>().ok());
        rests.push((rest.unwrap_or_else(|| panic!("{said}")) / 3600.0).round());
    }
    assert_eq!(rests, [1.0, 2.0, 3.0, 3.0], "doubled, up to the longest");
    assert!(engine.describe(SOON).await.unwrap_err().message.contains("next start"), "it rests");
    write_program(&lab.settings.path, &python("pass"));
    engine.describe(SOON).await.unwrap();
}

#[tokio::test]
async fn a_process_that_runs_goes_on_as_it_is_when_its_file_changes_until_it_is_closed() {
    let lab = Lab::new(&python("return {'version': 1}"));
    let engine = lab.engine();
    let run = async || {
        let bench = Bench::new();
        within("a run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await
    };
    assert_eq!(run().await.unwrap().data, json!({ "version": 1 }));
    write_program(&lab.settings.path, &python("return {'version': 2}"));
    assert_eq!(run().await.unwrap().data, json!({ "version": 1 }));
    within("its end", engine.close("it was replaced")).await;
    let said = run().await.unwrap_err().to_string();
    assert!(said.contains("not used any more"), "{said}");
}

#[tokio::test]
async fn work_that_outlives_its_process_is_found_again_and_other_work_is_unknown() {
    let lab = Lab::new(&python("return {'again': True}"));
    let ordinary = lab.engine();
    ordinary.describe(SOON).await.unwrap();
    let (id, bench) = (uuid::Uuid::new_v4().to_string(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let found = ordinary.reattach(&wanted, &id, &bench.ctx).await.unwrap();
    assert_eq!(found, Reattached::Unknown);
    let lasting = Lab::new(include_str!("programs/lasting.py"));
    let engine = lasting.engine();
    engine.describe(SOON).await.unwrap();
    let found = within("reattaching", engine.reattach(&wanted, &id, &bench.ctx)).await.unwrap();
    assert_eq!(found, Reattached::Unknown);
    std::fs::write(lasting.path(&id), "done").unwrap();
    let found = within("reattaching", engine.reattach(&wanted, &id, &bench.ctx)).await.unwrap();
    let Reattached::Done(outcome) = found else { panic!("{found:?}") };
    assert_eq!(outcome.data, json!({ "found": "done" }));
    assert_eq!(engine.interrupt(&id).await.unwrap(), Interrupted::Stopped);
    assert_eq!(engine.interrupt(&id).await.unwrap(), Interrupted::NothingToStop);
    assert_eq!(engine.interrupt("../outside").await.unwrap(), Interrupted::NothingToStop);
}

#[tokio::test]
async fn nothing_of_an_engine_outlives_it() {
    // A grandchild in a session of its own, whose parent has gone: no process group leads to it.
    let program = python(
        "subprocess.run(['sh', '-c', 'setsid sleep 600 & echo $! > orphan'])\n\
         open('me', 'w').write(str(os.getpid()))\njob.progress(0.5)\ntime.sleep(600)",
    );
    let lab = Lab::new(&program);
    let (engine, bench) = (lab.engine(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let run = engine.run(&wanted, &bench.ctx);
    let cancel = async {
        bench.progress.wait_for(|report| report.fraction > 0.0).await;
        assert!(is_alive(number_in(&lab.path("orphan")).unwrap()));
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = within("cancelling", futures_util::future::join(run, cancel)).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    for file in ["me", "orphan"] {
        assert!(!is_alive(number_in(&lab.path(file)).unwrap()), "{file} lives on");
    }
}

#[tokio::test]
async fn orphans_that_end_while_the_engine_lives_are_buried_at_once() {
    let lab = Lab::new(&python(
        "for _ in range(5):\n  subprocess.run(['sh', '-c', 'setsid sh -c \"echo \\\\$\\\\$ >> orphans\" &'])\n\
         job.progress(0.5)\njob.sleep(600)",
    ));
    let (engine, bench) = (lab.engine(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let run = engine.run(&wanted, &bench.ctx);
    let look = async {
        let orphans = || std::fs::read_to_string(lab.path("orphans")).unwrap_or_default();
        until("all have been there", || orphans().lines().count() == 5).await;
        let there = |pid: &str| Path::new("/proc").join(pid).exists();
        until("none is left", || !orphans().lines().any(there)).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = within("the run", futures_util::future::join(run, look)).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
}

#[tokio::test]
async fn scratch_folders_are_gone_with_their_runs() {
    let lab = Lab::new(&python("job.output('a/b.txt').write_text('x')\n(job.scratch / 'left').write_text('y')"));
    let (engine, bench) = (lab.engine(), Bench::new());
    let outcome = within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await.unwrap();
    assert_eq!(outcome.outputs[0].name, "b.txt");
    assert_eq!(std::fs::read_dir(&lab.settings.scratch).unwrap().count(), 0);
    std::fs::create_dir_all(lab.settings.scratch.join("of-an-earlier-agent")).unwrap();
    let (scratch, memory) = (lab.settings.scratch.clone(), None);
    let (secrets, timing) = (Secrets::new(), Timing::default());
    let around = Surroundings { guard: Vec::new(), env: Vec::new(), secrets, scratch, memory, timing };
    (0..2).for_each(|_| around.clear().unwrap());
    assert!(!lab.settings.scratch.exists());
}

#[tokio::test]
async fn two_runs_at_once_only_where_the_engine_says_so() {
    let program = python("while not os.path.exists('go'):\n  job.progress(0.5)\n  time.sleep(0.01)");
    let both = Lab::new(&program.replace("services=['hello']", "services=['hello'], concurrency=2"));
    let engine = both.engine();
    assert_eq!(engine.describe(SOON).await.unwrap().concurrency, 2);
    let (one, two) = (Bench::new(), Bench::new());
    let (first, second) = (job("a", "hello", json!({})), job("b", "hello", json!({})));
    let go = async {
        one.progress.wait_for(|report| report.fraction > 0.0).await;
        two.progress.wait_for(|report| report.fraction > 0.0).await;
        std::fs::write(both.path("go"), "").unwrap();
    };
    let runs = futures_util::future::join3(engine.run(&first, &one.ctx), engine.run(&second, &two.ctx), go);
    let (first, second, ()) = within("two runs at once", runs).await;
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
}
