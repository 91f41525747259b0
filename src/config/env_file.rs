//! The env file's grammar, which is that of systemd's `EnvironmentFile=`: one file serves the unit and the program alike.
//! In: the bytes of a file. Out: assignments with their lines, and what is wrong or worth telling.
//!
//! Where systemd silently drops something (a line without `=`, a name with a blank in it, an open quote), this is a fault.
//! No `$` is expanded. Source of the grammar: systemd.exec(5) and systemd's src/basic/env-file.c, version 254 and later.

/// One `NAME=value`.
pub(super) struct Assignment {
    pub name: String,
    pub value: String,
    /// Counted from 1.
    pub line: usize,
}

/// What a file says.
#[derive(Default)]
pub(super) struct Parsed {
    pub assignments: Vec<Assignment>,
    /// Line and message. Messages never quote a value.
    pub faults: Vec<(usize, String)>,
    /// Line and message.
    pub warnings: Vec<(usize, String)>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        // CR LF is one line for people, though the grammar sees two ends of line.
        if byte == b'\n' || (byte == b'\r' && self.peek() != Some(b'\n')) {
            self.line += 1;
        }
        Some(byte)
    }

    fn rest_of_line(&mut self) -> &[u8] {
        let from = self.at;
        while self.peek().is_some_and(|byte| !is_newline(byte)) {
            self.at += 1;
        }
        &self.bytes[from..self.at]
    }
}

/// Reads a whole file. Never fails as a whole: every fault is listed and the rest is read on.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            let message = "begins with a byte order mark, which systemd takes for a part of the first name; remove it";
            parsed.warnings.push((1, message.into()));
            rest
        }
        None => bytes,
    };
    let mut cursor = Cursor { bytes, at: 0, line: 1 };
    while let Some(byte) = cursor.peek() {
        let line = cursor.line;
        if is_blank(byte) || is_newline(byte) {
            cursor.next();
        } else if matches!(byte, b'#' | b';') {
            if cursor.rest_of_line().ends_with(b"\\") {
                let message = "a comment ends in a backslash: systemd before 254 takes the next line for a comment too";
                parsed.warnings.push((line, message.into()));
            }
        } else {
            assignment(&mut cursor, &mut parsed);
        }
    }
    parsed
}

fn assignment(cursor: &mut Cursor<'_>, parsed: &mut Parsed) {
    let line = cursor.line;
    let mut name = Vec::new();
    loop {
        match cursor.peek() {
            Some(b'=') => break,
            Some(byte) if !is_newline(byte) => {
                name.push(byte);
                cursor.next();
            }
            _ => {
                return parsed
                    .faults
                    .push((line, "no `=` in this line; expected NAME=value, or # before a comment".into()));
            }
        }
    }
    cursor.next();
    let value = value(cursor, line, parsed);
    match (check_name(&name), value) {
        (Ok(name), Ok(value)) => parsed.assignments.push(Assignment { name, value, line }),
        (Err(message), Err(other)) => parsed.faults.extend([(line, message), other]),
        (Err(message), _) => parsed.faults.push((line, message)),
        (_, Err(fault)) => parsed.faults.push(fault),
    }
}

/// The name, or what is wrong with it; a text that is no name is not quoted, for it may be a mislaid secret.
fn check_name(name: &[u8]) -> Result<String, String> {
    let name = name.trim_ascii_end();
    let text = std::str::from_utf8(name).map_err(|_| "the name holds bytes that are not UTF-8".to_string())?;
    let is_name = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    if is_name(text) {
        return Ok(text.into());
    }
    match text.strip_prefix("export").map(str::trim_start) {
        Some(rest) if is_name(rest) => {
            Err(format!("`export` is a word of the shell that systemd does not know; write {rest}=... alone"))
        }
        _ => Err("before the `=` there must be a name of letters, digits and underscores".into()),
    }
}

/// The value from behind the `=` to its end of line, or a fault with its line.
fn value(cursor: &mut Cursor<'_>, line: usize, parsed: &mut Parsed) -> Result<String, (usize, String)> {
    let mut value = Vec::new();
    let mut open = None;
    // Quotes open only before the first bare character; blanks there are dropped, also between two quoted parts.
    let mut bare = false;
    loop {
        match cursor.peek() {
            Some(b'\'') if !bare => open = open.or(single_quoted(cursor, &mut value)),
            Some(b'"') if !bare => open = open.or(double_quoted(cursor, &mut value)),
            Some(byte) if is_blank(byte) && !bare => {
                cursor.next();
            }
            Some(byte) if !is_newline(byte) => {
                bare_text(cursor, &mut value, line, parsed);
                bare = true;
            }
            _ => break,
        }
    }
    if let Some(line) = open {
        return Err((line, "a quote opens here and is never closed".into()));
    }
    if value.contains(&0) {
        return Err((line, "the value holds a NUL byte".into()));
    }
    String::from_utf8(value).map_err(|_| (line, "the value holds bytes that are not UTF-8".into()))
}

/// Text outside quotes up to the end of line: backslash takes the next character as it is, or joins the next line.
fn bare_text(cursor: &mut Cursor<'_>, value: &mut Vec<u8>, line: usize, parsed: &mut Parsed) {
    let mut keep = value.len();
    let mut comment = false;
    while let Some(byte) = cursor.peek() {
        if is_newline(byte) {
            break;
        }
        comment |= byte == b'#' && cursor.bytes[..cursor.at].last().copied().is_some_and(is_blank);
        cursor.next();
        if byte == b'\\' {
            match cursor.next() {
                Some(escaped) if !is_newline(escaped) => value.push(escaped),
                _ => {}
            }
            keep = value.len();
        } else {
            value.push(byte);
            if !is_blank(byte) {
                keep = value.len();
            }
        }
    }
    value.truncate(keep);
    if comment {
        let message = "the # and what follows is a part of the value: a comment needs a line of its own";
        parsed.warnings.push((line, message.into()));
    }
}

/// Reads past a closing `'`; all between is taken as it is. The line of the opening quote if it is never closed.
fn single_quoted(cursor: &mut Cursor<'_>, value: &mut Vec<u8>) -> Option<usize> {
    let opened = cursor.line;
    cursor.next();
    loop {
        match cursor.next() {
            Some(b'\'') => return None,
            Some(byte) => value.push(byte),
            None => return Some(opened),
        }
    }
}

/// Reads past a closing `"`; a backslash escapes `"`, `\`, `` ` `` and `$`, joins lines, and otherwise stays.
fn double_quoted(cursor: &mut Cursor<'_>, value: &mut Vec<u8>) -> Option<usize> {
    let opened = cursor.line;
    cursor.next();
    loop {
        match cursor.next() {
            Some(b'"') => return None,
            Some(b'\\') => match cursor.next() {
                Some(byte @ (b'"' | b'\\' | b'`' | b'$')) => value.push(byte),
                Some(b'\n') => {}
                Some(byte) => value.extend([b'\\', byte]),
                None => return Some(opened),
            },
            Some(byte) => value.push(byte),
            None => return Some(opened),
        }
    }
}
