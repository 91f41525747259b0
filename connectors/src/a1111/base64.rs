//! Base64 that is decoded letter by letter, as an answer arrives.
//! In: letters. Out: bytes, taken away from time to time.

use bytes::{Bytes, BytesMut};

/// The document is no answer of this kind, or a picture in it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// Base64 as it comes, without a data prefix if one stands before it.
#[derive(Default)]
pub(super) struct Base64 {
    pub out: BytesMut,
    bits: u32,
    count: u8,
    padding: u8,
    /// The first letters, until it is sure that they are no `data:`.
    head: Vec<u8>,
    begun: bool,
    in_prefix: bool,
}

impl Base64 {
    pub fn push(&mut self, byte: u8) -> Result<(), Garbled> {
        if self.begun {
            return self.letter(byte);
        }
        if self.in_prefix {
            (self.begun, self.in_prefix) = (byte == b',', byte != b',');
            return Ok(());
        }
        self.head.push(byte);
        if self.head == b"data:" {
            self.head.clear();
            self.in_prefix = true;
        } else if !b"data:".starts_with(&self.head) {
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Garbled> {
        self.begun = true;
        std::mem::take(&mut self.head).into_iter().try_for_each(|letter| self.letter(letter))
    }

    fn letter(&mut self, letter: u8) -> Result<(), Garbled> {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if self.padding < 2 => {
                self.padding += 1;
                return Ok(());
            }
            _ => return Err(Garbled),
        };
        if self.padding > 0 {
            return Err(Garbled);
        }
        self.bits = self.bits << 6 | u32::from(value);
        self.count += 1;
        if self.count == 4 {
            self.out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            (self.bits, self.count) = (0, 0);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Bytes, Garbled> {
        if !self.begun {
            self.begin()?;
        }
        match self.count {
            0 => {}
            2 => self.out.extend_from_slice(&[(self.bits >> 4) as u8]),
            3 => self.out.extend_from_slice(&((self.bits >> 2) as u16).to_be_bytes()),
            _ => return Err(Garbled),
        }
        Ok(self.out.freeze())
    }
}

/// A whole text at once, with or without a data prefix; `None` if it is no base64.
pub(super) fn decode(text: &str) -> Option<Bytes> {
    let mut letters = Base64::default();
    text.bytes().try_for_each(|byte| letters.push(byte)).ok()?;
    letters.finish().ok()
}
