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

/// Which of these codes an error has. A pipeline's error is a list of them; Redis before 7 wraps what a script ran into:
/// `ERR Error running script ...: -MISCONF ...`.
fn code_among(error: &RedisError, codes: &[&'static str]) -> Option<&'static str> {
    let wrapped = |text: Option<&str>, code: &str| text.is_some_and(|text| text.contains(&format!("-{code} ")));
    let said = error.clone().into_server_errors();
    let each = || said.iter().flat_map(|errors| errors.iter());
    codes.iter().copied().find(|code| {
        error.code() == Some(code) || each().any(|(_, one)| one.code() == *code || wrapped(one.details(), code))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn codes_are_found_also_where_a_script_wraps_them() {
        let old = "-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write.\r\n";
        for line in ["-READONLY You can't write against a read only replica.\r\n", old, "-UNBLOCKED force unblock\r\n"]
        {
            assert!(breaks_connection(&error(line)), "{line}");
        }
        let old = "-ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed\r\n";
        for line in ["-OOM command not allowed\r\n", old, "-NOSCRIPT No matching script.\r\n"] {
            assert!(is_passing(&error(line)) && !breaks_connection(&error(line)), "{line}");
        }
        assert!(!is_passing(&error("-WRONGTYPE Operation against a key\r\n")));
        assert!(is_passing(&error("-ERR Script attempted to access a non local key in a cluster node\r\n")));
    }
}
