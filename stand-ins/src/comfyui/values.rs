//! Plain input values: conversion to the declared type, bounds and choices.
//! In: an input's description and its value. Out: the coerced value, or the error entry of the real server.

use serde_json::{Value, json};

use super::submit::problem;

/// Longer lists of choices are left out of error texts by the newer release.
const LONG_LIST: usize = 20;

pub(crate) fn fit(name: &str, spec: &Value, value: &Value, new: bool) -> Result<Value, Value> {
    let kind = spec[0].as_str();
    let coerced = match kind {
        Some("INT") => integer(value),
        Some("FLOAT") => float(value),
        Some("STRING") => Ok(if value.is_string() { value.clone() } else { json!(python(value)) }),
        Some("BOOLEAN") => Ok(json!(truthy(value))),
        _ => Ok(value.clone()),
    }
    .map_err(|exception| {
        let kind = kind.unwrap_or_default();
        let extra =
            json!({"input_name": name, "input_config": spec, "received_value": value, "exception_message": exception});
        let details = format!("{name}, {}, {exception}", shown(value));
        problem("invalid_input_type", &format!("Failed to convert an input value to a {kind} value"), &details, extra)
    })?;
    let extra = || json!({"input_name": name, "input_config": spec, "received_value": coerced});
    if let (Some(number), options) = (coerced.as_f64(), &spec[1]) {
        if options["min"].as_f64().is_some_and(|min| number < min) {
            let message = format!("Value {coerced} smaller than min of {}", options["min"]);
            return Err(problem("value_smaller_than_min", &message, name, extra()));
        }
        if options["max"].as_f64().is_some_and(|max| number > max) {
            let message = format!("Value {coerced} bigger than max of {}", options["max"]);
            return Err(problem("value_bigger_than_max", &message, name, extra()));
        }
    }
    if let Some(choices) = spec[0].as_array().filter(|choices| !choices.contains(&coerced)) {
        let long = choices.len() > LONG_LIST;
        let list = if long { format!("(list of length {})", choices.len()) } else { python(&spec[0]) };
        let mut extra = extra();
        if long && new {
            extra["input_config"] = Value::Null;
        }
        return Err(problem(
            "value_not_in_list",
            "Value not in list",
            &format!("{name}: {} not in {list}", python(&coerced)),
            extra,
        ));
    }
    Ok(coerced)
}

fn integer(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) if number.is_f64() => Ok(json!(number.as_f64().unwrap_or_default().trunc() as i64)),
        Value::Number(_) => Ok(value.clone()),
        Value::Bool(value) => Ok(json!(u8::from(*value))),
        Value::String(text) => text
            .trim()
            .parse::<i64>()
            .map(|number| json!(number))
            .map_err(|_| format!("invalid literal for int() with base 10: '{text}'")),
        _ => Err(format!(
            "int() argument must be a string, a bytes-like object or a real number, not '{}'",
            python_type(value)
        )),
    }
}

fn float(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) => Ok(json!(number.as_f64())),
        Value::Bool(value) => Ok(json!(f64::from(u8::from(*value)))),
        Value::String(text) => text
            .trim()
            .parse::<f64>()
            .map(|number| json!(number))
            .map_err(|_| format!("could not convert string to float: '{text}'")),
        _ => Err(format!("float() argument must be a string or a real number, not '{}'", python_type(value))),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "dict",
        Value::Array(_) => "list",
        _ => "NoneType",
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| python(value), str::to_owned)
}

/// A value as Python prints it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(list) => format!("[{}]", list.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            format!(
                "{{{}}}",
                map.iter().map(|(key, value)| format!("'{key}': {}", python(value))).collect::<Vec<_>>().join(", ")
            )
        }
    }
}
