//! Engines that do what no engine should: one row a fault, with the answer that is expected.
//! In: hostile programs. Out: a failure with the right word, an engine that works again afterwards, a bounded agent.

use crate::process::{Lab, is_alive, number_in, python, until, within};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Health, RunError};
use connectors::failure::{Failure, Reason};
use futures_util::StreamExt;
use serde_json::json;
use std::time::Duration;

async fn failure(lab: &Lab) -> Failure {
    let (engine, bench) = (lab.engine(), Bench::new());
    let ended = within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await;
    assert!(bench.outputs.files().is_empty(), "a failed run stored outputs");
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// What a job gets that meets this `run`.
const RUNS: &[(&str, &str, Reason, &str)] = &[
    ("dies in the middle", "os._exit(3)", Reason::ServiceDown, "exit code 3"),
    ("is killed in the middle", "os.kill(os.getpid(), signal.SIGKILL)", Reason::ServiceDown, "signal 9"),
    ("closes its output", "os.close(_fd())", Reason::ServiceDown, "standard output"),
    ("raises", "raise ValueError('no good')", Reason::InternalError, "ValueError: no good"),
    ("leaves by sys.exit", "sys.exit(1)", Reason::InternalError, "SystemExit"),
    ("names its own reason", "raise Failed('full', 'gpu_memory_full')", Reason::GpuMemoryFull, "full"),
    ("invents a reason", "raise Failed('odd', 'bad_hair_day')", Reason::UnknownError, "odd"),
    ("names a type as its reason", "raise Failed('odd', 'validation_error')", Reason::InvalidPayload, "odd"),
    (
        "invents a reason of a known type",
        "reply('\"error\":{\"message\":\"odd\",\"data\":{\"type\":\"rate_limit\",\"reason\":\"too_hasty\"}}')",
        Reason::RequestsPerMinute,
        "odd",
    ),
    ("lacks a field", "job.need('prompt')", Reason::MissingRequiredField, "`prompt`"),
    ("answers nonsense", "return_('nonsense')", Reason::InvalidResponseFormat, "cannot be used"),
    ("answers with no number", "return {'x': float('nan')}", Reason::InternalError, "not JSON compliant"),
    ("raises no number", "raise Failed('odd', retry_after=float('inf'))", Reason::UnknownError, "odd"),
    ("says half a character", "raise Failed('a\\ud800b', 'gpu_memory_full')", Reason::GpuMemoryFull, "a?b"),
    ("has an error that is none", "reply('\"error\":\"boom\"')", Reason::InvalidResponseFormat, "its `error`"),
    ("has an error of another shape", "reply('\"error\":{\"code\":\"E\"}')", Reason::InvalidResponseFormat, "`error`"),
    ("writes its id as a text", "reply('\"result\":{}', '\"2\"')", Reason::InvalidResponseFormat, "`id`"),
    ("answers with a list", "reply('\"result\":[]')", Reason::InvalidResponseFormat, "an object, not a list"),
    ("answers with a text", "reply('\"result\":\"a\"')", Reason::InvalidResponseFormat, "an object, not a text"),
    ("answers with true", "reply('\"result\":true')", Reason::InvalidResponseFormat, "an object, not true or false"),
    (
        "names its outputs without an object",
        "reply('\"result\":{\"outputs\":[[\"a\"]]}')",
        Reason::InvalidResponseFormat,
        "an object, not a list",
    ),
    ("has a list as its error", "reply('\"error\":[1,\"a\"]')", Reason::InvalidResponseFormat, "its `error`"),
    ("answers nothing", "reply('\"more\":1')", Reason::InvalidResponseFormat, "neither"),
    ("answers NaN", "reply('\"result\":{\"data\":NaN}')", Reason::InvalidResponseFormat, "line 1"),
    (
        "answers NaN before its id",
        "late('{\"data\":NaN}', 2)",
        Reason::InvalidResponseFormat,
        "near `{\"jsonrpc\":\"2.0\",\"result\":{\"data\":NaN}",
    ),
    ("answers -Infinity before its id", "late('[-Infinity,\"}\"]', 2)", Reason::InvalidResponseFormat, "near `{"),
    ("answers no JSON to nobody", "late('{\"data\":NaN}', '\"x\"')", Reason::InvalidResponseFormat, "near `{"),
    (
        "answers half a character",
        "reply('\"error\":{\"message\":\"\\\\ud800\"}')",
        Reason::InvalidResponseFormat,
        "line 1",
    ),
    ("answers too much", "return {'x': 'y' * 100_000}", Reason::InvalidResponseFormat, "bytes of `data`"),
    ("writes an endless line", "raw(b'x' * (17 << 20))", Reason::ServiceDown, "more than 16 MiB"),
    ("names a file it has not written", "job.output('a.png')", Reason::MissingExpectedData, "`a.png`"),
    ("climbs out", "name('../../secret')", Reason::InvalidResponseFormat, "outside"),
    ("names a file elsewhere", "name('/etc/hostname')", Reason::InvalidResponseFormat, "outside"),
    ("names its folder itself", "name('.')", Reason::InvalidResponseFormat, "outside"),
    ("links out", "os.symlink('/etc/hostname', job.output('a'))", Reason::InvalidResponseFormat, "symbolic link"),
    (
        "links a folder out",
        "os.symlink('/etc', job.scratch / 'etc'); name('etc/hostname')",
        Reason::InvalidResponseFormat,
        "symbolic link",
    ),
    ("names a pipe", "os.mkfifo(job.output('a'))", Reason::InvalidResponseFormat, "no regular file"),
    ("names a folder", "os.mkdir(job.output('a'))", Reason::InvalidResponseFormat, "no regular file"),
    ("sends what is no base64", "inline({'base64': '???'})", Reason::InvalidResponseFormat, "base64"),
    ("sends two at once", "inline({'base64': '', 'text': ''})", Reason::InvalidResponseFormat, "one of"),
    ("names too many", "[name('a') for _ in range(1001)]", Reason::InvalidResponseFormat, "1001 outputs"),
];

/// The means to misbehave, in front of `run`.
const MEANS: &str = "
import gpu_worker_connector as helper, json
def _fd(): return helper._out.fileno()
def raw(data):
    helper._out.write(data); helper._out.flush(); time.sleep(600)
def late(result, id):
    raw(('{\"jsonrpc\":\"2.0\",\"result\":' + result + ',\"id\":' + str(id) + '}\\n').encode())
def reply(rest, id='2'):
    raw(('{\"jsonrpc\":\"2.0\",\"id\":' + id + ',' + rest + '}\\n').encode())
";

fn misbehaving(run: &str) -> String {
    let tail = "
name = lambda path: job._outputs.append({'path': path})
inline = lambda output: job._outputs.append(output)
return_ = lambda what: job._outputs.append(what)
";
    let body = if run.starts_with("os.close") { format!("{run}\ntime.sleep(600)") } else { run.to_owned() };
    python(&format!("{tail}{body}")).replace("def run(job):", &format!("{MEANS}\ndef run(job):"))
}

#[tokio::test]
async fn a_job_on_a_broken_engine_fails_with_the_right_word() {
    let rows = RUNS.iter().map(|(fault, run, reason, said)| async move {
        let lab = Lab::new(&misbehaving(run));
        let found = failure(&lab).await;
        assert_eq!(found.reason, *reason, "{fault}: {found:?}");
        assert!(found.message.contains(said), "{fault}: {found:?}");
        assert!(!found.message.contains(lab.folder.path().to_str().unwrap()), "{fault} tells a path: {found:?}");
    });
    futures_util::stream::iter(rows).buffer_unordered(4).collect::<Vec<()>>().await;
}

/// Programs that never become engines, and what a probe says of them.
const STARTS: &[(&str, &str, &str)] = &[
    ("ends at once", "#!/bin/sh\nexit 4\n", "exit code 4"),
    ("has no interpreter", "#!/no/such/interpreter\n", "exit code 127"),
    ("is no program", "just text\n", "exit code"),
    (
        "speaks another protocol",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":9,\"services\":[\"a\"]}}'; read x\n",
        "protocol 9",
    ),
    (
        "has no services",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[]}}'; read x\n",
        "`services`",
    ),
    (
        "describes itself with a list",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":[1,[\"hello\"]]}'; read x\n",
        "an object, not a list",
    ),
    (
        "has an odd service",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"a b\"]}}'; read x\n",
        "\"a b\"",
    ),
    (
        "has an unknown member",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"a\"],\"gpus\":true}}'; read x\n",
        "gpus",
    ),
    (
        "refuses to describe itself",
        "#!/bin/sh\nread x; echo '{\"id\":1,\"error\":{\"code\":1,\"message\":\"not today\"}}'; read x\n",
        "not today",
    ),
    ("never answers", "#!/bin/sh\nwhile read x; do :; done\n", "did not answer `describe`"),
    (
        "ignores SIGTERM and never answers",
        "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n",
        "did not answer `describe`",
    ),
];

