//! What it means when a store says no, or nothing.
//! In: its answer or the broken connection, whose store it is. Out: a failure in the words of the contract.

use super::wire::Refusal;
use connectors::failure::{Failure, Reason};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error;

/// Whose store it is: who is to blame for what is wrong with it.
#[derive(Debug, Clone)]
pub enum Whose {
    /// The job's own.
    Jobs,
    /// The worker's; the text names it.
    Workers(String),
}

/// What was found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not believe who we are.
    Credentials,
    /// They were good once.
    Expired,
    /// It knows us, and does not let us.
    Forbidden,
    /// There is no such bucket, or it is elsewhere.
    NoBucket,
    /// No room.
    Full,
    /// Not now.
    Busy,
    /// Too many requests.
    TooMany,
    /// What arrived is not what was sent.
    Damaged,
    /// It refuses for another reason.
    Refused,
    /// No connection.
    Unreachable,
    /// Its name is unknown.
    Unknown,
    /// Its certificate is not trusted.
    Certificate,
    /// Silence.
    Silent,
    /// More than a store takes of one object.
    TooLarge,
}

impl Trouble {
    /// Whether a body that was damaged on its way may be behind it. A signature covers the body, so some servers call
    /// a damaged body a wrong signature.
    pub fn may_be_damage(code: &str) -> bool {
        matches!(
            code,
            "SignatureDoesNotMatch"
                | "XAmzContentSHA256Mismatch"
                | "BadDigest"
                | "InvalidDigest"
                | "IncompleteBody"
                | "RequestTimeout"
                | "Md5Mismatch"
        )
    }

    /// What a refusal means. `was_accepted`: the credentials have been good before.
    pub fn of(refusal: &Refusal, was_accepted: bool) -> Self {
        let by_word = match refusal.code.as_str() {
            "SignatureDoesNotMatch" if was_accepted => Some(Self::Damaged),
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "AuthenticationFailed"
            | "InvalidSecurity"
            | "InvalidToken"
            | "NotSignedUp"
            | "invalid_grant"
            | "InvalidAuthenticationInfo" => Some(Self::Credentials),
            "ExpiredToken" | "TokenRefreshRequired" | "RequestTimeTooSkewed" => Some(Self::Expired),
            "NoSuchBucket"
            | "ContainerNotFound"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidBucketName"
            | "ContainerBeingDeleted" => Some(Self::NoBucket),
            "XMinioStorageFull" | "InsufficientStorage" | "QuotaExceeded" | "EntityTooLarge" => Some(Self::Full),
            "XAmzContentSHA256Mismatch" | "BadDigest" | "InvalidDigest" | "IncompleteBody" | "Md5Mismatch" => {
                Some(Self::Damaged)
            }
            "SlowDown" | "ServerBusy" | "InternalError" | "ServiceUnavailable" | "NoSuchUpload"
            | "OperationAborted" | "RequestTimeout" => Some(Self::Busy),
            _ => None,
        };
        by_word.unwrap_or(match refusal.status {
            401 => Self::Credentials,
            403 => Self::Forbidden,
            301 | 302 | 307 | 308 | 404 => Self::NoBucket,
            507 => Self::Full,
            429 => Self::TooMany,
            500.. => Self::Busy,
            _ => Self::Refused,
        })
    }

    /// What a connection that came to nothing means.
    pub fn of_connection(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        let (mut kind, mut text) = (None, String::new());
        while let Some(error) = next {
            kind = kind.or_else(|| error.downcast_ref::<HttpError>().map(HttpError::kind));
            if error.downcast_ref::<rustls::Error>().is_some() {
                return Self::Certificate;
            }
            text = error.to_string();
            next = error.source();
        }
        match kind {
            Some(HttpErrorKind::Timeout) => Self::Silent,
            // The resolver has no type of its own for it.
            Some(HttpErrorKind::Connect) if text.contains("lookup address") => Self::Unknown,
            Some(_) => Self::Unreachable,
            None => Self::Refused,
        }
    }

