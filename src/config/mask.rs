//! How a value may be shown: secrets never, passwords inside addresses neither.
//! In: a variable and its text. Out: text that is safe in logs, reports and answers.

use super::variable::{Kind, Mark, Variable};

const MASK: &str = "***";
/// Longest value in an error; the rest says nothing more.
const SHOWN: usize = 80;

/// The text as `config show` may print it.
pub(super) fn masked(variable: &Variable, text: &str) -> String {
    if variable.mark == Mark::Secret {
        return MASK.into();
    }
    match variable.kind {
        Kind::RedisUrl | Kind::StoreUrl | Kind::HttpUrl => mask_url(text),
        // A comma may stand in a password too: behind the first `@` alone is it surely between two addresses.
        Kind::EngineUrls | Kind::ApiUrls if text.contains('@') => {
            let parts: Vec<_> = text.split(',').collect();
            if parts.iter().all(|part| part.contains("://")) {
                parts.into_iter().map(|part| mask_url(part.trim())).collect::<Vec<_>>().join(",")
            } else {
                MASK.into()
            }
        }
        Kind::EngineUrls | Kind::ApiUrls => {
            text.split(',').map(|part| mask_url(part.trim())).collect::<Vec<_>>().join(",")
        }
        _ => text.into(),
    }
}

/// The text as an error may quote it: masked and short.
pub(super) fn quoted(variable: &Variable, text: &str) -> String {
    let shown = masked(variable, text);
    if shown.chars().count() > SHOWN {
        format!("{}…", shown.chars().take(SHOWN).collect::<String>().escape_debug())
    } else {
        shown.escape_debug().to_string()
    }
}

/// An address without password and query. Works on broken addresses too, and then rather hides too much.
pub(super) fn mask_url(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (before, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => match user.split_once(':') {
            Some((user, _)) if !scheme.is_empty() => (format!("{user}:{MASK}@"), rest),
            _ => (format!("{MASK}@"), rest),
        },
        None => (String::new(), rest),
    };
    match rest.split_once(['?', '#']) {
        Some((rest, _)) => format!("{scheme}{before}{rest}?{MASK}"),
        None => format!("{scheme}{before}{rest}"),
    }
}
