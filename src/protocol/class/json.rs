//! JSON read strictly and written canonically.
//! In: text that anybody may have written. Out: a value with canonical numbers, or the rest of a sentence that says why not.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Integers up to here are the same as text, as integer and as double.
const EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// No size of anything; keeps rounding away from infinity, which JSON cannot write.
const LARGEST: f64 = 1e300;

/// Reads one JSON text. Refuses what is too long or too deep, and a key that appears twice in one object.
pub(super) fn read(text: &str, max_bytes: usize, max_depth: usize) -> Result<Value, String> {
    if text.len() > max_bytes {
        return Err(format!("is {} bytes long, more than the {max_bytes} allowed", text.len()));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Level { left: max_depth }.deserialize(&mut reader).map_err(|e| sentence(&e))?;
    reader.end().map_err(|e| sentence(&e))?;
    Ok(value)
}

/// Writes keys sorted by their bytes and no spaces, whatever map the JSON library was built with.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    write_into(value, &mut out);
    out
}

/// A number as its shortest text: `24.0` and `2.4e1` are `24`. Fractions keep 15 digits, because the JSON library may
/// read the last bit wrong: with all 17, a definition read back would no longer say what was written.
pub(super) fn canonical_number(number: f64) -> Value {
    let whole = |n: f64| n.fract() == 0.0 && n.abs() < EXACT_INTEGER;
    let mut number = number.clamp(-LARGEST, LARGEST);
    if !whole(number) {
        number = format!("{number:.14e}").parse().unwrap_or(number);
    }
    if whole(number) { Value::from(number as i64) } else { Value::from(number) }
}

fn write_into(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_into(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_into(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn sentence(error: &serde_json::Error) -> String {
    if error.is_data() { error.to_string() } else { format!("is not JSON: {error}") }
}

#[derive(Clone, Copy)]
struct Level {
    left: usize,
}

impl Level {
    fn down<E: Error>(self) -> Result<Level, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Level { left }),
            None => Err(E::custom("is nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(canonical_number(value as f64))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(canonical_number(value as f64))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(canonical_number(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let below = self.down()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.down()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(below)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("has the key `{key}` twice in one object")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
