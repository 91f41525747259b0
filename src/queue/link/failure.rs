//! What an error of Redis means for the caller: another connection, another try, or neither.
//! In: errors. Out: verdicts on them.

use redis::RedisError;

/// The connection, or the server behind it, is of no more use: the way is looked for anew.
const ELSEWHERE: [&str; 5] = ["READONLY", "MASTERDOWN", "MOVED", "CLUSTERDOWN", "UNBLOCKED"];

/// What an operator or time mends: restarting, out of memory or disk, replicas missing, rights changed, a slot that moves.
const PASSING: [&str; 11] =
    ["LOADING", "BUSY", "NOSCRIPT", "ASK", "TRYAGAIN", "OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "WRONGPASS", "NOPERM"];

/// How a script says that its keys' slot is on the move.
const SLOT_MOVES: &str = "non local key in a cluster node";

/// Which of these codes an error has. Redis before 7 wraps what a script ran into:
/// `ERR Error running script ...: -MISCONF ...`.
fn code_among(error: &RedisError, codes: &[&'static str]) -> Option<&'static str> {
    let wrapped = |code: &str| error.detail().is_some_and(|text| text.contains(&format!("-{code} ")));
    codes.iter().copied().find(|code| error.code() == Some(code) || wrapped(code))
}

/// The connection is of no more use.
pub(super) fn breaks_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || code_among(error, &ELSEWHERE).is_some()
}

/// Redis may well answer later: worth repeating.
pub fn is_passing(error: &RedisError) -> bool {
    breaks_connection(error)
        || code_among(error, &PASSING).is_some()
        || error.detail().is_some_and(|text| text.contains(SLOT_MOVES))
}

/// The word under which a refusal is told.
pub(super) fn refusal(error: &RedisError) -> String {
    code_among(error, &PASSING).or(error.code()).unwrap_or("no code").to_owned()
}

/// The server will not serve anybody for now, whatever is asked.
pub(super) fn is_closed(error: &RedisError) -> bool {
    code_among(error, &["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"]).is_some()
}

/// No answer in time.
pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A server that cannot be used now, for this reason.
pub(super) fn unusable(why: impl Into<String>) -> RedisError {
    std::io::Error::other(why.into()).into()
}
