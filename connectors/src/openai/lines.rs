//! Lines out of a stream of bytes, and events out of lines.
//! In: bytes in any pieces. Out: whole events, each of limited size.
//!
//! Server-sent events as the HTML standard says (section 9.2.6): lines end with CR, LF or both, `:` begins a comment,
//! several `data` lines are joined, an empty line ends the event, what is no UTF-8 becomes U+FFFD, fields that nobody knows
//! are passed over. Bytes are cut at line ends before they are read as text, so that a letter may come in two pieces.
//! Two things are not of the standard: llama.cpp wrote errors under a field `error` until late in 2025, and some gateways
//! write an error as a line of JSON without any field.

use crate::http::Trouble;
use std::collections::VecDeque;

/// The longest line and the longest event: a whole response with a picture in it comes in one.
const LONGEST: usize = 32 << 20;

/// How events are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`.
    Events,
    /// Each line is one.
    Lines,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Data of an event, or a line.
    Data(String),
    /// A sign of life without content.
    Comment,
}

pub(super) struct Reader {
    form: Form,
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
    begun: bool,
    ready: VecDeque<Event>,
}

impl Reader {
    pub fn new(form: Form) -> Self {
        Self { form, line: Vec::new(), data: None, after_cr: false, begun: false, ready: VecDeque::new() }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (head, tail) = rest.split_at(at);
            let is_second = self.after_cr && head.is_empty() && tail[0] == b'\n';
            self.take(head)?;
            if !is_second {
                self.end_line()?;
            }
            self.after_cr = tail[0] == b'\r';
            rest = &tail[1..];
        }
        self.take(rest)
    }

    fn take(&mut self, part: &[u8]) -> Result<(), Trouble> {
        if !part.is_empty() {
            self.after_cr = false;
        }
        if self.line.len() + part.len() > LONGEST {
            return Err(Trouble::TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Trouble> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = &*text;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if self.form == Form::Lines {
            if !line.trim().is_empty() {
                self.ready.push_back(Event::Data(line.to_owned()));
            }
            return Ok(());
        }
        if line.is_empty() {
            self.ready.extend(self.data.take().map(Event::Data));
        } else if line.starts_with(':') {
            self.ready.push_back(Event::Comment);
        } else {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    let mut data = self.data.take().map_or_else(String::new, |data| data + "\n");
                    if data.len() + value.len() > LONGEST {
                        return Err(Trouble::TooLarge);
                    }
                    data.push_str(value);
                    self.data = Some(data);
                }
                "error" => self.ready.push_back(Event::Data(format!("{{\"error\":{value}}}"))),
                _ if line.starts_with('{') => self.ready.push_back(Event::Data(line.to_owned())),
                _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) => {}
                // A web page where events were to be.
                _ => return Err(Trouble::Nonsense),
            }
        }
        Ok(())
    }

    pub fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// The stream has ended. Some servers leave out the last empty line.
    pub fn finish(&mut self) -> Result<(), Trouble> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.ready.extend(self.data.take().map(Event::Data));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, pieces: &[&[u8]]) -> Result<Vec<Event>, Trouble> {
        let mut reader = Reader::new(form);
        for piece in pieces {
            reader.feed(piece)?;
        }
        reader.finish()?;
        Ok(std::iter::from_fn(|| reader.next()).collect())
    }

    fn data(text: &str) -> Event {
        Event::Data(text.to_owned())
    }

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let stream =
            ": ping\r\n\r\nevent: x\r\ndata: {\"a\":\"größer\"}\r\n\r\ndata:one\rdata: two\r\rdata\n\ndata: last"
                .as_bytes();
        let expected = [Event::Comment, data("{\"a\":\"größer\"}"), data("one\ntwo"), data(""), data("last")];
        assert_eq!(read(Form::Events, &[stream]).unwrap(), expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(
            read(Form::Events, &bytes).unwrap(),
            expected,
            "one byte at a time, letters and line ends cut in two"
        );
        assert_eq!(
            read(Form::Lines, &[b"{\"a\":1}\n\n{\"b\"", b":2}"]).unwrap(),
            [data("{\"a\":1}"), data("{\"b\":2}")]
        );
    }

    #[test]
    fn what_the_standard_says_of_odd_streams_and_what_servers_write_beside_it() {
        for (stream, expected) in [
            (&b"\xef\xbb\xbfdata: a\n\n"[..], "a"),
            (b"retry: 3\nid: 7\nx-trace: 8\nnoise\ndata: a\n\n", "a"),
            (b"data: a\xffb\n\n", "a\u{fffd}b"),
            (b"error: {\"code\":400}\n\n", "{\"error\":{\"code\":400}}"),
            (b"{\"error\":\"x\"}\n", "{\"error\":\"x\"}"),
        ] {
            assert_eq!(read(Form::Events, &[stream]).unwrap(), [data(expected)]);
        }
    }

    #[test]
    fn what_is_no_stream_of_events_and_what_has_no_end_is_refused() {
        assert_eq!(read(Form::Events, &[b"<html>\n"]), Err(Trouble::Nonsense));
        let mut reader = Reader::new(Form::Events);
        let block = vec![b'x'; 1 << 20];
        let endless = (0..100).find_map(|_| reader.feed(&block).err());
        assert_eq!(endless, Some(Trouble::TooLarge));
    }
}
