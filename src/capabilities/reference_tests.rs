//! The reference's answers, row by row, beside ours: the same, or another with the reason in the row. The column of the
//! reference was taken from its own matching function, run on Redis 7.0.15.
//! In: requirements, job fields, worker. Out: failures.

use super::*;
use crate::capabilities::worker::tests::{parts, reference_worker};
use crate::capabilities::{Capabilities, Parts};
use crate::config::Isolation;
use Answer::{Error, Match, No};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Match,
    No,
    /// The reference: a Lua error that stops every worker. Ours: that one job fails as `validation_error`.
    Error,
}

struct Row {
    requirement: &'static str,
    reference: Answer,
    ours: Answer,
    /// Why ours differs; empty where it does not.
    why: &'static str,
}

const fn same(requirement: &'static str, answer: Answer) -> Row {
    Row { requirement, reference: answer, ours: answer, why: "" }
}

const fn differs(requirement: &'static str, reference: Answer, ours: Answer, why: &'static str) -> Row {
    Row { requirement, reference, ours, why }
}

const WRITTEN: &str = "what a job asks is never ignored: it would run on the wrong machine";
const TYPED: &str =
    "offered or documented there and never matched; here it is matched against what the worker declares";

fn ask(worker: &Capabilities, job: &[(&str, &str)]) -> Answer {
    let hash: HashMap<&str, &str> = job.iter().copied().collect();
    match fit_job(|name| hash.get(name).copied(), worker) {
        Ok(Fit::Fits) => Match,
        Ok(Fit::Misfit(reasons)) => {
            assert!(!reasons.is_empty() && reasons.iter().all(|reason| !reason.to_string().is_empty()));
            No
        }
        Ok(Fit::NeedsFields(fields)) => panic!("the raw hash is whole, yet {fields:?} are asked for"),
        Err(unreadable) => {
            assert!(!unreadable.to_string().is_empty());
            Error
        }
    }
}

fn check(rows: &[Row], worker: &Capabilities) {
    for row in rows {
        let answer = ask(worker, &[("service_required", "comfyui"), ("requirements", row.requirement)]);
        assert_eq!(answer, row.ours, "{}", row.requirement);
        assert_eq!(row.why.is_empty(), row.reference == row.ours, "give a reason, or none: {}", row.requirement);
    }
}

fn worker_with(change: impl FnOnce(&mut Parts)) -> Capabilities {
    let mut parts = parts();
    change(&mut parts);
    Capabilities::new(parts)
}

#[test]
fn requirements_as_a_whole() {
    check(
        &[
            same("", Match),
            same("{}", Match),
            same("[]", Match),
            differs("{malformed", Match, Error, "it asked for something; matching everybody runs it anywhere"),
            same("null", Error),
            same("5", Error),
            same("\"text\"", Error),
            differs("[1]", No, Error, "it waits for ever there; here its producer hears why"),
        ],
        &reference_worker(),
    );
}

