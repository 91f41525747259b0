//! What `config show` and `config check` answer.
//! In: what was loaded, or the report. Out: text for people and JSON for programs, without secrets.

use super::load::Loaded;
use super::report::{Origin, Report};
use super::variable::Group;
use serde_json::json;

/// Effective values by group, each with the place it comes from, for people.
pub fn show_text(loaded: &Loaded) -> String {
    let width = |text: fn(&super::Effective) -> usize| loaded.origins.iter().map(text).max().unwrap_or(0);
    let names = width(|entry| entry.name.len());
    let values = width(|entry| entry.value.as_ref().map_or(1, |value| value.chars().count())).min(48);
    let mut out = String::new();
    for group in Group::ALL {
        out += &format!("# {}\n", group.heading());
        for entry in loaded.origins.iter().filter(|entry| entry.group == group) {
            let value = entry.value.as_deref().unwrap_or("-");
            out += &format!("{:names$}  {value:values$}  {}\n", entry.name, entry.origin);
        }
        out.push('\n');
    }
    for warning in &loaded.warnings {
        out += &format!("warning: {warning}\n");
    }
    out
}

/// The same as one JSON object: `variables` (`name`, `value` or null, `from`, and `file` with `line` for values of the env
/// file) and `warnings`.
pub fn show_json(loaded: &Loaded) -> serde_json::Value {
    let variables: Vec<_> = loaded
        .origins
        .iter()
        .map(|entry| {
            let mut object = json!({ "name": entry.name, "value": entry.value });
            match &entry.origin {
                Origin::File { path, line } => {
                    object["from"] = "file".into();
                    object["file"] = path.display().to_string().into();
                    object["line"] = (*line).into();
                }
                other => object["from"] = other.to_string().into(),
            }
            object
        })
        .collect();
    json!({ "variables": variables, "warnings": loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>() })
}

/// The report, or `ok` with the warnings.
pub fn check_text(result: &Result<Loaded, Report>) -> String {
    match result {
        Ok(loaded) => {
            let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            format!("{warnings}ok\n")
        }
        Err(report) => report.to_string(),
    }
}
