//! Lines put together into what Redis did at once.
//! In: lines in order. Out: steps that change something, each when the line behind it shows that it is whole.

use super::line::Line;

/// The commands of one script, or one command of a client.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// When its last command ran, by the clock of Redis.
    pub at_us: u64,
    /// One of ours, which keep rules; other programs ask nobody.
    pub script: bool,
    /// Job and token as the script was told them.
    pub spoken: Vec<(String, String)>,
    pub commands: Vec<Vec<String>>,
}

/// Puts lines together.
#[derive(Default)]
pub struct Steps {
    open: Step,
}

/// The first word of scripts that stand for other people's programs.
pub const FOREIGN: &str = "-- theirs";

impl Steps {
    /// Takes the next line; answers the step that it ends, if that one changed something.
    pub fn take(&mut self, line: Line) -> Option<Step> {
        let Line { at_us, lua, words } = line;
        if lua {
            self.open.at_us = at_us;
            if !words.is_empty() {
                self.open.commands.push(words);
            }
            return None;
        }
        let ended = self.end();
        self.open.at_us = at_us;
        match words.first().map(|verb| verb.to_ascii_uppercase()).as_deref() {
            Some("EVAL" | "EVALSHA") => {
                self.open.script = !words.get(1).is_some_and(|text| text.starts_with(FOREIGN));
                self.open.spoken = spoken(&words);
            }
            None => {}
            Some(_) => self.open.commands.push(words),
        }
        ended
    }

    /// What is open now is whole.
    pub fn end(&mut self) -> Option<Step> {
        let ended = std::mem::take(&mut self.open);
        (!ended.commands.is_empty()).then_some(ended)
    }
}

/// Every pair of a name and a token that stand side by side among a script's arguments.
fn spoken(words: &[String]) -> Vec<(String, String)> {
    let is_token =
        |word: &str| word.len() < 300 && word.split_once('|').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    let mut pairs = Vec::new();
    let mut id: Option<&String> = None;
    for word in words.iter().skip(2) {
        if !is_token(word) {
            id = Some(word);
        } else if let Some(id) = id {
            // A second token in a row belongs to the same job: the one that takes over.
            pairs.push((id.clone(), word.clone()));
        }
    }
    pairs
}
