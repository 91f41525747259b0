//! The conformance suite on engines that are files: good ones pass, and bad ones are seen from outside.
//! In: small engines, some of which work on after they were told to stop. Out: verdicts.

use crate::conformance::{BOUNDS, assert_conforms};
use crate::process::{self, python};
use crate::rest::{ASYNC, Lab, SYNC};
use connectors::conformance::{self, Bounds, EngineFile, Verdict};
use connectors::files::One;
use connectors::process::Payloads;
use serde_json::{Value, json};
use std::time::Duration;

const HELLO: &str = include_str!("../../python/hello.py");
const CANCEL: &str = "a cancel in mid-run stops the engine's work";
const INTERRUPT: &str = "interrupting twice is harmless";
const NEIGHBOUR: &str = "cancelling one run leaves the other alone";
const MIXING: &str = "two runs side by side do not mix";

fn payloads(ok: Value, slow: Value, failing: Value) -> Payloads {
    Payloads { ok, other: None, slow, failing, failure_type: "validation_error".to_owned() }
}

async fn program(lab: &process::Lab) -> EngineFile {
    let engine = lab.engine();
    // It is up, and its places are known, before the suite begins, as they are to the command.
    engine.describe(process::SOON).await.unwrap();
    let given = payloads(json!({ "name": "Ada", "seconds": 0 }), json!({ "name": "Ada", "seconds": 600 }), json!({}));
    EngineFile::new(One::Process(engine), "hello".to_owned(), given)
}

fn definition(lab: &Lab, slow: Value) -> EngineFile {
    let given = payloads(json!({}), slow, json!({ "status": 422 }));
    EngineFile::new(One::Rest(lab.rest.clone()), "draw".to_owned(), given)
}

fn of<'a>(verdicts: &'a [Verdict], check: &str) -> &'a Verdict {
    verdicts.iter().find(|verdict| verdict.check == check).unwrap_or_else(|| panic!("no check {check:?}"))
}

/// Faults are read by people: nothing in them is a value as the compiler prints it.
fn assert_plain(verdicts: &[Verdict]) {
    for said in verdicts.iter().flat_map(|it| [&it.fault, &it.not_judged]).flatten() {
        let odd = ["Ok(", "Err(", "Some(", "Failed(", "Failure {", "StillRunning", "NothingToStop", "Cancelled"];
        assert!(!odd.iter().any(|word| said.contains(word)), "{said}");
    }
}

#[tokio::test]
async fn the_python_example_conforms() {
    let lab = process::Lab::new(HELLO);
    assert_conforms(&program(&lab).await).await;
}

#[tokio::test]
async fn an_asynchronous_http_engine_conforms_and_all_of_it_is_judged() {
    let lab = Lab::new(ASYNC).await;
    let verdicts = conformance::run(&definition(&lab, json!({ "steps": 100_000 })), &BOUNDS).await;
    assert!(verdicts.iter().all(|it| it.fault.is_none() && it.not_judged.is_none()), "{verdicts:#?}");
}

#[tokio::test]
async fn of_a_synchronous_http_engine_the_suite_says_what_nobody_can_see() {
    // Two jobs have two texts, but the same picture: what both always give was not mixed up.
    let lab = Lab::new(SYNC).await;
    let verdicts = conformance::run(&definition(&lab, json!({ "slow": true })), &BOUNDS).await;
    assert_eq!(conformance::faults(&verdicts), None);
    let open: Vec<&str> = verdicts.iter().filter(|it| it.not_judged.is_some()).map(|it| it.check).collect();
    assert_eq!(open, [CANCEL, INTERRUPT]);
}

#[tokio::test]
async fn a_server_that_takes_a_cancel_and_works_on_is_found_by_what_it_says_when_it_is_polled() {
    for (deaf, how) in [("words", "it still says \"running\""), ("figures", "but its progress went from ")] {
        let lab = Lab::stopping_within(Duration::from_millis(200), ASYNC).await;
        let slow = json!({ "steps": 100_000, "deaf": deaf });
        let verdicts = conformance::run(&definition(&lab, slow), &BOUNDS).await;
        let fault = of(&verdicts, CANCEL).fault.clone().unwrap_or_else(|| panic!("{deaf}: {verdicts:#?}"));
        assert!(fault.contains("goes on after its stop") && fault.contains(how), "{deaf}: {fault}");
        assert!(of(&verdicts, INTERRUPT).fault.is_some(), "{deaf}: {verdicts:#?}");
        assert_plain(&verdicts);
    }
}