#[tokio::test]
async fn what_is_no_engine_is_unhealthy_with_a_reason() {
    for (fault, program, said) in STARTS {
        let mut lab = Lab::new(program);
        if fault.contains("never answers") {
            lab.settings.timing.describe = Duration::from_millis(200);
        }
        let engine = lab.engine();
        let _ = within("describing", engine.describe(Duration::from_secs(15))).await;
        let probe = within("the probe", engine.probe()).await;
        let Health::Unhealthy(why) = probe.health else { panic!("{fault}: healthy") };
        assert!(why.contains(said), "{fault}: {why}");
    }
}

#[tokio::test]
async fn an_engine_that_has_crashed_on_one_job_takes_the_next() {
    let lab = Lab::new(&python("if job.payload.get('crash'):\n  os._exit(9)\nreturn {'fine': True}"));
    let engine = lab.engine();
    for _ in 0..2 {
        let bench = Bench::new();
        let crashing = job("j", "hello", json!({ "crash": true }));
        let ended = within("a crash", engine.run(&crashing, &bench.ctx)).await;
        let suspected = |failure: &Failure| failure.hosts_fault && failure.ended_engine;
        assert!(matches!(ended, Err(RunError::Failed(ref failure)) if suspected(failure)), "{ended:?}");
        let bench = Bench::new();
        let ended = within("the next", engine.run(&job("k", "hello", json!({})), &bench.ctx)).await;
        assert_eq!(ended.unwrap().data, json!({ "fine": true }));
    }
}