#[test]
fn hardware() {
    check(
        &[
            same(r#"{"hardware":{"gpu_memory_gb":24}}"#, Match),
            same(r#"{"hardware":{"gpu_memory_gb":25}}"#, No),
            same(r#"{"hardware":{"gpu_memory_gb":"all"}}"#, Match),
            same(r#"{"hardware":{"ram_gb":64}}"#, Match),
            same(r#"{"hardware":{"ram_gb":65}}"#, No),
            differs(r#"{"hardware":{"gpu_memory_gb":"16"}}"#, Error, Match, "forms send numbers as text; it means 16"),
            differs(r#"{"hardware":{"gpu_memory_gb":"48"}}"#, Error, No, "forms send numbers as text; it means 48"),
            same(r#"{"hardware":{"gpu_memory_gb":"big"}}"#, Error),
            same(r#"{"hardware":{"ram_gb":null}}"#, Error),
            same(r#"{"hardware":null}"#, Error),
            same(r#"{"hardware":5}"#, Error),
            same(r#"{"hardware":"all"}"#, Match),
            same(r#"{"hardware":{}}"#, Match),
            same(r#"{"hardware":false}"#, Match),
            differs(r#"{"hardware":"RTX 4090"}"#, Match, Error, WRITTEN),
            differs(
                r#"{"hardware":{"cpu_cores":1}}"#,
                No,
                Match,
                "the reference's worker never tells its cores; ours does",
            ),
            differs(
                r#"{"hardware":{"cpu_cores":16}}"#,
                No,
                Match,
                "the reference's worker never tells its cores; ours does",
            ),
            same(r#"{"hardware":{"cpu_cores":17}}"#, No),
            differs(r#"{"hardware":{"gpu_model":"H100"}}"#, Match, No, WRITTEN),
            same(r#"{"hardware":{"gpu_model":"RTX 4090"}}"#, Match),
            same(r#"{"hardware":{"gpu_model":["H100","rtx4090"]}}"#, Match),
            differs(r#"{"hardware":{"gpu":{"memory_gb":80}}}"#, Match, No, WRITTEN),
            same(r#"{"hardware":{"gpu":{"memory_gb":8}}}"#, Match),
            differs(r#"{"hardware":{"gpu":{"model":"H100"}}}"#, Match, No, WRITTEN),
            same(r#"{"hardware":{"gpu_count":1}}"#, Match),
            differs(r#"{"hardware":{"gpu_count":2}}"#, Match, No, WRITTEN),
            differs(r#"{"hardware":{"storage_gb":100}}"#, Match, No, WRITTEN),
        ],
        &reference_worker(),
    );
}

#[test]
fn a_worker_that_declares_text_for_a_number() {
    // The reference compares what the worker sent: text or `all` there is a Lua error. Here a worker's sizes are numbers
    // by type, so the case cannot come up; a worker without the value is a plain misfit.
    let bare = worker_with(|parts| {
        parts.hardware.gpu_memory_gb = None;
        parts.hardware.ram_gb = None;
        parts.hardware.cpu_cores = None;
        parts.hardware.gpu_model = None;
        parts.hardware.gpu_count = 0;
    });
    check(
        &[
            same(r#"{"hardware":{"gpu_memory_gb":1}}"#, No),
            same(r#"{"hardware":{"ram_gb":1}}"#, No),
            same(r#"{"hardware":{"cpu_cores":1}}"#, No),
            differs(r#"{"hardware":{"gpu_model":"RTX 4090"}}"#, Match, No, WRITTEN),
            same(r#"{"hardware":{"gpu_memory_gb":"all"}}"#, Match),
        ],
        &bare,
    );
}

#[test]
fn models() {
    check(
        &[
            same(r#"{"models":["sdxl.safetensors"]}"#, Match),
            same(r#"{"models":["missing.safetensors"]}"#, No),
            same(r#"{"models":["sdxl.safetensors","missing.safetensors"]}"#, No),
            same(r#"{"models":[]}"#, Match),
            same(r#"{"models":"all"}"#, Match),
            same(r#"{"models":"sdxl.safetensors"}"#, Match),
            differs(r#"{"models":"missing.safetensors"}"#, Match, No, "one name is a list of one"),
            same(r#"{"models":null}"#, Match),
            same(r#"{"models":{}}"#, Match),
            same(r#"{"models":{"comfyui":["sdxl.safetensors"]}}"#, Match),
            differs(r#"{"models":{"comfyui":["missing.safetensors"]}}"#, Match, No, WRITTEN),
            same(r#"{"models":[null]}"#, Error),
            same(r#"{"models":[["sdxl.safetensors"]]}"#, Error),
            differs(r#"{"models":5}"#, Match, Error, "a number names no model"),
        ],
        &reference_worker(),
    );
    let boundless = worker_with(|parts| parts.engines[0].models = vec!["all".into()]);
    check(&[differs(r#"{"models":["x"]}"#, No, Match, "a worker that declares `all` has every model")], &boundless);
}

#[test]
fn customers() {
    let strict = worker_with(|parts| parts.traits.isolation = Isolation::Strict);
    let rows =
        |strict| [same(r#"{"customer_isolation":"strict"}"#, strict), same(r#"{"customer_isolation":"loose"}"#, Match)];
    check(&rows(No), &reference_worker());
    check(&rows(Match), &strict);
    check(
        &[
            differs(r#"{"customer_isolation":"very"}"#, Match, Error, "a word that promises nothing known"),
            same(r#"{"customer_isolation":null}"#, Match),
        ],
        &reference_worker(),
    );

    let allow = worker_with(|parts| parts.traits.allowed_customers = vec!["a".into()]);
    let deny = worker_with(|parts| parts.traits.denied_customers = vec!["b".into()]);
    let loose = ("requirements", r#"{"customer_isolation":"loose"}"#);
    let always = "the owner's lists count for every job; there they count only for jobs that name customer_isolation";
    for (worker, customer, requirement, reference, ours, why) in [
        (&allow, Some(""), loose, No, No, ""),
        (&allow, None, loose, Match, No, "a job without a customer is not a listed customer's"),
        (&allow, Some("a"), loose, Match, Match, ""),
        (&allow, Some("b"), loose, No, No, ""),
        (&deny, Some("b"), loose, No, No, ""),
        (&deny, Some("a"), loose, Match, Match, ""),
        (&deny, Some(""), loose, Match, Match, ""),
        (&allow, Some("b"), ("requirements", ""), Match, No, always),
        (&deny, Some("b"), ("requirements", ""), Match, No, always),
        (&allow, Some("a"), ("requirements", ""), Match, Match, ""),
        (&deny, None, ("requirements", ""), Match, Match, ""),
    ] {
        let mut job = vec![("service_required", "comfyui"), requirement];
        job.extend(customer.map(|customer| ("customer_id", customer)));
        assert_eq!(ask(worker, &job), ours, "{job:?}");
        assert_eq!(why.is_empty(), reference == ours, "{job:?}");
    }
}

#[test]
fn custom_keys() {
    check(
        &[
            same(r#"{"features":["lora"]}"#, Match),
            same(r#"{"features":"lora"}"#, Match),
            same(r#"{"features":[]}"#, Match),
            same(r#"{"features":{}}"#, Match),
            same(r#"{"features":["lora","zzz"]}"#, No),
            same(r#"{"sla_tier":"gold"}"#, Match),
            same(r#"{"sla_tier":["gold"]}"#, No),
            same(r#"{"sla_tier":null}"#, No),
            same(r#"{"sla_tier":5}"#, No),
            same(r#"{"max_batch_size":3}"#, Match),
            same(r#"{"max_batch_size":4}"#, Match),
            same(r#"{"max_batch_size":5}"#, No),
            same(r#"{"max_batch_size":"4"}"#, No),
            same(r#"{"metadata.version":"1.2.3"}"#, Match),
            same(r#"{"metadata":{"version":"1.2.3"}}"#, Match),
            same(r#"{"metadata":{"version":"1.2.4"}}"#, No),
            same(r#"{"hardware.gpu_model":"RTX 4090"}"#, Match),
            differs(
                r#"{"nested":{"one":{"two":"deep"}}}"#,
                No,
                Match,
                "the nested form says the same as the dotted key, which matches there too",
            ),
            same(r#"{"nested.one.two":"deep"}"#, Match),
            same(r#"{"nested":{"one":{"two":"other"}}}"#, No),
            same(r#"{"debugging_enabled":true}"#, Match),
            same(r#"{"experimental_mode":false}"#, No),
            same(r#"{"services":["comfyui"]}"#, Match),
            same(r#"{"services":["a1111"]}"#, No),
            same(r#"{"service_type":"something else"}"#, Match),
            same(r#"{"worker_id":"gpu-1"}"#, Match),
            same(r#"{"worker_id":"gpu-2"}"#, No),
        ],
        &reference_worker(),
    );
}

#[test]
fn keys_that_the_submission_type_offers() {
    let declared = worker_with(|parts| {
        parts.traits.region = Some("eu-west".into());
        parts.traits.country = Some("DE".into());
        parts.traits.compliance = vec!["gdpr".into(), "hipaa".into()];
        parts.traits.cost_tier = Some("economy".into());
        parts.traits.rate_per_hour = Some(0.5);
        parts.traits.components = vec!["upscale".into()];
    });
    check(
        &[
            differs(r#"{"component":"all"}"#, No, Match, TYPED),
            differs(r#"{"workflow":"all"}"#, No, Match, TYPED),
            differs(r#"{"component":"upscale"}"#, No, Match, TYPED),
            differs(r#"{"workflow":["upscale"]}"#, No, Match, TYPED),
            same(r#"{"component":"inpaint"}"#, No),
            differs(r#"{"quality_level":"fast"}"#, No, Match, TYPED),
            differs(r#"{"quality_level":["fast","Quality"]}"#, No, Match, TYPED),
            same(r#"{"quality_level":"ultra"}"#, No),
            differs(r#"{"timeout_minutes":60}"#, No, Match, TYPED),
            differs(r#"{"timeout_minutes":"60"}"#, No, Match, TYPED),
            same(r#"{"timeout_minutes":61}"#, No),
            differs(r#"{"timeout_minutes":"soon"}"#, No, Error, "it waits for ever there; here its producer hears why"),
            differs(r#"{"geographic_region":"EU-West"}"#, No, Match, TYPED),
            differs(r#"{"geographic_region":"de"}"#, No, Match, TYPED),
            same(r#"{"geographic_region":"us-east"}"#, No),
            differs(r#"{"compliance":["GDPR"]}"#, No, Match, TYPED),
            same(r#"{"compliance":["gdpr","soc2"]}"#, No),
            differs(r#"{"max_rate_per_hour":0.5}"#, No, Match, TYPED),
            same(r#"{"max_rate_per_hour":0.4}"#, No),
            same(r#"{"max_rate_per_hour":0}"#, No),
            differs(r#"{"cost_tier":["standard","economy"]}"#, No, Match, TYPED),
            same(r#"{"cost_tier":"premium"}"#, No),
        ],
        &declared,
    );
    // What a worker does not declare, it does not promise; only components are free where none are listed.
    check(
        &[
            same(r#"{"geographic_region":"de"}"#, No),
            same(r#"{"compliance":["gdpr"]}"#, No),
            same(r#"{"max_rate_per_hour":100}"#, No),
            same(r#"{"cost_tier":"economy"}"#, No),
            differs(r#"{"component":"inpaint"}"#, No, Match, TYPED),
        ],
        &reference_worker(),
    );
}

#[test]
fn positive_and_negative() {
    let alone = "the word itself is taken for a capability there, so that nobody ever matches";
    check(
        &[
            differs(r#"{"negative_requirements":{"features":["zzz"]}}"#, No, Match, alone),
            same(r#"{"negative_requirements":{"features":["lora"]}}"#, No),
            differs(r#"{"negative_requirements":{}}"#, No, Match, alone),
            differs(r#"{"sla_tier":"gold","negative_requirements":{"features":["zzz"]}}"#, No, Match, alone),
            same(r#"{"positive_requirements":{}}"#, Match),
            same(r#"{"positive_requirements":{},"negative_requirements":{"features":["zzz"]}}"#, Match),
            same(r#"{"positive_requirements":{},"negative_requirements":{"features":["lora"]}}"#, No),
            same(r#"{"positive_requirements":{},"negative_requirements":{"features":["lora","zzz"]}}"#, Match),
            same(r#"{"positive_requirements":{},"negative_requirements":{"features":["lora","controlnet"]}}"#, No),
            same(r#"{"positive_requirements":{},"negative_requirements":{"hardware":{"gpu_memory_gb":16}}}"#, No),
            same(r#"{"positive_requirements":{},"negative_requirements":{"hardware":{"gpu_memory_gb":48}}}"#, Match),
            same(r#"{"positive_requirements":{},"negative_requirements":{"hardware":{"gpu_model":"RTX 4090"}}}"#, No),
            same(r#"{"positive_requirements":{},"negative_requirements":{"hardware":{"gpu_model":"H100"}}}"#, Match),
            differs(
                r#"{"positive_requirements":{},"negative_requirements":{"models":["sdxl.safetensors"]}}"#,
                Match,
                No,
                WRITTEN,
            ),
            same(r#"{"positive_requirements":{},"negative_requirements":{"models":["missing.safetensors"]}}"#, Match),
            same(
                r#"{"positive_requirements":{},"negative_requirements":{"models":{"comfyui":["sdxl.safetensors"]}}}"#,
                No,
            ),
            same(
                r#"{"positive_requirements":{},"negative_requirements":{"metadata":{"version":"1.2.3","other":1}}}"#,
                Match,
            ),
            same(r#"{"positive_requirements":{},"negative_requirements":{"metadata":{"version":"1.2.3"}}}"#, No),
            same(r#"{"positive_requirements":{},"negative_requirements":{"sla_tier":null}}"#, Match),
            differs(
                r#"{"positive_requirements":{},"negative_requirements":{"quality_level":"fast"}}"#,
                Match,
                No,
                TYPED,
            ),
            same(r#"{"positive_requirements":{},"negative_requirements":{"component":"upscale"}}"#, Match),
            same(r#"{"positive_requirements":null}"#, Error),
            same(r#"{"positive_requirements":{},"negative_requirements":null}"#, Error),
            differs(
                r#"{"negative_requirements":null}"#,
                No,
                Error,
                "it waits for ever there; here its producer hears why",
            ),
            same(r#"{"positive_requirements":{"hardware":{"gpu_memory_gb":25}}}"#, No),
            differs(r#"{"positive_requirements":{},"hardware":{"gpu_memory_gb":25}}"#, Match, No, WRITTEN),
            differs(
                r#"{"positive_requirements":{"sla_tier":"gold"},"sla_tier":"silver"}"#,
                Match,
                Error,
                "two answers to one question; picking one would be a guess",
            ),
        ],
        &reference_worker(),
    );
    let isolated = worker_with(|parts| parts.traits.isolation = Isolation::Strict);
    let refuses = |word: &str| format!(r#"{{"negative_requirements":{{"customer_isolation":"{word}"}}}}"#);
    let job = |text: &str| ask(&isolated, &[("service_required", "comfyui"), ("requirements", text)]);
    assert_eq!((job(&refuses("strict")), job(&refuses("loose"))), (No, Match));
}

#[test]
fn dedication_and_service() {
    let dedicated = worker_with(|parts| parts.workflow_id = Some("w1".into()));
    let workflow = |id: &str| ask(&dedicated, &[("service_required", "comfyui"), ("workflow_id", id)]);
    assert_eq!(ask(&dedicated, &[("service_required", "comfyui")]), No);
    assert_eq!((workflow(""), workflow("w1"), workflow("w2")), (No, Match, No));
    let free = reference_worker();
    assert_eq!(ask(&free, &[("service_required", "comfyui"), ("workflow_id", "w2")]), Match);
    assert_eq!(ask(&free, &[("service_required", "")]), No);
    assert_eq!(ask(&free, &[("service_required", "a1111")]), No);
    assert_eq!(ask(&free, &[]), Match);
    let idle = worker_with(|parts| parts.engines[0].healthy = false);
    assert_eq!(ask(&idle, &[("service_required", "comfyui")]), No);
    // Differs: the reference would take it without any engine that could run it.
    assert_eq!(ask(&idle, &[]), No);
}
