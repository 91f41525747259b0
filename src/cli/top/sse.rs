//! The format of server-sent events, as far as it is needed here.
//! In: bytes as they come, cut anywhere. Out: events with a name and data.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub name: String,
    pub data: String,
}

/// More than any picture; what is longer is no agent.
const LONGEST: usize = 16 << 20;

/// Puts events together.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    after_cr: bool,
}

/// It is too long to be an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// Takes what came; answers the events that are whole.
    ///
    /// # Errors
    /// A line or an event has no end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            // Lines end with CR, LF or both.
            let is_end = matches!(byte, b'\r' | b'\n');
            let is_second = *byte == b'\n' && self.after_cr;
            self.after_cr = *byte == b'\r';
            if is_end && !is_second {
                let line = std::mem::take(&mut self.line);
                events.extend(self.line(&String::from_utf8_lossy(&line)));
            } else if !is_end {
                self.line.push(*byte);
            }
            if self.line.len() + self.data.len() > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return (!data.is_empty()).then_some(Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, ids, and what is not known yet.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": beat\n\nid: 1\r\nevent: snapshot\r\ndata: {\"a\":\r\ndata: \"ü\"}\r\n\r\nevent: lost\n\n\
                          data:plain\rid\r\rdata: no end";

    #[test]
    fn events_are_whole_wherever_the_bytes_are_cut() {
        let event = |name: &str, data: &str| Event { name: name.to_owned(), data: data.to_owned() };
        let expected = [event("snapshot", "{\"a\":\n\"ü\"}"), event("", "plain")];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let found: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|part| parser.take(part).unwrap()).collect();
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 1 << 20];
        let given_up = (0..20).find(|_| parser.take(&part) == Err(TooLong));
        assert_eq!(given_up, Some(16));
    }
}
