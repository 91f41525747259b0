//! The rule for custom requirements: a dotted key into the advertised JSON, and what it must hold.
//! In: what a worker has and what is needed. Out: yes or no.

use serde_json::Value;

/// What stands under a dotted key.
pub(super) fn look_up<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(document, |value, part| value.get(part))
}

/// A list: all of it is in the worker's list. A number: the worker has at least as much. Text, boolean: equal, or in the
/// worker's list. An object: each part by these rules, at any depth. What the worker lacks never satisfies.
pub(super) fn satisfies(has: Option<&Value>, needs: &Value) -> bool {
    let Some(has) = has else { return false };
    match (needs, has) {
        (Value::Object(parts), _) if !parts.is_empty() => {
            has.is_object() && parts.iter().all(|(key, part)| satisfies(has.get(key), part))
        }
        (Value::Array(wanted), Value::Array(items)) => wanted.iter().all(|one| items.iter().any(|i| equal(i, one))),
        // An empty `{}` and an empty `[]` are the same to producers without typed collections.
        (Value::Object(_), Value::Array(_)) => true,
        (Value::Array(wanted), Value::Object(parts)) => wanted.is_empty() && parts.is_empty(),
        (_, Value::Array(items)) => items.iter().any(|item| equal(item, needs)),
        (Value::Number(wanted), Value::Number(number)) => number.as_f64() >= wanted.as_f64(),
        (Value::Null, _) => false,
        _ => has == needs,
    }
}

/// Equality in which 4 and 4.0 are the same number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}
