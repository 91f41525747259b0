//! Small fields of the hash: services, priorities, times, counters, and our own fields forged by somebody else.

use super::row::Expect::{Completes, Failed, Leaves, Waits};
use super::row::{Row, field, hand, invalid};

const FAILING: &str = r#"{"steps":1,"step_ms":0,"outputs":0,"fail_at_step":0}"#;
const FAILED: super::row::Expect = Failed("service_error", "service_unavailable", "failed at step 0");

pub fn rows() -> Vec<Row> {
    let failing = |name, field: &'static str, value: &'static str| {
        hand(name, move |job| job.with("payload", FAILING).with(field, value), FAILED)
    };
    let mut rows = services();
    rows.extend(places());
    rows.extend(forged());
    rows.extend([
        failing("retries negative", "max_retries", "-7"),
        failing("retries in words", "max_retries", "many"),
        failing("retry count of garbage", "retry_count", "twice"),
        failing("retry count beyond counting", "retry_count", "1e308"),
        failing("retry count negative", "retry_count", "-1e308"),
        hand(
            "retries beyond counting",
            |job| job.with("max_retries", "1e18").with("payload", r#"{"fail_at_step":0,"failure":"auth_error"}"#),
            Failed("auth_error", "invalid_api_key", "failed at step 0"),
        ),
        field("workflow id of a line feed and a star", "workflow_id", "w\n*\0", Completes),
        field("workflow id of 100 KB", "workflow_id", "w".repeat(100_000), Completes),
        field("customer of 2 KB", "customer_id", "c".repeat(2048), Completes),
        field("steps of a workflow in words", "current_step", "first", Completes),
        hand(
            "hash with 5000 foreign fields",
            |job| (0..5000).fold(job, |job, n| job.with(&format!("foreign{n}"), "x")),
            Completes,
        ),
        hand("foreign field of 1 MB", |job| job.with("foreign", vec![b'x'; 1 << 20]), Completes),
    ]);
    rows
}

fn services() -> Vec<Row> {
    vec![
        field("service empty", "service_required", "", Waits),
        hand(
            "service missing",
            // Whichever engine is healthy just then takes it.
            |job| job.without("service_required").with("payload", "[]"),
            Failed("validation_error", "invalid_format", "must be an object"),
        ),
        field("service unknown", "service_required", "teleport", Waits),
        field("service of 2 KB", "service_required", "s".repeat(2048), invalid("service_required is 2048 bytes long")),
        field("service with terminal escapes", "service_required", "\x1b]0;evil\x07", Waits),
        field("service that is not UTF-8", "service_required", b"\xff\xfe".as_slice(), Waits),
    ]
}

fn places() -> Vec<Row> {
    vec![
        field("priority not a number", "priority", "NaN", Completes),
        field("priority infinite", "priority", "inf", Completes),
        field("priority 1e308", "priority", "1e308", Completes),
        field("priority negative", "priority", "-5", Completes),
        field("priority in words", "priority", "urgent", Completes),
        hand("priority missing", |job| job.without("priority"), Completes),
        field("workflow priority of garbage", "workflow_priority", "\0", Completes),
        hand("score infinite", |job| job.scored("+inf"), Completes),
        hand("score minus infinite", |job| job.scored("-inf"), Completes),
        field("created at no time", "created_at", "yesterday", Completes),
        hand("created at missing", |job| job.without("created_at"), Completes),
        field("created in the year 9999", "created_at", "9999-12-31T23:59:59.999Z", Completes),
        field("created before time", "created_at", "-271821-04-20T00:00:00Z", Completes),
        field("created at bytes that are not UTF-8", "created_at", b"\xff2026".as_slice(), Completes),
        field("created at a time with spaces", "created_at", "Fri Jan 02 2026 03:04:05 GMT", Completes),
        field("workflow time negative", "workflow_datetime", "-1", Completes),
        field("workflow time of garbage", "workflow_datetime", "noon", Completes),
        field("workflow time beyond counting", "workflow_datetime", "1e308", Completes),
    ]
}

fn forged() -> Vec<Row> {
    vec![
        field("status completed already", "status", "completed", Leaves),
        field("status of the reference's timeout", "status", "timeout", Leaves),
        field("status of an unknown word", "status", "brewing", Waits),
        field("status assigned to nobody", "status", "assigned", Waits),
        hand("status missing", |job| job.without("status"), Waits),
        hand(
            "hash with nothing but a foreign field",
            |job| super::row::Hand { fields: Some([("foreign".to_owned(), b"x".to_vec())].into()), ..job },
            Waits,
        ),
        field("end forged", "final", "completed w|1 2026-01-02T03:04:05.678Z", Leaves),
        field("end of garbage", "final", "%s%n \0", Completes),
        field("end of another life", "final", "failed w|1 2020-01-01T00:00:00.000Z", Completes),
        field("claim of garbage", "claim", "|||", Completes),
        field("class of garbage", "class", "no class", Completes),
        hand(
            "class and life forged",
            |job| job.with("class", "0123456789abcdef").with("life", "2026-01-02T03:04:05.678Z"),
            Completes,
        ),
        field("order of garbage", "order", "first!", Completes),
        field("attempt of garbage", "attempt", "0x10zz", Completes),
        field("attempt beyond counting", "attempt", "1e300", Completes),
        field("attempt negative", "attempt", "-3", Completes),
        field("cancel asked before its time", "cancel_requested", "now", Completes),
        field("avoid of garbage", "avoid", "everybody always", Completes),
        field("stalls of garbage", "stalled", "often", Completes),
        field("done of garbage", "done", "|", Completes),
        field("worker of somebody else", "worker_id", "elsewhere", Completes),
        field("result of garbage", "result", "{", Completes),
        field("hand-ons of garbage", "handed_on", "-inf", Completes),
        hand(
            "error with terminal escapes",
            |job| job.with("status", "failed").with("error", "\x1b[2J\x1b]0;evil\x07gone"),
            Leaves,
        ),
    ]
}
