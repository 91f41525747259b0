//! Typed notices: everything that an operator is told.
//! In: facts. Out: one log line each, with fields that programs can read, and the numbers that are counted of it.

use super::history::Made;
use super::{history, metrics, told};
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// Something worth telling.
#[derive(Debug)]
#[allow(missing_docs, reason = "fields carry the names under which they are logged")]
pub enum Notice<'a> {
    /// The agent runs.
    Started { workers: &'a [String], machine: &'a str, version: &'a str },
    /// The agent has left in order.
    Stopped,
    /// SIGTERM: no more claims, running jobs may finish.
    Draining { running: usize, allowed: Duration },
    /// Redis cannot be reached; told once an outage.
    RedisLost { error: String },
    /// Redis answers, but refuses a call: rights, memory, a key of a wrong type.
    RedisRefuses { error: String },
    /// Redis no longer refuses calls in this way.
    RedisAccepts { code: &'a str, after: Duration },
    /// Redis answers again.
    RedisBack { after: Duration, at: &'a str },
    /// Redis has restarted or failed over, and has been told again what it may have lost.
    Reasserted { held: usize, ends: usize, restored: usize },
    /// A worker is registered.
    Registered { worker: &'a str, instance: &'a str },
    /// A newer process has this worker id.
    Superseded { worker: &'a str, by: &'a str },
    /// Something else is wanted of a worker: `running`, `paused` or `draining`. `by`: who said so, if known.
    Desired { worker: &'a str, desired: &'static str, by: &'a str },
    /// A worker that was told to drain has nothing left to do.
    Drained { worker: &'a str },
    /// An engine can take work.
    EngineHealthy { engine: &'a str, version: Option<&'a str>, models: usize },
    /// An engine cannot take work.
    EngineUnhealthy { engine: &'a str, why: &'a str },
    /// Something that keeps failing is no longer offered for a while.
    LeftOut { engine: &'a str, part: String, pause: Duration, why: &'a str, remedy: &'a str },
    /// It is offered again; the next job that needs it decides.
    OnTrial { engine: &'a str, part: String },
    /// A job that needed it went well.
    TrustedAgain { engine: &'a str, part: String },
    /// Memory ran out in mid-run: it is freed, and the job tried once more.
    OutOfMemory { job: &'a str, message: &'a str },
    /// A job is held.
    Claimed { worker: &'a str, job: &'a str, attempt: u64 },
    /// A job that an earlier process of this worker held is taken up again.
    TakenUp { worker: &'a str, job: &'a str, started: bool },
    /// The engine was still at work for a job that has gone to somebody else.
    OrphanStopped { worker: &'a str, job: &'a str, engine: &'a str },
    /// A job has failed that an earlier process of this worker held: it has lost its worker too often.
    GivenUp { worker: &'a str, job: &'a str },
    /// The end of a job that an earlier process could not hand in has been handed in.
    HandedIn { worker: &'a str, job: &'a str, became: String },
    /// The engine is about to be given a job.
    HandedToEngine { worker: &'a str, job: &'a str, service: &'a str, after: Duration },
    /// A job's result was accepted.
    Completed {
        worker: &'a str,
        job: &'a str,
        service: &'a str,
        outputs: usize,
        bytes: u64,
        took: Duration,
        made: &'a [Made],
    },
    /// Outputs cannot be stored: the worker claims nothing until they can.
    CannotStore { place: &'a str, error: &'a str },
    /// An upload that came to nothing could not be cleaned away.
    UploadLeft { message: &'a str },
    /// An attempt failed. `retry_in`: another one follows.
    Failed {
        worker: &'a str,
        job: &'a str,
        service: &'a str,
        kind: &'a str,
        reason: &'a str,
        message: &'a str,
        remedy: &'a str,
        retry_in: Option<Duration>,
        took: Duration,
    },
    /// A job was stopped because somebody cancelled it.
    Cancelled { worker: &'a str, job: &'a str, service: &'a str, took: Duration },
    /// A job was given back.
    Released { worker: &'a str, job: &'a str, service: &'a str, why: &'a str },
    /// A job was taken away: its work is thrown away.
    Lost { worker: &'a str, job: &'a str, service: &'a str, state: &'a str },
    /// A job that nobody could understand was failed.
    Rejected { job: &'a str, why: &'a str },
    /// An id that cannot be used left the queue.
    Expelled { id: String },
    /// Too many different sets of requirements wait.
    TooManyClasses { left_out: usize },
    /// Time passed for jobs of others.
    Ticked { reaped: u64, given_up: u64, purged: u64, time_jumped: bool },
    /// Something about the hardware or the pairing of engines and GPUs.
    Hardware { note: &'a str },
    /// Something about an engine that is a file of CONNECTORS_DIR.
    EngineFile { file: &'a str, note: &'a str },
    /// An engine that is a file is in use, or the changed file is.
    EngineFileInUse { file: &'a str, services: String, changed: bool },
    /// A file cannot be used. `kept`: the engine that it was before goes on.
    EngineFileFault { file: &'a str, fault: &'a str, kept: bool },
    /// The engine that a file was is out of the offer; its runs may end.
    EngineFileRetired { engine: &'a str, why: &'a str, runs: usize },
    /// A GPU may not work any more; its workers claim nothing that needs it.
    GpuFenced { gpu: u32, reason: &'a str, remedy: &'a str },
    /// A GPU may work again. `check`: what was made sure of.
    GpuBack { gpu: u32, after: Duration, check: &'a str },
    /// A GPU looked well again, but did not do what it was asked to.
    GpuCheckFailed { gpu: u32, why: &'a str },
    /// A GPU reported an error of a program that runs on it, or one that is not known here.
    GpuReports { gpu: u32, what: String, remedy: &'a str },
    /// The dashboard answers there: for this machine, and for others if it is open to them.
    DashboardAt { url: &'a str, elsewhere: &'a str },
    /// The dashboard was given an order; `told` is what it answered.
    Ordered { order: &'a str, done: bool, told: &'a str },
    /// Commands of this machine cannot find the dashboard: where it is could not be written down.
    DashboardUnknown { error: String },
    /// The dashboard has no port yet; told once.
    NoDashboard { address: String, error: String },
    /// A configuration warning.
    Config { warning: String },
}

/// Tells it.
pub fn tell(notice: Notice<'_>) {
    use Notice::*;
    metrics::of_process().hear(&notice);
    history::of_process().hear(&notice);
    told::of_process().sign(jiff::Timestamp::now().as_millisecond());
    match notice {
        Started { workers, machine, version } => {
            info!(workers = workers.join(","), machine, version, "gpu-worker started");
        }
        Stopped => info!("gpu-worker stopped"),
        Draining { running, allowed } => {
            info!(running, allowed_seconds = allowed.as_secs(), "draining: no more claims, running jobs may finish");
        }
        RedisLost { error } => warn!(error, "Redis cannot be reached; running jobs go on, trying again"),
        RedisRefuses { error } => error!(error, "Redis refuses what the agent asks of it"),
        RedisAccepts { code, after } => {
            info!(code, refused_ms = after.as_millis() as u64, "Redis takes what it refused before");
        }
        RedisBack { after, at } => info!(outage_ms = after.as_millis() as u64, at, "Redis is back"),
        Reasserted { held, ends, restored } => {
            info!(held, ends, restored, "Redis has restarted or failed over; told it again what it may have lost");
        }
        Registered { worker, instance } => info!(worker, instance, "registered"),
        Superseded { worker, by } => {
            error!(worker, by, "another process with this worker id has started after this one; stopping");
        }
        Desired { worker, desired: "running", by } => info!(worker, by, "resumed: jobs are claimed again"),
        Desired { worker, desired, by } => info!(worker, desired, by, "claims no more jobs; running ones go on"),
        Drained { worker } => info!(worker, "drained: nothing of it runs any more"),
        EngineHealthy { engine, version, models } => {
            info!(engine, version = version.unwrap_or("unknown"), models, "engine is healthy");
        }
        EngineUnhealthy { engine, why } => warn!(engine, why, "engine cannot take work; its services are not offered"),
        LeftOut { engine, part, pause, why, remedy } => {
            let seconds = pause.as_secs();
            warn!(engine, part, seconds, why, remedy, "left out of the offer for a while");
        }
        OnTrial { engine, part } => info!(engine, part, "offered again, on trial"),
        TrustedAgain { engine, part } => info!(engine, part, "works again"),
        OutOfMemory { job, message } => {
            warn!(job, message, "out of memory: the engine was asked to free its own; trying once more");
        }
        Claimed { worker, job, attempt } => info!(worker, job, attempt, "claimed"),
        UploadLeft { message } => {
            warn!(message, "an unfinished upload stays in its bucket until a lifecycle rule of the bucket removes it");
        }
        CannotStore { place, error } => {
            warn!(place, error, "outputs cannot be stored; no jobs are claimed until they can");
        }
        TakenUp { worker, job, started } => info!(worker, job, started, "taken up after a restart"),
        OrphanStopped { worker, job, engine } => {
            info!(worker, job, engine, "stopped the engine's work of an earlier run; somebody else has the job");
        }
        GivenUp { worker, job } => warn!(worker, job, "failed as worker_lost: too many workers died of it or with it"),
        HandedIn { worker, job, became } => info!(worker, job, became, "handed in after a restart"),
        HandedToEngine { worker, job, service, after } => {
            debug!(worker, job, service, after_ms = after.as_millis() as u64, "handed to the engine");
        }
        Completed { worker, job, service, outputs, bytes, took, .. } => {
            info!(worker, job, service, outputs, bytes, took_ms = took.as_millis() as u64, "completed");
        }
        Failed { worker, job, service, kind, reason, message, remedy, retry_in, took } => {
            let then = match retry_in {
                Some(pause) => format!("another attempt in {:.1} s", pause.as_secs_f64()),
                None => "failed for good".to_owned(),
            };
            let took_ms = took.as_millis() as u64;
            warn!(worker, job, service, kind, reason, message, remedy, then, took_ms, "attempt failed");
        }
        Cancelled { worker, job, service, took } => {
            info!(worker, job, service, took_ms = took.as_millis() as u64, "cancelled");
        }
        Released { worker, job, service, why } => info!(worker, job, service, why, "given back"),
        Lost { worker, job, service, state } => {
            warn!(worker, job, service, state, "no longer held; its work is thrown away");
        }
        Rejected { job, why } => warn!(job, why, "job refused: it cannot be understood"),
        Expelled { id } => warn!(id, "an id that cannot be used was taken out of the queue"),
        TooManyClasses { left_out } => {
            warn!(left_out, "too many different sets of requirements wait; further foreign jobs are not indexed yet");
        }
        Ticked { reaped, given_up, purged, time_jumped } => {
            info!(reaped, given_up, purged, time_jumped, "tick");
        }
        Hardware { note } => info!(note, "hardware"),
        EngineFile { file, note } => warn!(file, note, "engine of CONNECTORS_DIR"),
        EngineFileInUse { file, services, changed } => {
            info!(file, services, changed, "engine of CONNECTORS_DIR is in use");
        }
        EngineFileFault { file, fault, kept: false } => warn!(file, fault, "engine of CONNECTORS_DIR is not used"),
        EngineFileFault { file, fault, kept: true } => {
            warn!(file, fault, "changed engine of CONNECTORS_DIR cannot be used: what it was before stays in use");
        }
        EngineFileRetired { engine, why, runs } => info!(engine, why, runs, "out of the offer; its runs may end"),
        GpuFenced { gpu, reason, remedy } => {
            error!(gpu, reason, remedy, "GPU fenced: no jobs that need it are claimed");
        }
        GpuBack { gpu, after, check } => {
            info!(gpu, after_s = after.as_secs(), check, "GPU is back: its jobs are claimed again");
        }
        GpuCheckFailed { gpu, why } => warn!(gpu, why, "GPU stays fenced: it failed the check"),
        GpuReports { gpu, what, remedy } => warn!(gpu, what, remedy, "GPU reports an error; jobs go on"),
        DashboardAt { url, elsewhere: "" } => info!(url, "dashboard"),
        DashboardAt { url, elsewhere } => {
            let other_names = "are refused unless WORKER_DASHBOARD_ALLOWED_HOSTS has them";
            info!(url, elsewhere, other_names, "dashboard");
        }
        Ordered { order, done: true, told } => info!(order, told, "order carried out"),
        Ordered { order, done: false, told } => info!(order, told, "order refused"),
        DashboardUnknown { error } => {
            warn!(error, "STATE_DIR cannot be written: `gpu-worker pause` and its like will not find this agent");
        }
        NoDashboard { address, error } => {
            warn!(address, error, "no dashboard: its port cannot be opened; jobs go on, trying again");
        }
        Config { warning } => warn!(warning, "configuration"),
    }
}
