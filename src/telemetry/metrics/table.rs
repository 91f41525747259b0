//! The table of metrics: each once, with its name, kind, labels and one sentence.
//! In: nothing. Out: `TABLE`, from which the registry and docs/metrics.md are made.

use super::Kind::{self, Counter, Gauge, Histogram};

/// One metric.
#[derive(Debug)]
pub struct Row {
    /// Its name; that of a counter is shown with `_total` behind it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

impl Row {
    /// The name of its samples; a histogram's begin with it.
    pub fn sample(&self) -> String {
        let suffix = if matches!(self.kind, Counter) { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }
}

/// From a simulated job to an hour of video.
const JOB_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
/// What lies between a claim and the engine: milliseconds, unless inputs are fetched or Redis is away.
const START_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What an agent can be at.
pub const STATES: [&str; 9] =
    ["starting", "redis_away", "draining", "fenced", "paused", "no_store", "no_engine", "working", "idle"];

/// Rows read `Variant kind "name" [labels] "sentence"`.
macro_rules! table {
    ($($variant:ident ($kind:expr) $name:literal [$($label:literal),*] $help:literal)*) => {
        /// A metric, by its place in the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric { $(#[doc = $help] $variant),* }

        /// Every metric, in the order in which they are shown.
        pub static TABLE: &[Row] = &[$(Row { name: $name, kind: $kind, labels: &[$($label),*], help: $help }),*];
    };
}

table! {
    JobsClaimed (Counter) "gpu_worker_jobs_claimed" []
        "Jobs that this agent began to hold: each attempt, and each job taken over."
    JobsTakenOver (Counter) "gpu_worker_jobs_taken_over" []
        "Of these, jobs of an earlier process of this worker, taken up after a restart."
    JobsCompleted (Counter) "gpu_worker_jobs_completed" ["service"]
        "Jobs whose result was accepted."
    JobsFailed (Counter) "gpu_worker_jobs_failed" ["service", "type", "reason", "end"]
        "Failed attempts by failure type and reason; end is final, or retried where another attempt follows."
    JobsCancelled (Counter) "gpu_worker_jobs_cancelled" ["service"]
        "Held jobs that were cancelled, their engine's work stopped."
    JobsReleased (Counter) "gpu_worker_jobs_released" ["service"]
        "Jobs given back without charge."
    JobsLost (Counter) "gpu_worker_jobs_lost" ["service"]
        "Jobs that somebody else had in the end; their work was thrown away."
    JobsRefused (Counter) "gpu_worker_jobs_refused" []
        "Waiting jobs that nobody could understand and that were failed unrun."
    JobsHandedIn (Counter) "gpu_worker_jobs_handed_in" ["became"]
        "Ends of jobs that an earlier process could not hand in, handed in after a restart."
    JobSeconds (Histogram(JOB_SECONDS)) "gpu_worker_job_duration_seconds" ["service", "end"]
        "From claim to accepted end; end is completed, failed, retried or cancelled."
    JobStartSeconds (Histogram(START_SECONDS)) "gpu_worker_job_start_delay_seconds" ["service"]
        "From the claim until the engine is given the work."
    OutputsStored (Counter) "gpu_worker_outputs" ["service"]
        "Outputs of completed jobs."
    OutputBytes (Counter) "gpu_worker_output_bytes" ["service"]
        "Bytes of the outputs of completed jobs."
    OutOfMemory (Counter) "gpu_worker_out_of_memory" []
        "Runs in which memory ran out and that were tried once more after it was freed."
    State (Gauge) "gpu_worker_state" ["state"]
        "1 for what the agent is at, 0 for the rest: starting, redis_away, draining, fenced, paused, no_store, no_engine, working, idle."
    StateSince (Gauge) "gpu_worker_state_since_timestamp_seconds" []
        "When that began, in seconds since 1970."
    Slots (Gauge) "gpu_worker_slots" ["state"]
        "Slots by what they do: idle, busy, paused, drained, fenced (their GPU may not work), no_store (their outputs cannot be stored), waiting_for_engine, engine_full (other slots have all its places)."
    SlotsDesired (Gauge) "gpu_worker_slots_desired" ["desired"]
        "Slots by what is wanted of them: running, paused, draining; a busy one may be paused."
    SlotState (Gauge) "gpu_worker_slot_state" ["worker", "gpu", "state"]
        "Always 1; the labels tell the worker's card and what its slot does."
    Draining (Gauge) "gpu_worker_draining" []
        "1 once the agent was told to stop: it claims no more."
    JobInfo (Gauge) "gpu_worker_job_info" ["worker", "service", "engine", "stage"]
        "1 while the worker has a job; stage is waiting (in the engine's queue), working, fetching (files) or unseen."
    JobAttempt (Gauge) "gpu_worker_job_attempt" ["worker"]
        "How often the worker's job was claimed, by whomever."
    JobClaimed (Gauge) "gpu_worker_job_claimed_timestamp_seconds" ["worker"]
        "When the worker's job was claimed, in seconds since 1970."
    JobStarted (Gauge) "gpu_worker_job_started_timestamp_seconds" ["worker"]
        "When its engine got it; absent before, and of a run of an earlier process."
    JobCancelling (Gauge) "gpu_worker_job_cancelling" ["worker"]
        "1 while the worker's job is being stopped."
    JobProgress (Gauge) "gpu_worker_job_progress_ratio" ["worker"]
        "How far the worker's job is, 0 to 1; absent without a job, and before its engine has told."
    JobStep (Gauge) "gpu_worker_job_step" ["worker"]
        "The step that the worker's job is at, where its engine counts steps."
    JobSteps (Gauge) "gpu_worker_job_steps" ["worker"]
        "How many steps that makes in all."
    JobLeft (Gauge) "gpu_worker_job_left_seconds" ["worker"]
        "What is probably left of the worker's job, learned from past runs of its service."
    JobLeftRuns (Gauge) "gpu_worker_job_left_learned_runs" ["worker"]
        "Runs that this was learned from."
    JobQuantile (Gauge) "gpu_worker_job_duration_quantile_seconds" ["service", "percentile"]
        "Of the newest 512 completed jobs: the time that a half (50) and 95 of 100 (95) did not exceed; service is empty for all."
    SuccessRatio (Gauge) "gpu_worker_jobs_success_ratio" []
        "Completed among completed and finally failed jobs, 0 to 1."
    PerHour (Gauge) "gpu_worker_jobs_per_hour" []
        "Completed within the last hour, or the rate since the start if that is less; absent in the first minute."
    QueueWaiting (Gauge) "gpu_worker_queue_waiting" []
        "Waiting jobs of the whole queue that are due, as read from Redis for this scrape."
    QueueDelayed (Gauge) "gpu_worker_queue_delayed" []
        "Jobs of the whole queue that wait for a time."
    QueueUnindexed (Gauge) "gpu_worker_queue_unindexed" []
        "Waiting jobs without a class yet."
    QueueFitting (Gauge) "gpu_worker_queue_fitting" []
        "Waiting jobs that fit a worker of this agent, of the 50 classes whose turn comes first."
    QueueRead (Gauge) "gpu_worker_queue_read_timestamp_seconds" []
        "When the queue was read, in seconds since 1970; its numbers are absent once that is 30 s ago."
    QueueTruncated (Gauge) "gpu_worker_queue_classes_truncated" []
        "1 while more than 50 classes of jobs wait; the rest has no series of its own."
    ClassWaiting (Gauge) "gpu_worker_queue_class_waiting" ["class", "service"]
        "Waiting jobs of the class: jobs that ask for the same. Service is any where they name none."
    ClassOldest (Gauge) "gpu_worker_queue_class_oldest_wait_seconds" ["class", "service"]
        "How long the job of the class has waited that comes first; with equal priorities it is the oldest one."
    ClassPriority (Gauge) "gpu_worker_queue_class_priority" ["class", "service"]
        "The highest priority among them."
    ClassFits (Gauge) "gpu_worker_queue_class_fitting_workers" ["class", "service"]
        "Workers of this agent that could run them; 0: none."
    ClassMisfits (Gauge) "gpu_worker_queue_class_misfit_workers" ["class", "service", "misfit"]
        "Workers of this agent that could not, by each of their reasons: gpu_memory, model, service and so on."
    Heartbeat (Gauge) "gpu_worker_heartbeat_timestamp_seconds" []
        "When Redis last took the heartbeat of every worker of this agent, in seconds since 1970."
    EngineInfo (Gauge) "gpu_worker_engine_info" ["engine", "connector", "version"]
        "Always 1; the labels tell what it is. Version is empty where the engine does not tell."
    EngineProbed (Gauge) "gpu_worker_engine_probed_timestamp_seconds" ["engine"]
        "When the engine was last asked how it is, in seconds since 1970."
    EngineModels (Gauge) "gpu_worker_engine_models" ["engine", "kind"]
        "Models that the engine lists."
    EngineRuns (Gauge) "gpu_worker_engine_runs" ["engine"]
        "Runs of this agent at work in the engine."
    EngineHealthy (Gauge) "gpu_worker_engine_healthy" ["engine"]
        "1 while the engine's services are offered."
    EngineQueue (Gauge) "gpu_worker_engine_queue_length" ["engine"]
        "Work in the engine's own queue, as it said at its last probe."
    EngineLeftOut (Gauge) "gpu_worker_engine_left_out" ["engine", "part"]
        "Parts of an engine that are not offered for a while: engine, runs, model, memory, class."
    EngineLeftOutUntil (Gauge) "gpu_worker_engine_left_out_until_timestamp_seconds" ["engine", "part"]
        "Until when at least, in seconds since 1970; of several parts of a kind the last."
    EngineOnTrial (Gauge) "gpu_worker_engine_on_trial" ["engine", "part"]
        "Parts that are offered again after that; what happens next decides."
    EngineFailures (Gauge) "gpu_worker_engine_part_failures" ["engine", "part"]
        "Failures in a row of what is left out or on trial; of several parts of a kind the most."
    EngineFaults (Counter) "gpu_worker_engine_outages" ["engine"]
        "How often the engine ceased to be healthy."
    PartsLeftOut (Counter) "gpu_worker_engine_parts_left_out" ["engine"]
        "How often something of the engine was left out of the offer."
    GpuInfo (Gauge) "gpu_worker_gpu_info" ["gpu", "name", "uuid", "driver"]
        "Always 1; the labels tell which card it is."
    GpuUsable (Gauge) "gpu_worker_gpu_usable" ["gpu"]
        "1 while the driver answers for the card and it is not fenced."
    GpuFenced (Gauge) "gpu_worker_gpu_fenced" ["gpu"]
        "1 while the card may not work."
    GpuFences (Counter) "gpu_worker_gpu_fences" ["gpu"]
        "How often the card was fenced."
    GpuUtilisation (Gauge) "gpu_worker_gpu_utilisation_ratio" ["gpu"]
        "Share of time in which the card computed, 0 to 1."
    GpuMemoryTotal (Gauge) "gpu_worker_gpu_memory_total_bytes" ["gpu"]
        "Memory of the card."
    GpuMemoryUsed (Gauge) "gpu_worker_gpu_memory_used_bytes" ["gpu"]
        "Memory in use, by whomever."
    GpuTemperature (Gauge) "gpu_worker_gpu_temperature_celsius" ["gpu"]
        "Temperature of the die."
    GpuPower (Gauge) "gpu_worker_gpu_power_watts" ["gpu"]
        "Power drawn."
    GpuMemoryOfJobs (Gauge) "gpu_worker_gpu_memory_used_by_engines_bytes" ["gpu"]
        "Of the memory in use, what engines of this agent hold, where the driver tells whose it is."
    GpuTemperatureLimit (Gauge) "gpu_worker_gpu_temperature_limit_celsius" ["gpu"]
        "Temperature at which the card slows down."
    GpuPowerLimit (Gauge) "gpu_worker_gpu_power_limit_watts" ["gpu"]
        "Most power that the card may draw."
    GpuClock (Gauge) "gpu_worker_gpu_clock_hertz" ["gpu"]
        "Clock of the shaders."
    GpuClockMax (Gauge) "gpu_worker_gpu_clock_max_hertz" ["gpu"]
        "Fastest clock of the shaders."
    GpuFan (Gauge) "gpu_worker_gpu_fan_ratio" ["gpu"]
        "Speed of the fan as a share of its fastest."
    GpuThrottled (Gauge) "gpu_worker_gpu_throttled" ["gpu", "why"]
        "1 while the card is slower than it could be; why is thermal or power."
    GpuEcc (Gauge) "gpu_worker_gpu_memory_errors" ["gpu"]
        "Errors of its memory that could not be corrected, since the driver was loaded."
    MigMemoryTotal (Gauge) "gpu_worker_gpu_instance_memory_total_bytes" ["gpu", "mig", "profile"]
        "Memory of an instance of a divided card."
    MigMemoryUsed (Gauge) "gpu_worker_gpu_instance_memory_used_bytes" ["gpu", "mig", "profile"]
        "Of it, in use."
    RedisUp (Gauge) "gpu_worker_redis_up" []
        "1 while Redis answers."
    RedisRoundTrip (Gauge) "gpu_worker_redis_round_trip_seconds" []
        "How long the last tick, a small call each second, took to be answered."
    RedisAway (Gauge) "gpu_worker_redis_away_seconds" []
        "Length of the outage that goes on; 0 without one."
    RedisOutages (Counter) "gpu_worker_redis_outages" []
        "Outages of Redis that have begun."
    RedisOutageSeconds (Counter) "gpu_worker_redis_outage_seconds" []
        "Length of all outages that have ended."
    RedisRefusals (Counter) "gpu_worker_redis_refusals" []
        "Kinds of refusals by Redis (rights, memory, wrong types), each counted when it begins."
    QueueReaped (Counter) "gpu_worker_queue_leases_expired" []
        "Leases that this agent's tick found expired, of any worker."
    QueueGivenUp (Counter) "gpu_worker_queue_jobs_given_up" []
        "Jobs that lost their worker too often, failed as worker_lost by this agent."
    HostCpu (Gauge) "gpu_worker_host_cpu_ratio" []
        "Share of all cores of the machine that is busy."
    HostCores (Gauge) "gpu_worker_host_cpu_cores" []
        "Cores that the agent may use."
    HostLoad (Gauge) "gpu_worker_host_load" ["period"]
        "Load of the machine over 1m, 5m, 15m."
    HostMemoryTotal (Gauge) "gpu_worker_host_memory_total_bytes" []
        "Main memory of the machine, or of the container."
    HostMemoryUsed (Gauge) "gpu_worker_host_memory_used_bytes" []
        "Of it, what no program can have any more."
    DiskTotal (Gauge) "gpu_worker_output_disk_total_bytes" []
        "Size of the file system under OUTPUT_DIR."
    DiskFree (Gauge) "gpu_worker_output_disk_free_bytes" []
        "Free on it."
    LoopAge (Gauge) "gpu_worker_loop_last_tick_seconds" ["loop"]
        "Time since the loop last came round; of loops of one name the oldest."
    LoopHanging (Gauge) "gpu_worker_loop_hanging" ["loop"]
        "1 while the loop should have come round and has not."
    BuildInfo (Gauge) "gpu_worker_build_info" ["version"]
        "Always 1; the label tells the version."
    Uptime (Gauge) "gpu_worker_uptime_seconds" []
        "Since the process's metrics began."
    ProcessCpu (Counter) "gpu_worker_process_cpu_seconds" []
        "Processor time of the agent, all threads."
    ProcessMemory (Gauge) "gpu_worker_process_resident_memory_bytes" []
        "Main memory of the agent."
    ProcessFds (Gauge) "gpu_worker_process_open_fds" []
        "Open file descriptors of the agent."
    ProcessThreads (Gauge) "gpu_worker_process_threads" []
        "Threads of the agent."
}
