//! The rule by which a recorded value and an answered one count as the same: equal, but for what is said here.
//! In: both values. Out: the differences, by path.
//!
//! Times, random seeds and free memory are of the same type only. Pictures have the same head: format, size, colours.
//! What was cut out of a recording is not looked at; lists keep their recorded length.

use serde_json::Value;

/// Of the recording's day, machine or dice.
const FREE: &[&str] = &["eta", "eta_relative", "job_timestamp", "subseed", "all_subseeds", "free", "used", "total"];
/// Base64 of a PNG's head: signature, size, colours, checksum.
const PICTURE_HEAD: usize = 44;

pub struct Rule {
    /// Only some of the outermost fields were recorded.
    pub chosen: bool,
    /// Whether the request left the seed to the server.
    pub random_seed: bool,
    /// The number of steps is a leftover of a job before this recording.
    pub stale_steps: bool,
}

impl Rule {
    pub fn compare(&self, recorded: &Value, actual: &Value) -> Vec<String> {
        let mut differences = vec![];
        self.walk("", "", recorded, actual, &mut differences);
        differences
    }

    fn walk(&self, path: &str, key: &str, recorded: &Value, actual: &Value, differences: &mut Vec<String>) {
        let mut differ = |what: &str| {
            differences.push(format!("{path}: {what}: recorded {} but got {}", short(recorded), short(actual)));
        };
        let seeds = self.random_seed && ["seed", "all_seeds"].contains(&key) && path.contains("info");
        if FREE.contains(&key) || seeds || (self.stale_steps && key == "sampling_steps") {
            if std::mem::discriminant(recorded) != std::mem::discriminant(actual) {
                differ("type");
            }
            return;
        }
        match (recorded, actual) {
            (Value::Object(one), Value::String(other)) if one.contains_key("__base64_cut__") => {
                let head = one["head"].as_str().expect("a head");
                if other.get(..PICTURE_HEAD) != head.get(..PICTURE_HEAD) {
                    differ("picture");
                }
            }
            (Value::Object(one), Value::Object(other)) => {
                let cut = one.contains_key("__cut__") || (self.chosen && path.is_empty());
                if !cut && one.len() != other.len() {
                    return differ("keys");
                }
                for (name, value) in one.iter().filter(|(name, _)| *name != "__cut__") {
                    match other.get(name) {
                        Some(counterpart) => {
                            self.walk(&format!("{path}/{name}"), name, value, counterpart, differences);
                        }
                        None => differences.push(format!("{path}/{name}: missing")),
                    }
                }
            }
            (Value::Array(one), Value::Array(other)) => {
                let cut = one.last().and_then(|last| last["__cut__"].as_str());
                let in_all = cut.and_then(|cut| cut.split(' ').next()?.parse().ok());
                if in_all.or(cut.is_none().then_some(one.len())).is_some_and(|length| length != other.len()) {
                    return differ("length");
                }
                let kept = one.len() - usize::from(cut.is_some());
                for (at, (one, other)) in one.iter().take(kept).zip(other).enumerate() {
                    self.walk(&format!("{path}/{at}"), "", one, other, differences);
                }
            }
            (Value::Number(one), Value::Number(other)) => {
                let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
                if !one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| close(one, other)) {
                    differ("number");
                }
            }
            (Value::String(one), Value::String(other)) => {
                if let (Ok(one), Ok(other)) = (serde_json::from_str::<Value>(one), serde_json::from_str::<Value>(other))
                    && key == "info"
                {
                    return self.walk(&format!("{path}~"), key, &one, &other, differences);
                }
                if !self.same_text(one, other) {
                    differ("text");
                }
            }
            _ if recorded != actual => differ("value"),
            _ => {}
        }
    }

    fn same_text(&self, one: &str, other: &str) -> bool {
        if one.starts_with("iVBOR") {
            return one.get(..PICTURE_HEAD) == other.get(..PICTURE_HEAD);
        }
        if let Some(head) = one.strip_suffix("...(cut)") {
            return other.get(..20) == head.get(..20);
        }
        // Ids that the server makes up end in letters of the dice.
        if let Some((kind, _)) = one.strip_prefix("task(").and_then(|rest| rest.split_once("img-")) {
            return other.starts_with(&format!("task({kind}img-"));
        }
        if self.random_seed && one.contains("Seed: ") {
            return without_seed(one) == without_seed(other);
        }
        one == other
    }
}

fn without_seed(text: &str) -> String {
    let Some((before, after)) = text.split_once("Seed: ") else { return text.to_owned() };
    format!("{before}{}", after.trim_start_matches(|letter: char| letter.is_ascii_digit()))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(220).collect()
}
