//! Payloads that the simulated engine must refuse, field by field.

use super::row::{Row, field, invalid};

pub fn rows() -> Vec<Row> {
    let plan = |name, payload: &str, says| field(name, "payload", payload, invalid(says));
    vec![
        plan("steps in words", r#"{"steps":"five"}"#, "`steps` must be a whole number from 0 to 100000, not a text"),
        plan("steps with a fraction", r#"{"steps":1.5}"#, "not 1.5"),
        plan("steps without end", r#"{"steps":1000000000}"#, "not 1000000000"),
        plan("steps beyond 64 bits", r#"{"steps":99999999999999999999999}"#, "`steps` must be a whole number"),
        plan("step time negative", r#"{"step_ms":-1}"#, "`step_ms` must be a whole number"),
        plan("step time of a year", r#"{"step_ms":31536000000}"#, "from 0 to 3600000"),
        plan("width zero", r#"{"width":0}"#, "`width` must be a whole number from 1 to 4096"),
        plan("height a list", r#"{"height":[64]}"#, "`height` must be a whole number from 1 to 4096, not a list"),
        plan("a million outputs", r#"{"outputs":1000000}"#, "`outputs` must be a whole number from 0 to 100"),
        plan(
            "failure of an unknown kind",
            r#"{"failure":"explosion"}"#,
            "`failure` must be a reason of failure or one of",
        ),
        plan("failure a boolean", r#"{"failure":true}"#, "not a boolean"),
        plan("failure after the end", r#"{"steps":1,"fail_at_step":2}"#, "the job has only 1 steps"),
        plan("hang at an object", r#"{"hang_at_step":{}}"#, "`hang_at_step` must be"),
        plan("failing attempts negative", r#"{"fail_attempts":-1}"#, "`fail_attempts` must be a whole number from 0"),
    ]
}
