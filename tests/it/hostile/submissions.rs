//! Job files that `submit` refuses before anything enters the queue.

use super::row::Expect::Refused;
use super::row::{Put, Row, submit};

pub fn rows() -> Vec<Row> {
    let file = |name, text: &'static str, says| submit(name, text, &[], says);
    let good = r#"{"service_required":"simulation"}"#;
    vec![
        file("file that is prose", "paint me a lighthouse", "is not JSON"),
        file("file empty", "", "is empty"),
        submit("file of bytes", b"\x89PNG\r\n\x1a\n\xff\xfe".as_slice(), &[], "is not JSON"),
        submit("file nested too deep", "[".repeat(100_000), &[], "recursion limit"),
        file("file with a list", "[]", "a job is a JSON object"),
        file("file with null", "null", "a job is a JSON object"),
        file("file without a service", "{}", "`service_required` is missing"),
        file("file with a list of services", r#"{"service_required":["a"]}"#, "`service_required` must be text"),
        submit(
            "file with a service of 2 KB",
            format!(r#"{{"service_required":"{}"}}"#, "s".repeat(2048)),
            &[],
            "service_required is 2048 bytes long",
        ),
        file(
            "file with a payload of text",
            r#"{"type":"simulation","payload":"x"}"#,
            "`payload` must be a JSON object",
        ),
        file("file with a context of text", r#"{"type":"simulation","ctx":"x"}"#, "`ctx` must be a JSON object"),
        file(
            "file with requirements of text",
            r#"{"type":"a","requirements":"big"}"#,
            "`requirements` must be a JSON object",
        ),
        file(
            "file with hardware of a number",
            r#"{"type":"a","requirements":{"hardware":5}}"#,
            "requirements.hardware must be a JSON object, not a number",
        ),
        file(
            "file with a priority in words",
            r#"{"type":"a","priority":"high"}"#,
            "`priority` must be a number, not \"high\"",
        ),
        file(
            "file with retries of an object",
            r#"{"type":"a","max_retries":{}}"#,
            "`max_retries` must be text or a number",
        ),
        file("file with a time in words", r#"{"type":"a","workflow_datetime":"noon"}"#, "`workflow_datetime` must be"),
        file("file from ComfyUI's editor", r#"{"nodes":[],"links":[],"version":0.4}"#, "Export (API)"),
        file("file with an id with a colon", r#"{"type":"a","id":"a:b"}"#, "a job id is 1 to 128 letters"),
        submit(
            "file too large",
            format!(r#"{{"type":"a","payload":{{"x":"{}"}}}}"#, "x".repeat(2000)),
            &["--set", "MAX_PAYLOAD_BYTES=1000"],
            "MAX_PAYLOAD_BYTES",
        ),
        submit("option with an id with a space", good, &["--id", "two words"], "a job id is 1 to 128 letters"),
        submit("option with a negative priority", good, &["--priority=-1"], "--priority"),
        submit("option that sets nothing", good, &["--set", "NONSENSE"], "--set takes NAME=VALUE"),
        Row {
            name: "id that is taken",
            put: Put::Submit(good.into(), vec!["--id", "taken"]),
            expect: Refused(1, "a job with the id taken exists already"),
        },
    ]
}
