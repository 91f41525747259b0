//! Which model answers a job that names none.
//! In: what the configuration names, what the server lists. Out: the model in the body, or the news that one must be named.

use super::flavour::Flavour;
use super::payload::{Op, Plan};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};

/// How many names are told, and how much of each is looked at, in characters.
const TOLD: usize = 5;
const NAME_MAX: usize = 80;

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

/// What there is in place of a model that is not: the names that look most like it.
pub(super) fn there_is(name: &str, listed: &[String]) -> String {
    let mut near: Vec<(usize, &String)> = listed.iter().map(|one| (distance(name, one), one)).collect();
    near.sort();
    let cut = |name: &str| name.chars().take(NAME_MAX).collect::<String>();
    let names: Vec<String> = near.iter().take(TOLD).map(|(_, one)| format!("`{}`", cut(one))).collect();
    match listed.len().saturating_sub(TOLD) {
        _ if names.is_empty() => String::new(),
        0 => format!("; it has {}", names.join(", ")),
        more => format!("; it has {} and {more} more", names.join(", ")),
    }
}

/// How many letters must be changed, added or left out to make one name of the other (Levenshtein), whatever their case.
fn distance(one: &str, other: &str) -> usize {
    let letters = |name: &str| name.chars().take(NAME_MAX).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (place, theirs) in other.iter().enumerate() {
            let changed = before + usize::from(letter != theirs);
            before = row[place + 1];
            row[place + 1] = changed.min(before + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_of_many_only_some() {
        let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(there_is("gpt-4o-mni", &[]), "");
        let names = listed(&["whisper-1", "gpt-4.1", "GPT-4o-mini"]);
        assert_eq!(there_is("gpt-4o-mni", &names), "; it has `GPT-4o-mini`, `gpt-4.1`, `whisper-1`");
        let many: Vec<String> = (0..40).map(|n| format!("model-{n:02}")).collect();
        let told = there_is("model-17", &many);
        assert!(told.starts_with("; it has `model-17`, ") && told.ends_with(" and 35 more"), "{told}");
        for (one, other, steps) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("größe", "GRÖSSE", 2)] {
            assert_eq!((distance(one, other), distance(other, one)), (steps, steps), "{one} {other}");
        }
    }
}
