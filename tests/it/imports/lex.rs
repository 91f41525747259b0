//! Takes a source text apart, as far as paths need it.
//! In: Rust source. Out: words, path separators and signs with their lines; comments and literals are gone.

/// A piece of source text that matters here, with its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    PathSeparator,
    Sign(char),
}

/// Words, path separators and signs of a source text, without comments and literals.
pub(super) fn lex(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        match chars[at] {
            '/' if peek(at + 1) == '/' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            '/' if peek(at + 1) == '*' => {
                let mut nested = 0;
                while at < chars.len() {
                    match (chars[at], peek(at + 1)) {
                        ('/', '*') => (nested, at) = (nested + 1, at + 2),
                        ('*', '/') => (nested, at) = (nested - 1, at + 2),
                        _ => at += 1,
                    }
                    if nested == 0 {
                        break;
                    }
                }
            }
            '"' => at = after_string(&chars, at),
            '\'' if peek(at + 1) == '\\' => {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if peek(at + 2) == '\'' => at += 3,
            ':' if peek(at + 1) == ':' => {
                tokens.push((line, Token::PathSeparator));
                at += 2;
            }
            c if is_word(c) => {
                while is_word(peek(at)) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && peek(at + hashes) == '"' {
                    at = after_raw_string(&chars, at, hashes);
                } else {
                    tokens.push((line, Token::Word(word)));
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((line, Token::Sign(c)));
                }
                at += 1;
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

/// Where a string literal that starts at `at` ends.
fn after_string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Where a raw string literal ends whose `hashes` signs start at `at`.
fn after_raw_string(chars: &[char], at: usize, hashes: usize) -> usize {
    let mut end = at + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take_while(|&&c| c == '#').count() >= hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}
