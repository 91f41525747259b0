//! Ids and tokens: what may name a job, and what tells one claim from every other.
//! In: texts from outside. Out: legal ones, and fresh ones.

use uuid::Uuid;

/// Whether a text can name a job: `[A-Za-z0-9_-]{1,128}`. Others cannot stand inside key names safely.
pub fn is_legal_job_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a text can name a session: `[A-Za-z0-9._-]{1,128}`. With it goes the name of a stream.
pub fn is_legal_session(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A fresh job id. Ids of one process rise with time, so that equal orders are served first in, first out.
pub fn new_job_id() -> String {
    Uuid::now_v7().to_string()
}

/// A fresh token for one claim by this worker.
pub fn new_token(worker: &str) -> String {
    format!("{worker}|{}", Uuid::now_v7().simple())
}