/// Answers cancels at once, as it should, but what it has started goes on doing this.
fn deaf(what: &str) -> String {
    python(&format!(
        "import threading, gpu_worker_connector as helper\n\
         def work():\n  while True:\n    try: {what}\n    except OSError: pass\n    time.sleep(0.01)\n\
         job.progress(0.5)\n\
         if job.get('seconds'): threading.Thread(target=work, daemon=True).start()\n\
         job.sleep(job.get('seconds', 0))\njob.output('a.txt').write_text(job.need('name') + job.id)"
    ))
}

#[tokio::test]
async fn a_process_that_works_on_after_its_cancel_is_found_by_what_it_reports_and_writes() {
    let reports = "helper._say({'method': 'progress', 'params': {'id': job._run_id, 'fraction': 0.6}})";
    // Its folder may be taken away between the one and the other.
    let writes = "job.scratch.mkdir(parents=True, exist_ok=True); (job.scratch / 'x').write_text('x')";
    for (what, how) in [(reports, "has reported progress "), (writes, "writes into it")] {
        let lab = process::Lab::new(&deaf(what));
        let verdicts = conformance::run(&program(&lab).await, &BOUNDS).await;
        for check in [CANCEL, INTERRUPT] {
            let fault = of(&verdicts, check).fault.clone().unwrap_or_else(|| panic!("{how}: {verdicts:#?}"));
            assert!(fault.contains("goes on after its stop") && fault.contains(how), "{fault}");
        }
        assert_eq!(verdicts.iter().filter(|it| it.fault.is_some()).count(), 2, "{verdicts:#?}");
    }
}

/// Files that depend on the payload alone; with a common file runs at once write over each other's.
fn deterministic(path: &str) -> String {
    python(&format!(
        "job.progress(0.1)\njob.sleep(job.get('seconds', 0))\nat_work.add(job.id)\n\
         for _ in range(100):\n  if len(at_work) < 2: job.sleep(0.005)\n\
         {path}.write_text(job.need('name'))\njob.sleep(0.3)\nat_work.discard(job.id)\n\
         job.output('a.txt').write_text({path}.read_text())"
    ))
    .replace("def run(job):", "at_work = set()\ndef run(job):")
    .replace("services=['hello']", "services=['hello'], concurrency=2")
}

#[tokio::test]
async fn files_that_depend_on_the_payload_alone_are_judged_with_another_payload_and_else_said_not_to_be() {
    let verdict = async |program: &str, other: Option<Value>| {
        let lab = process::Lab::new(program);
        let (ok, slow) = (json!({ "name": "Ada" }), json!({ "name": "Ada", "seconds": 600 }));
        let given = Payloads { other, ..payloads(ok, slow, json!({})) };
        let engine = lab.engine();
        // Its places are known before the suite begins, as they are to the command.
        engine.describe(process::SOON).await.unwrap();
        let subject = EngineFile::new(One::Process(engine), "hello".to_owned(), given);
        let verdicts = conformance::run(&subject, &BOUNDS).await;
        of(&verdicts, MIXING).clone()
    };
    let (own, common) = (deterministic("(job.scratch / 'b')"), deterministic("helper_common"));
    let common =
        common.replace("def run(job):", "from pathlib import Path\nhelper_common = Path('common')\ndef run(job):");
    let other = || Some(json!({ "name": "Bob" }));
    let same = verdict(&own, None).await;
    assert!(same.fault.is_none() && same.not_judged.clone().is_some_and(|why| why.contains("`other`")), "{same:?}");
    let judged = verdict(&own, other()).await;
    assert!(judged.fault.is_none() && judged.not_judged.is_none(), "{judged:?}");
    let mixed = verdict(&common, other()).await;
    assert!(mixed.fault.clone().is_some_and(|fault| fault.contains("the same files")), "{mixed:?}");
}

/// Several at once, none of which can be told to stop.
fn stubborn(concurrency: usize) -> String {
    python("job.progress(0.5)\ntime.sleep(job.get('seconds', 0))\njob.output('a.txt').write_text(job.need('name') + job.id)")
        .replace("services=['hello']", &format!("services=['hello'], concurrency={concurrency}"))
}

