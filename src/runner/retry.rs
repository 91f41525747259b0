//! The one retry table: what each failure means, what it costs the job, and what a person can do about it.
//! In: a failure. Out: never again, again after a pause, elsewhere, or handed on without charge; sentences for people.

use crate::protocol::outcome::Verdict;
use connectors::failure::{Failure, Reason};

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it costs where nobody blames this worker.
    pub verdict: Verdict,
    /// What has happened.
    pub meaning: &'static str,
    /// What a person can do.
    pub remedy: &'static str,
}

/// What this failure costs.
pub fn verdict(failure: &Failure) -> Verdict {
    // This box is at fault: the job goes on without being charged, a bounded number of times.
    if failure.hosts_fault { Verdict::Uncharged } else { row(failure.reason).verdict }
}

const fn never(meaning: &'static str, remedy: &'static str) -> Row {
    Row { verdict: Verdict::Never, meaning, remedy }
}

const fn again(meaning: &'static str, remedy: &'static str) -> Row {
    Row { verdict: Verdict::Retry, meaning, remedy }
}

const fn elsewhere(meaning: &'static str, remedy: &'static str) -> Row {
    Row { verdict: Verdict::Elsewhere, meaning, remedy }
}

/// What a failure of this reason means and costs. `never`: asking again gets the same answer. `elsewhere`: another machine or
/// account may well do it, this one will not soon.
#[rustfmt::skip]
pub const fn row(reason: Reason) -> Row {
    use Reason::*;
    match reason {
        ViolenceDetected => never("the engine refused to show violence", "change the prompt or the input picture"),
        CopyrightBlocker => never("the engine refused protected material", "take names, brands and characters out of the prompt"),
        NsfwContent => never("the engine refused sexual content", "change the prompt or the input picture"),
        HateSpeech => never("the engine refused hateful content", "change the prompt"),
        PersonalInfo => never("the engine refused personal data", "take names and addresses of people out of the prompt"),
        SafetyFilter => never("the engine's safety filter refused", "change the prompt; the message tells what the filter says"),
        PolicyViolation => never("the engine's rules of use forbid it", "read the provider's rules; change the prompt"),

        ServiceDown => again("the engine could not be reached, or ended in mid-run", "see whether it runs; look into its log"),
        ServiceUnavailable => again("the engine cannot take work now", "wait; if it lasts, look into the engine's log"),
        MaintenanceMode => again("the engine is being maintained", "wait until its operator has finished"),
        DegradedPerformance => again("the engine is overloaded or runs with less than it should", "give it less work or more machines"),

        JobTimeout => again("the job ran longer than it may and was stopped", "ask for less work, or for more time (requirements.timeout_minutes, JOB_TIMEOUT_MINUTES)"),
        NetworkTimeout => again("an answer did not come over the network in time", "look at the network between the agent and the engine"),
        ProcessingTimeout => again("the run made no progress for longer than its steps take", "look at the engine; if it is only slow, raise STUCK_STEP_SECONDS"),
        QueueTimeout => again("the engine's own queue did not move", "see what else was given to the engine; restart it if it hangs"),

        InvalidPayload => never("the engine or the agent cannot use what the job says", "the message names the place; mend the job"),
        MissingRequiredField => never("a field is missing that the engine needs", "add the field that the message names"),
        InvalidFormat => never("a value or an input file has the wrong form", "mend the value or file that the message names"),
        UnsupportedOperation => never("the engine cannot do what is asked", "ask for something that it can do, or for another service"),
        ModelNotFound => never("no worker that serves the job has the model", "name a model that is there (`gpu-worker workers --json`), or install it"),
        ComponentError => never("the workflow uses a node or component that the engine lacks", "install the component, or leave it out of the workflow"),

        OutOfMemory => elsewhere("memory ran out, also after it was freed", "make the job smaller, or state its requirements.hardware.gpu_memory_gb"),
        DiskSpaceFull => elsewhere("a disk is full", "free space in OUTPUT_DIR or on the engine's disk"),
        GpuMemoryFull => elsewhere("the GPU's memory ran out, also after it was freed", "make the job smaller, or state its requirements.hardware.gpu_memory_gb"),
        ConcurrentLimit => elsewhere("as much runs already as may run at once", "wait, or raise the engine's limit"),

        InvalidApiKey => never("the engine does not accept the credentials", "correct the engine's key or password in the configuration or the job"),
        ExpiredToken => never("the credentials have run out", "renew them"),
        InsufficientPermissions => never("the credentials do not allow this", "let the account do it, or use another one"),
        AccountSuspended => never("the account is closed", "ask the provider"),

        RequestsPerMinute => again("too many requests a minute for the provider", "wait; the provider's own pause is kept; or raise the limit there"),
        TokensPerMinute => again("too many tokens a minute for the provider", "wait; the provider's own pause is kept; or raise the limit there"),
        DailyQuotaExceeded => elsewhere("the account's quota is used up", "wait for the next day, raise the quota, or use a worker with another account"),
        ConcurrentRequests => again("too many requests at once for the provider", "run fewer jobs at once (CONCURRENT_JOBS), or raise the limit there"),

        ConnectionFailed => again("a connection could not be opened, or broke", "look at the network, and at the server that the message names"),
        DnsResolution => again("a name could not be resolved", "correct the name, or look at the machine's name servers"),
        SslCertificate => again("a server's certificate was not accepted", "renew it, or see whether the machine's clock is right"),
        ProxyError => again("a proxy in between failed", "look at the proxy"),

        InvalidResponseFormat => again("the engine's answer could not be understood", "see whether its version is supported; look into its log"),
        UnexpectedContentType => again("the engine sent another kind of data than was asked for", "see whether the address is the engine's, and not a page in front of it"),
        CorruptedData => again("data arrived damaged or cut off", "look at the network and the disks in between, and into the engine's log"),
        MissingExpectedData => again("the engine says that it is done, but what it made is not there", "see whether the job asks for an output (a workflow: whether it stores one); look into the engine's log"),

        InternalError => again("something failed inside the engine or the agent", "look into the engine's log at that time; if it names the job's values, mend the job"),
        ConfigError => again("the engine or the agent is set up wrongly", "mend the setting that the message names"),
        DependencyError => again("a file or library that the engine needs is damaged or missing", "replace what the message names"),
        GpuError => again("the GPU failed in mid-run", "see `gpu-worker workers` and docs/gpu-faults.md"),
        UnknownError => again("nobody could say what failed", "look into the logs of agent and engine at that time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connectors::failure::FailureType;

    #[test]
    fn the_type_decides_but_for_the_daily_quota() {
        for reason in Reason::ALL.iter().copied() {
            let expected = match reason.kind() {
                _ if reason == Reason::DailyQuotaExceeded => Verdict::Elsewhere,
                FailureType::GenerationRefusal | FailureType::ValidationError | FailureType::AuthError => {
                    Verdict::Never
                }
                FailureType::ResourceLimit => Verdict::Elsewhere,
                _ => Verdict::Retry,
            };
            assert_eq!(verdict(&Failure::new(reason, "")), expected, "{reason}");
            assert_eq!(verdict(&Failure::of_host(reason, "")), Verdict::Uncharged, "{reason}");
        }
    }

    #[test]
    fn every_row_says_something_of_its_own() {
        for reason in Reason::ALL.iter().copied() {
            let Row { meaning, remedy, .. } = row(reason);
            assert!(meaning.len() > 10 && remedy.len() > 3, "{reason}");
            let same = Reason::ALL.iter().filter(|other| row(**other).meaning == meaning).count();
            assert_eq!(same, 1, "{reason}: {meaning}");
        }
    }
}