#[tokio::test]
async fn noise_on_both_outputs_does_no_harm() {
    let noise = "print('a debug line')\nos.write(2, b'e' * 3_000_000)\nfor _ in range(20_000):\n  os.write(2, b'flood\\n')\n\
                 import gpu_worker_connector as helper\nhelper._out.write(b'no json\\n[1,2]\\n\\n{\\xff}\\n' * 500)\n\
                 helper._out.write(b'{\"jsonrpc\":\"2.0\",\"id\":999,\"result\":1}\\n{\"method\":\"unheard\"}\\n')\n\
                 job.progress(float(7)); job.progress(-3.5); return {'fine': True}";
    let lab = Lab::new(&python(noise));
    let (engine, bench) = (lab.engine(), Bench::new());
    let ended = within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await;
    assert_eq!(ended.unwrap().data, json!({ "fine": true }));
    let fractions: Vec<_> = bench.progress.reports().iter().map(|report| report.fraction).collect();
    assert_eq!(fractions, [1.0, 1.0, 1.0], "progress stays within its bounds and never falls");
}

#[tokio::test]
async fn an_engine_that_ignores_cancel_and_sigterm_is_killed_and_comes_back() {
    let program = python(
        "open('me', 'w').write(str(os.getpid()))\njob.progress(0.5)\nif job.payload.get('hang'):\n  time.sleep(600)",
    )
    .replace("serve(run", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve(run");
    let lab = Lab::new(&program);
    let (engine, bench) = (lab.engine(), Bench::new());
    let hanging = job("j", "hello", json!({ "hang": true }));
    let run = engine.run(&hanging, &bench.ctx);
    let cancel = async {
        bench.progress.wait_for(|report| report.fraction > 0.0).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = within("cancelling", futures_util::future::join(run, cancel)).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    let first = number_in(&lab.path("me")).unwrap();
    assert!(!is_alive(first), "it lives on");
    let bench = Bench::new();
    within("the next", engine.run(&job("k", "hello", json!({})), &bench.ctx)).await.unwrap();
    assert_ne!(number_in(&lab.path("me")).unwrap(), first);
}

#[tokio::test]
async fn an_engine_that_stops_reading_is_ended() {
    let program = "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}'\n\
                   while :; do sleep 1; done\n";
    let mut lab = Lab::new(program);
    lab.settings.timing.write = Duration::from_millis(200);
    let (engine, bench) = (lab.engine(), Bench::new());
    // Larger than a pipe holds.
    let large = job("j", "hello", json!({ "text": "x".repeat(1 << 20) }));
    let ended = within("the run", engine.run(&large, &bench.ctx)).await;
    let Err(RunError::Failed(failure)) = ended else { panic!("{ended:?}") };
    assert!(failure.message.contains("does not read"), "{failure:?}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_and_says_not_to_whom_fails_all_that_wait_at_once() {
    let program = misbehaving("job.progress(0.5)\nif job.payload.get('last'): late('NaN', '\"x\"')\ntime.sleep(600)")
        .replace("services=['hello']", "services=['hello'], concurrency=2");
    let lab = Lab::new(&program);
    let engine = lab.engine();
    engine.describe(Duration::from_secs(15)).await.unwrap();
    let (one, two) = (Bench::new(), Bench::new());
    let (first, last) = (job("a", "hello", json!({})), job("b", "hello", json!({ "last": true })));
    let second = async {
        one.progress.wait_for(|report| report.fraction > 0.0).await;
        engine.run(&last, &two.ctx).await
    };
    let ended = within("both", futures_util::future::join(engine.run(&first, &one.ctx), second)).await;
    for ended in [ended.0, ended.1] {
        let Err(RunError::Failed(failure)) = ended else { panic!("{ended:?}") };
        assert!(failure.hosts_fault && failure.message.contains("near `{"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_payload_that_is_no_object_is_refused_in_words_by_whoever_looks_for_a_field() {
    let lab = Lab::new(include_str!("../../python/hello.py"));
    let engine = lab.engine();
    for (payload, said) in
        [(json!([1]), "a list"), (json!(7), "a number"), (json!("x"), "a text"), (json!(null), "null")]
    {
        let bench = Bench::new();
        let ended = within("the run", engine.run(&job("j", "hello", payload.clone()), &bench.ctx)).await;
        let Err(RunError::Failed(failure)) = ended else { panic!("{payload}: {ended:?}") };
        assert_eq!(failure.reason, Reason::InvalidPayload, "{failure:?}");
        assert_eq!(failure.message, format!("the payload must be an object, not {said}"));
    }
    let lab = Lab::new(&python("return {'given': job.payload}"));
    let (engine, bench) = (lab.engine(), Bench::new());
    let ended = within("the run", engine.run(&job("j", "hello", json!([1, "a"])), &bench.ctx)).await;
    assert_eq!(ended.unwrap().data, json!({ "given": [1, "a"] }), "an engine is given whatever the JSON is");
}

#[tokio::test]
async fn an_engine_that_closes_its_input_with_a_question_unread_in_it_is_ended_at_once() {
    let program = "#!/usr/bin/env python3\nimport os, select, time\nos.read(0, 65536)\n\
                   os.write(1, b'{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}\\n')\n\
                   select.select([0], [], [])\nos.close(0)\ntime.sleep(600)\n";
    let found = failure(&Lab::new(program)).await;
    assert!(found.hosts_fault && found.message.contains("closed its standard input"), "{found:?}");
}

#[tokio::test]
async fn an_engine_that_closes_its_input_after_it_has_read_the_question_may_answer_it() {
    let program = "#!/bin/sh\nread x; echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}'\n\
                   read x; exec 0<&-; until [ -e go ]; do sleep 0.01; done\necho '{\"id\":2,\"result\":{}}'\n";
    let lab = Lab::new(program);
    let (engine, bench) = (lab.engine(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let go = async {
        until("the agent has seen that it is closed", || lab.path("scratch").exists()).await;
        std::fs::write(lab.path("go"), "").unwrap();
    };
    let (ended, ()) = within("the run", futures_util::future::join(engine.run(&wanted, &bench.ctx), go)).await;
    ended.unwrap();
}

#[tokio::test]
async fn an_engine_that_closes_its_input_is_ended() {
    let lab = Lab::new(
        "#!/bin/sh\nread x; exec 0<&-\necho '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}'\n\
         while :; do sleep 1; done\n",
    );
    let found = failure(&lab).await;
    assert!(found.hosts_fault && found.message.contains("closed its standard input"), "{found:?}");
}

#[tokio::test]
async fn an_engine_that_leaves_health_checks_unanswered_is_started_anew() {
    let program = "#!/bin/sh\necho x >> starts\nread x\n\
                   echo '{\"id\":1,\"result\":{\"protocol\":1,\"services\":[\"hello\"]}}'\nwhile read x; do :; done\n";
    let mut lab = Lab::new(program);
    lab.settings.timing.probe = Duration::from_millis(100);
    let engine = lab.engine();
    engine.describe(Duration::from_secs(15)).await.unwrap();
    let starts = || std::fs::read_to_string(lab.path("starts")).unwrap_or_default().lines().count();
    while starts() < 2 {
        assert!(!within("a probe", engine.probe()).await.is_healthy());
    }
}

#[tokio::test]
async fn memory_has_a_limit_that_the_job_hears_of() {
    let program = python("return {'bytes': len(bytearray(job.payload['bytes']))}");
    let mut lab = Lab::new(&program);
    lab.settings.memory = Some(512 << 20);
    let engine = lab.engine();
    let run = async |bytes: u64| {
        let bench = Bench::new();
        within("a run", engine.run(&job("j", "hello", json!({ "bytes": bytes })), &bench.ctx)).await
    };
    let Err(RunError::Failed(failure)) = run(1 << 30).await else { panic!("there is no limit") };
    assert_eq!(failure.reason, Reason::OutOfMemory);
    // It hit a wall and lives on; below the limit there is room.
    assert_eq!(run(1 << 20).await.unwrap().data, json!({ "bytes": 1 << 20 }));
}

#[tokio::test]
async fn an_engine_whose_guard_is_killed_is_gone_too() {
    let lab = Lab::new(&python(
        "open('me', 'w').write(f'{os.getpid()}')\nopen('guard', 'w').write(f'{os.getppid()}')\njob.progress(0.5)\ntime.sleep(600)",
    ));
    let (engine, bench) = (lab.engine(), Bench::new());
    let wanted = job("j", "hello", json!({}));
    let run = engine.run(&wanted, &bench.ctx);
    let kill = async {
        bench.progress.wait_for(|report| report.fraction > 0.0).await;
        let guard = number_in(&lab.path("guard")).unwrap();
        assert!(std::process::Command::new("kill").args(["-KILL", &guard.to_string()]).status().unwrap().success());
    };
    let (ended, ()) = within("the end", futures_util::future::join(run, kill)).await;
    let Err(RunError::Failed(failure)) = ended else { panic!("{ended:?}") };
    assert_eq!(failure.reason, Reason::ServiceDown, "{failure:?}");
    let me = number_in(&lab.path("me")).unwrap();
    until("the engine is gone with its guard", || !is_alive(me)).await;
}