#[tokio::test]
async fn an_engine_that_has_to_be_ended_for_a_cancel_is_told_of_the_neighbour_that_it_loses() {
    let lab = process::Lab::new(&stubborn(2));
    let engine = lab.engine();
    engine.describe(process::SOON).await.unwrap();
    let given = payloads(json!({ "name": "Ada", "seconds": 0.2 }), json!({ "name": "Ada", "seconds": 600 }), json!({}));
    let subject = EngineFile::new(One::Process(engine), "hello".to_owned(), given);
    let verdicts = conformance::run(&subject, &BOUNDS).await;
    for check in [CANCEL, INTERRUPT] {
        let fault = of(&verdicts, check).fault.clone().unwrap_or_else(|| panic!("{verdicts:#?}"));
        assert!(fault.contains("had to be ended") && fault.contains("all that it was at"), "{fault}");
    }
    let fault = of(&verdicts, NEIGHBOUR).fault.clone().unwrap_or_else(|| panic!("{verdicts:#?}"));
    assert!(fault.contains("neighbour") && fault.contains("did not stop a cancelled job"), "{fault}");
    assert_plain(&verdicts);
}

#[tokio::test]
async fn of_an_engine_with_one_place_that_has_to_be_ended_for_a_cancel_the_suite_says_so() {
    let lab = process::Lab::new(&stubborn(1));
    let verdicts = conformance::run(&program(&lab).await, &BOUNDS).await;
    assert_eq!(conformance::faults(&verdicts), None);
    for check in [CANCEL, INTERRUPT] {
        let said = of(&verdicts, check).not_judged.clone().unwrap_or_else(|| panic!("{verdicts:#?}"));
        assert!(said.contains("had to be ended"), "{said}");
    }
}

#[tokio::test]
async fn a_program_that_the_engine_has_started_and_that_works_on_after_the_cancel_is_found() {
    let tick = "'while :; do echo x >> ticks; sleep 0.02; done'";
    let of_its_own = format!("subprocess.Popen(['sh', '-c', {tick}], start_new_session=True)");
    // Its parent has ended: nothing but its folder says whose it is.
    let orphan = format!("subprocess.run(['sh', '-c', 'setsid sh -c \"$0\" &', {tick}], cwd=job.scratch)");
    for start in [of_its_own, orphan] {
        let lab = process::Lab::new(&python(&format!(
            "if job.get('seconds'): {start}\njob.progress(0.5)\njob.sleep(job.get('seconds', 0))\n\
             job.output('a.txt').write_text(job.need('name') + job.id)"
        )));
        let verdicts = conformance::run(&program(&lab).await, &BOUNDS).await;
        for check in [CANCEL, INTERRUPT] {
            let fault = of(&verdicts, check).fault.clone().unwrap_or_else(|| panic!("{start}: {verdicts:#?}"));
            assert!(fault.contains("a program that it had started") && fault.contains("(process "), "{start}: {fault}");
        }
        assert_plain(&verdicts);
    }
}

#[tokio::test]
async fn a_child_that_is_still_there_after_the_cancel_and_does_nothing_is_not_judged_and_one_at_work_is_a_fault() {
    let idle = "subprocess.Popen(['sleep', '600'])";
    let busy = "subprocess.Popen(['sh', '-c', 'while :; do :; done'])";
    for (start, is_fault) in [(idle, false), (busy, true)] {
        let lab = process::Lab::new(&python(&format!(
            "if job.get('seconds'): {start}\njob.progress(0.5)\njob.sleep(job.get('seconds', 0))\n\
             job.output('a.txt').write_text(job.need('name') + job.id)"
        )));
        // Long enough to be given a share of a processor that others want, too.
        let bounds = Bounds { watch: Duration::from_secs(1), ..BOUNDS };
        let verdicts = conformance::run(&program(&lab).await, &bounds).await;
        let Verdict { fault, not_judged, .. } = of(&verdicts, CANCEL);
        let (fault, open) = (fault.clone().unwrap_or_default(), not_judged.clone().unwrap_or_default());
        let told = if is_fault { fault.contains("`sh` (process ") } else { open.contains("`sleep` (process ") };
        assert!(told && fault.is_empty() != is_fault, "{verdicts:#?}");
    }
}

#[tokio::test]
async fn a_failure_with_an_unknown_reason_is_a_fault_that_names_the_nearest_known_one() {
    let lab = process::Lab::new(&python(
        "job.progress(0.5)\nif job.get('name') is None: raise Failed('no', 'missing_required_feild')\n\
         job.sleep(job.get('seconds', 0))\njob.output('a.txt').write_text(job.need('name') + job.id)",
    ));
    let verdicts = conformance::run(&program(&lab).await, &BOUNDS).await;
    let fault = of(&verdicts, "a failure is typed and its text fit to show").fault.clone().unwrap_or_default();
    assert!(fault.contains("`missing_required_feild`") && fault.contains("`missing_required_field`"), "{fault}");
}
