//! One line of MONITOR: `1795344824.662614 [0 lua] "ZADD" "key" "1" "member"`.
//! In: its bytes. Out: when, by whom, and the words, as far as they matter here.

/// What a line says.
#[derive(Debug, PartialEq)]
pub struct Line {
    pub at_us: u64,
    /// A script's own command, not a client's.
    pub lua: bool,
    /// Empty if the command only reads.
    pub words: Vec<String>,
}

/// Commands that change what is followed, and those that begin a script.
const TOLD: [&str; 13] = [
    "HSET", "HMSET", "HSETNX", "HDEL", "ZADD", "ZREM", "DEL", "UNLINK", "XADD", "FLUSHALL", "FLUSHDB", "EVAL",
    "EVALSHA",
];
/// Payloads and results are of no interest; whatever is followed is shorter.
const LONGEST: usize = 400;

/// Reads one; `None` if it is no such line.
pub fn parse(line: &[u8]) -> Option<Line> {
    let bracket = line.iter().position(|byte| *byte == b'[')?;
    let close = bracket + line[bracket..].iter().position(|byte| *byte == b']')?;
    let (seconds, micros) = std::str::from_utf8(&line[..bracket]).ok()?.trim().split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let lua = line[bracket..close].ends_with(b" lua");
    let mut rest = &line[close + 1..];
    let mut words: Vec<String> = Vec::new();
    while let Some((word, after)) = word(rest)? {
        if words.is_empty() && !TOLD.iter().any(|told| word.eq_ignore_ascii_case(told)) {
            break;
        }
        words.push(word);
        rest = after;
    }
    Some(Line { at_us, lua, words })
}

/// The next quoted word, and what follows it; `None` inside if the line is at its end.
fn word(text: &[u8]) -> Option<Option<(String, &[u8])>> {
    let Some(quote) = text.iter().position(|byte| *byte == b'"') else { return Some(None) };
    let (mut bytes, mut at) = (Vec::new(), quote + 1);
    loop {
        let byte = *text.get(at)?;
        at += 1;
        let plain = match byte {
            b'"' => break,
            b'\\' => {
                let escaped = *text.get(at)?;
                at += 1;
                match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = std::str::from_utf8(text.get(at..at + 2)?).ok()?;
                        at += 2;
                        u8::from_str_radix(digits, 16).ok()?
                    }
                    other => other,
                }
            }
            other => other,
        };
        if bytes.len() < LONGEST {
            bytes.push(plain);
        }
    }
    Some(Some((String::from_utf8_lossy(&bytes).into_owned(), &text[at..])))
}
