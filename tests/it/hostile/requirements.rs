//! Requirements of every wrong type, and ones that nobody can meet.

use super::row::Expect::{Completes, Failed, Waits};
use super::row::{Expect, Row, field, invalid};

pub fn rows() -> Vec<Row> {
    let needs = |name, value: &[u8], expect: Expect| field(name, "requirements", value, expect);
    vec![
        needs("requirements null", b"null", invalid("must be a JSON object, not null")),
        needs("requirements a number", b"24", invalid("not a number")),
        needs("requirements a text", br#""a big card""#, invalid("not text")),
        needs("requirements a boolean", b"true", invalid("not a boolean")),
        needs("requirements a list", br#"["gpu"]"#, invalid("not a list")),
        needs("requirements that are prose", b"a big card please", invalid("requirements is not JSON")),
        needs("requirements nested too deep", format!("{{\"a\":{}", "[".repeat(2_000)).as_bytes(), invalid("too deep")),
        needs(
            "requirements too large",
            format!(r#"{{"component":"{}"}}"#, "x".repeat(70_000)).as_bytes(),
            invalid("more than the 65536 allowed"),
        ),
        needs("requirements with a key twice", br#"{"component":"a","component":"b"}"#, invalid("twice in one object")),
        needs(
            "requirements that contradict",
            br#"{"hardware":{"gpu_memory_gb":8,"gpu":{"memory_gb":16}}}"#,
            invalid("hardware.gpu_memory_gb is asked for twice"),
        ),
        needs("requirements with a nameless key", br#"{"..":1}"#, invalid("a key without a name")),
        needs("requirements with 1e999", br#"{"hardware":{"gpu_memory_gb":1e999}}"#, invalid("number out of range")),
        needs(
            "hardware null",
            br#"{"hardware":null}"#,
            invalid("requirements.hardware must be a JSON object, not null"),
        ),
        needs(
            "hardware a number",
            br#"{"hardware":5}"#,
            invalid("requirements.hardware must be a JSON object, not a number"),
        ),
        needs(
            "GPU memory in words",
            br#"{"hardware":{"gpu_memory_gb":"plenty"}}"#,
            invalid("gpu_memory_gb must be a number"),
        ),
        needs(
            "GPU memory that is not a number",
            br#"{"hardware":{"gpu_memory_gb":"NaN"}}"#,
            invalid("must be a number"),
        ),
        needs("GPU memory a list", br#"{"hardware":{"gpu_memory_gb":[24]}}"#, invalid("must be a number")),
        needs("GPU memory negative", br#"{"hardware":{"gpu_memory_gb":-24}}"#, Completes),
        needs("GPU memory beyond all cards", br#"{"hardware":{"gpu_memory_gb":1e300}}"#, Waits),
        needs("GPU model a number", br#"{"hardware":{"gpu_model":4090}}"#, invalid("gpu_model must be text")),
        needs(
            "models with null among them",
            br#"{"models":{"simulation":["a",null]}}"#,
            invalid("models.simulation must be"),
        ),
        needs("models a number", br#"{"models":3}"#, invalid("models must be text or a list")),
        needs(
            "positive requirements null",
            br#"{"positive_requirements":null}"#,
            invalid("positive_requirements must be"),
        ),
        needs(
            "negative requirements a list",
            br#"{"negative_requirements":["x"]}"#,
            invalid("negative_requirements must be"),
        ),
        needs(
            "isolation in unknown words",
            br#"{"customer_isolation":"sometimes"}"#,
            invalid("`strict`, `loose` or `none`"),
        ),
        needs("timeout in words", br#"{"timeout_minutes":"soon"}"#, invalid("timeout_minutes must be a number")),
        needs("timeout of a nanosecond", br#"{"timeout_minutes":1e-11}"#, Failed("timeout", "job_timeout", "allowed")),
        needs("timeout of a million years", br#"{"timeout_minutes":5e11}"#, Waits),
        needs("requirements with terminal escapes", br#"{"\u001b[2J\u0007":"x"}"#, Waits),
        needs(
            "hardware with a nameless key",
            br#"{"hardware":{"..":2}}"#,
            invalid("requirements.hardware must be a JSON object, not a number"),
        ),
        needs("requirements that are not UTF-8", b"{\"quality_level\":\"\xff\"}", Waits),
        needs(
            "requirements that exclude everything",
            br#"{"negative_requirements":{"services":["simulation"]}}"#,
            Waits,
        ),
    ]
}