    /// The failure, with its remedy.
    pub fn failure(self, whose: &Whose, refusal: Option<&Refusal>) -> Failure {
        let job = |at_job: Reason, at_worker: Reason| match whose {
            Whose::Jobs => at_job,
            Whose::Workers(_) => at_worker,
        };
        let (reason, what) = match self {
            Self::Credentials => (Reason::InvalidApiKey, "refuses the credentials"),
            Self::Expired => {
                (Reason::ExpiredToken, "says that the credentials have expired, or that this machine's clock is wrong")
            }
            Self::Forbidden => (Reason::InsufficientPermissions, "does not allow these credentials to write"),
            Self::NoBucket => {
                (job(Reason::InvalidPayload, Reason::ConfigError), "has no such bucket, or has it in another region")
            }
            Self::Full => (Reason::DiskSpaceFull, "has no room left"),
            Self::Busy => (Reason::ServiceUnavailable, "cannot take it at present"),
            Self::TooMany => (Reason::RequestsPerMinute, "gets too many requests"),
            Self::Damaged => (Reason::CorruptedData, "received other bytes than were sent"),
            Self::Refused => (job(Reason::UnsupportedOperation, Reason::ConfigError), "refuses it"),
            Self::Unreachable => (Reason::ConnectionFailed, "cannot be reached"),
            Self::Unknown => (Reason::DnsResolution, "has a host name that is not known"),
            Self::Certificate => (Reason::SslCertificate, "has a certificate that is not trusted"),
            Self::Silent => (Reason::NetworkTimeout, "does not answer in time"),
            Self::TooLarge => (Reason::DiskSpaceFull, "takes no output of this size"),
        };
        let word = refusal.filter(|refusal| !refusal.code.is_empty());
        let word = word.map(|refusal| format!(" ({})", refusal.code)).unwrap_or_default();
        let retry_after = refusal.and_then(|refusal| refusal.retry_after);
        let failure = match whose {
            Whose::Jobs => Failure::new(reason, format!("the storage that the job names in ctx.storage {what}{word}")),
            Whose::Workers(place) => {
                let remedy = match self {
                    Self::Credentials | Self::Expired | Self::Forbidden => {
                        ": check the credentials beside OUTPUT_STORE, and what they may do"
                    }
                    Self::NoBucket | Self::Refused => ": check OUTPUT_STORE and the region or endpoint beside it",
                    Self::Unreachable | Self::Unknown | Self::Certificate | Self::Silent => {
                        ": check the network and the endpoint beside OUTPUT_STORE"
                    }
                    _ => "",
                };
                Failure::of_host(reason, format!("the output store {place} {what}{word}{remedy}"))
            }
        };
        Failure { retry_after, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stores_say_is_told_apart() {
        let rows = [
            (403, "InvalidAccessKeyId", false, Trouble::Credentials),
            (403, "SignatureDoesNotMatch", false, Trouble::Credentials),
            (403, "SignatureDoesNotMatch", true, Trouble::Damaged),
            (400, "XAmzContentSHA256Mismatch", false, Trouble::Damaged),
            (400, "ExpiredToken", false, Trouble::Expired),
            (403, "AccessDenied", false, Trouble::Forbidden),
            (403, "", false, Trouble::Forbidden),
            (401, "", false, Trouble::Credentials),
            (404, "NoSuchBucket", false, Trouble::NoBucket),
            (404, "NoSuchUpload", true, Trouble::Busy),
            (301, "PermanentRedirect", false, Trouble::NoBucket),
            (507, "XMinioStorageFull", false, Trouble::Full),
            (503, "SlowDown", false, Trouble::Busy),
            (500, "", false, Trouble::Busy),
            (429, "", false, Trouble::TooMany),
            (400, "invalid_grant", false, Trouble::Credentials),
            (400, "MalformedXML", false, Trouble::Refused),
        ];
        for (status, code, was_accepted, expected) in rows {
            let refusal = Refusal { status, code: code.to_owned(), retry_after: None };
            assert_eq!(Trouble::of(&refusal, was_accepted), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_jobs_storage_is_the_jobs_fault_and_the_workers_the_workers() {
        let jobs = Trouble::Credentials.failure(&Whose::Jobs, None);
        assert!(!jobs.hosts_fault && jobs.kind().as_str() == "auth_error", "{jobs:?}");
        let workers = Trouble::Credentials.failure(&Whose::Workers("s3://b".into()), None);
        assert!(workers.hosts_fault && workers.kind().as_str() == "auth_error", "{workers:?}");
        assert_eq!(Trouble::NoBucket.failure(&Whose::Jobs, None).kind().as_str(), "validation_error");
        assert_eq!(Trouble::NoBucket.failure(&Whose::Workers("s3://b".into()), None).reason, Reason::ConfigError);
        assert_eq!(Trouble::Full.failure(&Whose::Jobs, None).kind().as_str(), "resource_limit");
        assert_eq!(Trouble::Unreachable.failure(&Whose::Jobs, None).kind().as_str(), "network_error");
    }
}
