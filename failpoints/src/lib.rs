//! Points at which the world has just changed, and where a debug build can be killed or frozen to see what then becomes
//! of its jobs. In: `GPU_WORKER_FAILPOINT`, read once. Out: nothing, or a process that has died or stands still.
//!
//! ```text
//!   GPU_WORKER_FAILPOINT=claim.answered:kill      SIGKILL to itself: no destructor runs, nothing is flushed
//!   GPU_WORKER_FAILPOINT=claim.answered:freeze@3  SIGSTOP to itself at the third time, until somebody sends SIGCONT
//! ```
//!
//! A release build has none of it: [`reach`] is empty there, and no name of a point is in the program.

#![forbid(unsafe_code)]

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// One point. `tests/it/crash_points` kills and freezes an agent at each of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them, in the order of an agent's and a job's life.
            pub const ALL: &[Point] = &[$(Point::$point),*];

                /// As `GPU_WORKER_FAILPOINT` spells it. Inlined, so that a release build, which never asks, has no names.
            #[inline]
            pub fn name(self) -> &'static str {
                match self { $(Point::$point => $name),* }
            }
        }
    };
}

points! {
    /// The worker's record is in Redis.
    Registered = "registered",
    /// Redis has answered a renewal of something held.
    Renewed = "renewed",
    /// A tick of this agent has taken back leases that ran out.
    Reaped = "tick.reaped",
    /// This process has the sweeper's lock.
    SweepLocked = "sweep.locked",
    /// A page of foreign jobs is indexed: their classes and orders are written.
    Indexed = "index.written",
    /// A foreign job that cannot be understood has been failed.
    Rejected = "index.rejected",
    /// A wake token has been popped: nobody else will get it.
    TokenTaken = "token.taken",
    /// A token that was of no use to this worker is back on its list.
    TokenPutBack = "token.put_back",
    /// Redis has given this worker a job.
    ClaimAnswered = "claim.answered",
    /// The worker's record says what it does now.
    StatusWritten = "status.written",
    /// A restarted agent has taken over a job of its earlier process.
    AdoptAnswered = "adopt.answered",
    /// The payload has been read and suits this worker.
    JobRead = "job.read",
    /// The engine knows an earlier process's work.
    WorkFound = "engine.work_found",
    /// The engine's websocket is open.
    SocketOpen = "engine.socket_open",
    /// The engine's id for the work is in Redis; the engine has not seen it yet.
    StartRecorded = "start.recorded",
    /// The engine has answered the submission; nobody has looked at the answer.
    PromptAnswered = "prompt.answered",
    /// The engine has the work, and its answer was in order.
    PromptAccepted = "prompt.accepted",
    /// A progress report is in Redis.
    ProgressWritten = "progress.written",
    /// The engine says that it is done with the work.
    ExecutionOver = "execution.over",
    /// How the work ended has been read from the engine.
    HistoryRead = "history.read",
    /// A part of an output is in its part file.
    OutputPart = "output.part",
    /// The part file is whole and on the disk.
    OutputWritten = "output.written",
    /// An output has its name.
    OutputRenamed = "output.renamed",
    /// The connector has returned.
    RunEnded = "run.ended",
    /// A job at work has heard that it is cancelled.
    CancelHeard = "cancel.heard",
    /// The engine has been told to stop the work.
    InterruptSent = "interrupt.sent",
    /// The end of a job that Redis did not take is in a part file.
    JournalWritten = "journal.written",
    /// The end of a job that Redis did not take is in the journal.
    JournalRenamed = "journal.renamed",
    /// Redis has answered a result.
    CompleteAnswered = "complete.answered",
    /// Redis has answered a failed attempt.
    FailAnswered = "fail.answered",
    /// Redis has answered a job that was given back.
    ReleaseAnswered = "release.answered",
    /// Redis has answered that a cancelled job has stopped.
    ConfirmAnswered = "confirm.answered",
    /// The journal's entry of an end that Redis has by now is gone.
    JournalForgotten = "journal.forgotten",
    /// The process holds the job no longer.
    JobLetGo = "job.let_go",
    /// The engine has been asked to free memory after a job that ran out of it.
    MemoryFreed = "engine.memory_freed",
    /// The worker's record is gone from Redis.
    Deregistered = "deregistered",
}

/// The agent is at this point now.
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    armed::reach(point);
}

/// The agent is at this point now.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}

#[cfg(debug_assertions)]
mod armed;
