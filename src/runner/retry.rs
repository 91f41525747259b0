//! The one retry table: what a failure costs the job.
//! In: a failure. Out: never again, again after a pause, elsewhere, or handed on without charge.

use crate::protocol::outcome::Verdict;
use connectors::failure::{Failure, FailureType, Reason};

/// What this failure costs.
pub fn verdict(failure: &Failure) -> Verdict {
    // This box is at fault: the job goes on without being charged, a bounded number of times.
    if failure.hosts_fault {
        return Verdict::Uncharged;
    }
    match (failure.kind(), failure.reason) {
        // Asking again gets the same answer.
        (FailureType::GenerationRefusal | FailureType::ValidationError | FailureType::AuthError, _) => Verdict::Never,
        // A daily quota does not come back within any pause that is kept here.
        (FailureType::RateLimit, Reason::DailyQuotaExceeded) => Verdict::Elsewhere,
        // Another card may have the memory.
        (FailureType::ResourceLimit, _) => Verdict::Elsewhere,
        (
            FailureType::ServiceError
            | FailureType::Timeout
            | FailureType::RateLimit
            | FailureType::NetworkError
            | FailureType::ResponseError
            | FailureType::SystemError,
            _,
        ) => Verdict::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let rows = [
            (Failure::new(Reason::NsfwContent, ""), Verdict::Never),
            (Failure::new(Reason::InvalidPayload, ""), Verdict::Never),
            (Failure::new(Reason::InvalidApiKey, ""), Verdict::Never),
            (Failure::new(Reason::ServiceDown, ""), Verdict::Retry),
            (Failure::new(Reason::JobTimeout, ""), Verdict::Retry),
            (Failure::new(Reason::RequestsPerMinute, ""), Verdict::Retry),
            (Failure::new(Reason::DailyQuotaExceeded, ""), Verdict::Elsewhere),
            (Failure::new(Reason::ConnectionFailed, ""), Verdict::Retry),
            (Failure::new(Reason::MissingExpectedData, ""), Verdict::Retry),
            (Failure::new(Reason::InternalError, ""), Verdict::Retry),
            (Failure::new(Reason::OutOfMemory, ""), Verdict::Elsewhere),
            (Failure::of_host(Reason::ModelNotFound, ""), Verdict::Uncharged),
            (Failure::of_host(Reason::ServiceDown, ""), Verdict::Uncharged),
            (Failure::of_host(Reason::DiskSpaceFull, ""), Verdict::Uncharged),
        ];
        for (failure, expected) in rows {
            assert_eq!(verdict(&failure), expected, "{:?}", failure.reason);
        }
    }
}
