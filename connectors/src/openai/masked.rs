//! What a server says, without what it repeats of the key and of the user's words.
//! In: its message, the key that was sent, what the user wrote. Out: one short line for people.
//!
//! Servers quote keys in part (`sk-ab***yz`, "ending in 7890") and cut prompts where they like, so parts are looked for:
//! a word goes if it holds six characters of the key in a row, if it is the key's first or last four or more, if it is
//! starred out, or if it looks like a key of the service; of the user's words goes whatever is sixteen bytes long or more, and
//! shorter lines if they are repeated whole.

use std::collections::HashMap;

/// What is looked at of a message, and what is shown of it, in characters.
const READ_MAX: usize = 2000;
const SHOWN_MAX: usize = 200;
/// So much of the key tells something of it.
const KEY_PART: usize = 6;
const KEY_END: usize = 4;
/// So much of a prompt is no chance; shorter lines count as a whole.
const USER_PART: usize = 16;
const USER_LINE: usize = 6;
/// What is compared of the user's words, in bytes: a longer prompt is not to hold up everybody else.
const USER_MAX: usize = 1 << 20;

/// The first line, short, without the key and without what the user wrote.
pub(super) fn masked(message: &str, key: Option<&str>, written: &[String]) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().take(READ_MAX).collect();
    let line = without_user(&line, written);
    let words = line.split_whitespace().map(|word| if tells_of_key(word, key) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(SHOWN_MAX).collect()
}

fn tells_of_key(word: &str, key: Option<&str>) -> bool {
    let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric() && letter != '*');
    let is_like_one = bare.starts_with("sk-") || bare.contains("***");
    let is_part = |key: &str| {
        let is_end = bare.len() >= KEY_END && (key.starts_with(bare) || key.ends_with(bare));
        let key = key.as_bytes();
        let part = KEY_PART.min(key.len());
        is_end || part > 0 && key.windows(part).any(|part| word.as_bytes().windows(part.len()).any(|at| at == part))
    };
    is_like_one || key.is_some_and(is_part)
}

fn without_user(line: &str, written: &[String]) -> String {
    let bytes = line.as_bytes();
    let mut is_theirs = vec![false; bytes.len()];
    let lines = || written.iter().flat_map(|text| text.lines()).map(str::trim).filter(|text| text.len() >= USER_LINE);
    // The message's parts and their places, for each length that lines are compared in: prompts are long, the message is not.
    let mut places: HashMap<usize, HashMap<&[u8], Vec<usize>>> = HashMap::new();
    let mut compared = 0;
    for text in lines() {
        compared += text.len();
        if compared > USER_MAX {
            break;
        }
        let length = text.len().min(USER_PART);
        let here = places.entry(length).or_insert_with(|| {
            let mut here: HashMap<&[u8], Vec<usize>> = HashMap::new();
            bytes.windows(length).enumerate().for_each(|(at, part)| here.entry(part).or_default().push(at));
            here
        });
        for at in text.as_bytes().windows(length).filter_map(|part| here.remove(part)).flatten() {
            is_theirs[at..at + length].fill(true);
        }
    }
    let mut out = String::with_capacity(line.len());
    let mut hidden = false;
    for (at, letter) in line.char_indices() {
        let is_hidden = is_theirs[at..at + letter.len_utf8()].contains(&true);
        match (is_hidden, hidden) {
            (true, false) => out.push('…'),
            (true, true) => {}
            (false, _) => out.push(letter),
        }
        hidden = is_hidden;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_key_is_shown_however_it_is_quoted() {
        let key = "gsk-vA81kqLw0zRt7890";
        for (said, shown) in [
            ("Incorrect key: gsk-vA81kqLw0zRt7890.", "Incorrect key: …"),
            ("Incorrect key: 'gsk-vA*********7890'", "Incorrect key: …"),
            ("key \"gsk-vA81\" is not known", "key … is not known"),
            ("the key ending in 7890 has no credit", "the key ending in … has no credit"),
            ("see http://h/?api_key=gsk-vA81kqLw0zRt7890&x=1", "see …"),
            ("Bearer:gsk-vA81kqLw0zRt7890", "…"),
            ("you sent sk-somebody-elses", "you sent …"),
            ("the model is overloaded", "the model is overloaded"),
        ] {
            assert_eq!(masked(said, Some(key), &[]), shown);
        }
        assert_eq!(masked("no key at all", None, &[]), "no key at all");
        assert_eq!(masked("an empty key", Some(""), &[]), "an empty key");
    }

    #[test]
    fn what_the_user_wrote_is_not_shown_whole_or_in_part() {
        let written = ["Tell me all about Größe and its secrets, please.\nhush-1".to_owned()];
        for (said, shown) in [
            ("bad: Tell me all about Größe and its secrets, please.", "bad: …"),
            ("bad: 'e all about Größe and its sec...'", "bad: '…...'"),
            ("bad: hush-1!", "bad: …!"),
            ("Tell me what this is", "Tell me what this is"),
        ] {
            assert_eq!(masked(said, None, &written), shown);
        }
        assert_eq!(masked("\n  \n first \nsecond", None, &[]), "first");
        assert_eq!(masked(&"x".repeat(1 << 20), None, &["x".repeat(1 << 20)]), "…");
        let endless = ["x\n".repeat(1 << 20), "y".repeat(64 << 20)];
        assert_eq!(masked("too long", None, &endless), "too long");
    }
}
