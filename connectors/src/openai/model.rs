//! Which model answers a job that names none.
//! In: what the configuration names, what the server lists. Out: the model in the body, or the news that one must be named.

use super::flavour::Flavour;
use super::payload::{Op, Plan};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};

/// What the reference asks for where a job names nothing, if the server has it.
const USUAL: &[(Op, &str)] = &[
    (Op::Chat, "gpt-4.1"),
    (Op::Responses, "gpt-4.1"),
    (Op::Embeddings, "text-embedding-3-small"),
    (Op::Images, "gpt-image-1"),
    (Op::Edits, "gpt-image-1"),
];

/// Whether a model can be meant for this, by its name: names are all that is known.
fn suits(op: Op, name: &str) -> bool {
    let has = |part: &str| name.to_ascii_lowercase().contains(part);
    match op {
        Op::Embeddings => has("embed"),
        Op::Images | Op::Edits => has("image") || has("dall-e"),
        _ => !has("embed") && !has("image") && !has("dall-e"),
    }
}

pub(super) fn choose(plan: &mut Plan, flavour: Flavour, declared: &[String], listed: &[String]) -> Result<(), Failure> {
    if plan.body.get("model").and_then(Value::as_str).is_some_and(|name| !name.trim().is_empty()) {
        return Ok(());
    }
    let op = plan.op;
    let usual =
        USUAL.iter().find(|(of, name)| *of == op && listed.iter().any(|there| there == name)).map(|(_, name)| *name);
    let only = |names: &[String]| {
        let mut suiting = names.iter().filter(|name| suits(op, name));
        suiting.next().filter(|_| suiting.next().is_none()).cloned()
    };
    let chosen = declared
        .iter()
        .find(|name| suits(op, name))
        .or(declared.first())
        .cloned()
        .or_else(|| usual.map(str::to_owned))
        .or_else(|| only(listed))
        .or_else(|| listed.first().filter(|_| listed.len() == 1).cloned());
    match chosen {
        Some(name) => {
            plan.body.insert("model".to_owned(), json!(name));
            Ok(())
        }
        // It has the one model that it was started with, whatever a request says.
        None if flavour == Flavour::LlamaCpp => Ok(()),
        None => Err(Failure::new(
            Reason::MissingRequiredField,
            "the payload names no model, and this server has several; name one, or set OPENAI_MODELS on the worker",
        )),
    }
}
