//! Payloads that are no JSON, or JSON that means harm; contexts with secrets.

use super::SECRET;
use super::row::Expect::{Completes, Failed};
use super::row::{Row, field, hand, invalid};

/// Larger than the agent of the test is allowed to read.
pub const TOO_LARGE: usize = 300_000;

pub fn rows() -> Vec<Row> {
    let payload = |name, value: &[u8], expect| field(name, "payload", value, expect);
    let many_members: String = (0..20_000).map(|n| format!(r#""k{n}":{n},"#)).collect();
    vec![
        payload("payload that is prose", b"please paint me a lighthouse", invalid("not JSON")),
        payload("payload cut off", br#"{"steps": 1, "step_ms""#, invalid("not JSON: EOF")),
        payload("payload followed by more", br#"{"steps":1} {"steps":2}"#, invalid("trailing characters")),
        payload("payload with a byte order mark", b"\xef\xbb\xbf{}", invalid("not JSON")),
        payload("payload in Python's spelling", b"{'steps': 1}", invalid("key must be a string")),
        payload("payload with NaN", br#"{"steps": NaN}"#, invalid("not JSON")),
        payload("payload too large", &vec![b' '; TOO_LARGE], invalid("300000 bytes, more than the")),
        payload("payload of brackets", "[".repeat(100_000).as_bytes(), invalid("recursion limit")),
        payload(
            "payload properly nested too deep",
            format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000)).as_bytes(),
            invalid("recursion limit"),
        ),
        payload("payload null", b"null", Completes),
        payload("payload empty", b"", Completes),
        hand("payload missing", |job| job.without("payload"), Completes),
        payload("payload a list", b"[1,2]", Failed("validation_error", "invalid_format", "an object, not a list")),
        payload("payload a text", br#""steps""#, Failed("validation_error", "invalid_format", "not a text")),
        payload("payload a number", b"7", Failed("validation_error", "invalid_format", "not a number")),
        payload("payload with bytes that are not UTF-8", b"{\"prompt\":\"\xff\xfe\"}", invalid("not JSON")),
        payload("payload with NUL bytes", b"{\"steps\":1,\0\"a\":\"\0\"}", invalid("not JSON")),
        payload("payload with a raw line feed in a text", b"{\"a\":\"x\ny\"}", invalid("control character")),
        payload("payload with a key twice", br#"{"steps":0,"outputs":0,"steps":1}"#, Completes),
        payload("payload with 1e999", br#"{"steps": 1e999}"#, invalid("number out of range")),
        payload("payload with half a surrogate pair", br#"{"prompt":"\ud800"}"#, invalid("not JSON")),
        payload(
            "payload with 20000 members",
            format!(r#"{{{many_members}"steps":1,"outputs":0}}"#).as_bytes(),
            invalid("more than the"),
        ),
        field("context that is prose", "ctx", format!("token {SECRET}"), Completes),
        field("context with secrets", "ctx", format!(r#"{{"user":{{"key":"{SECRET}"}}}}"#), Completes),
        field(
            "context whose storage is incomplete, with secrets",
            "ctx",
            format!(r#"{{"storage":{{"key":"{SECRET}"}}}}"#),
            Failed("validation_error", "missing_required_field", "ctx.storage.bucket is missing"),
        ),
        field("context too large", "ctx", vec![b' '; TOO_LARGE], invalid("ctx is 300000 bytes")),
        field("context nested too deep", "ctx", "[".repeat(100_000), Completes),
        field(
            "context with a retry count of garbage",
            "ctx",
            r#"{"workflow_context":{"retry_attempt":"-1e9"}}"#,
            Completes,
        ),
    ]
}
