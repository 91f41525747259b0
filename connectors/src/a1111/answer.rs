//! Takes an answer apart while it arrives: pictures as bytes, the little else that is wanted as text.
//! In: pieces of a JSON document, cut anywhere. Out: decoded picture bytes in order, and the small fields at the end.
//!
//! ```text
//!   { "images": [ "iVBOR…", … ], "parameters": {…}, "info": "{…}" }
//!       │            │ decoded as it comes │ passed over │ kept, up to a limit
//!       └ or "image": "iVBOR…" (upscaling)
//! ```
//!
//! A picture of 4096 by 4096 pixels is 60 MB as base64 and a batch holds several, so that nothing of it is kept here.

use super::base64::{Base64, Garbled};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Fields beside the pictures that are kept as they came; the echo of the request is not: it may hold pictures.
const KEPT: [&str; 2] = ["info", "html_info"];
/// The most that is kept of them; infotexts of a hundred pictures are far below.
const KEPT_MAX: usize = 4 << 20;
const PIECE: usize = 64 << 10;

/// What comes out, in order.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Bytes of the picture at hand.
    Data(Bytes),
    /// It is complete.
    End,
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// Between values.
    Plain,
    /// A string: a key, a field that is kept, or something passed over.
    Text,
    Picture,
}

pub(super) struct Scanner {
    depth: usize,
    within: Within,
    escaped: bool,
    /// The field of the outermost object that we are in.
    field: String,
    /// The string that was read last at the outermost level, until a colon says that it was a key.
    last: Vec<u8>,
    kept: BTreeMap<String, Vec<u8>>,
    kept_bytes: usize,
    base64: Base64,
    ended: bool,
}

impl Scanner {
    pub fn new() -> Self {
        Self {
            depth: 0,
            within: Within::Plain,
            escaped: false,
            field: String::new(),
            last: Vec::new(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            base64: Base64::default(),
            ended: false,
        }
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, Garbled> {
        let mut pieces = Vec::new();
        for &byte in bytes {
            match self.within {
                Within::Plain => self.plain(byte)?,
                Within::Text => self.text(byte)?,
                Within::Picture => self.picture(byte, &mut pieces)?,
            }
        }
        Ok(pieces)
    }

    /// The kept fields, as JSON texts; only a whole document has them.
    pub fn finish(self) -> Result<BTreeMap<String, serde_json::Value>, Garbled> {
        if !self.ended {
            return Err(Garbled);
        }
        let parsed = self.kept.into_iter().map(|(field, text)| Ok((field, serde_json::from_slice(&text)?)));
        parsed.collect::<Result<_, serde_json::Error>>().map_err(|_| Garbled)
    }

    fn keep(&mut self, byte: u8) -> Result<(), Garbled> {
        if self.depth >= 1 && KEPT.contains(&self.field.as_str()) {
            self.kept_bytes += 1;
            if self.kept_bytes > KEPT_MAX {
                return Err(Garbled);
            }
            self.kept.entry(self.field.clone()).or_default().push(byte);
        }
        Ok(())
    }

    fn plain(&mut self, byte: u8) -> Result<(), Garbled> {
        if self.ended {
            return if byte.is_ascii_whitespace() { Ok(()) } else { Err(Garbled) };
        }
        match byte {
            b'"' => {
                let is_picture =
                    (self.field == "images" && self.depth == 2) || (self.field == "image" && self.depth == 1);
                self.within = if is_picture { Within::Picture } else { Within::Text };
                self.last.clear();
                return if is_picture { Ok(()) } else { self.keep(byte) };
            }
            b':' if self.depth == 1 => {
                self.field = String::from_utf8_lossy(&self.last).into_owned();
                return Ok(());
            }
            b',' if self.depth == 1 => {
                self.field.clear();
                return Ok(());
            }
            b'{' | b'[' => {
                if self.depth == 0 && byte == b'[' {
                    return Err(Garbled);
                }
                self.keep(byte)?;
                self.depth += 1;
                return Ok(());
            }
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or(Garbled)?;
                self.ended = self.depth == 0;
            }
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => return Err(Garbled),
            _ => {}
        }
        self.keep(byte)
    }

    fn text(&mut self, byte: u8) -> Result<(), Garbled> {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.within = Within::Plain,
            // No key is longer; what is cut off here was a value.
            _ if self.depth == 1 && self.last.len() < 64 => self.last.push(byte),
            _ => {}
        }
        self.keep(byte)
    }

    fn picture(&mut self, byte: u8, pieces: &mut Vec<Piece>) -> Result<(), Garbled> {
        match byte {
            b'\\' if !self.escaped => self.escaped = true,
            b'"' if !self.escaped => {
                self.within = Within::Plain;
                let rest = std::mem::take(&mut self.base64).finish()?;
                if !rest.is_empty() {
                    pieces.push(Piece::Data(rest));
                }
                pieces.push(Piece::End);
            }
            // The one escape that base64 can need.
            _ if self.escaped && byte != b'/' => return Err(Garbled),
            _ => {
                self.escaped = false;
                self.base64.push(byte)?;
                if self.base64.out.len() >= PIECE {
                    pieces.push(Piece::Data(self.base64.out.split().freeze()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (Vec<Vec<u8>>, BTreeMap<String, serde_json::Value>);

    fn pictures(document: &str, cut: usize) -> Result<Found, Garbled> {
        let (mut scanner, mut found, mut open) = (Scanner::new(), Vec::new(), Vec::new());
        for part in document.as_bytes().chunks(cut) {
            for piece in scanner.feed(part)? {
                match piece {
                    Piece::Data(bytes) => open.extend_from_slice(&bytes),
                    Piece::End => found.push(std::mem::take(&mut open)),
                }
            }
        }
        Ok((found, scanner.finish()?))
    }

    #[test]
    fn pictures_and_info_are_found_wherever_the_pieces_are_cut() {
        let document = r#" {"images": ["TWFu", "TWE=", "data:image/png;base64,TQ==", "\/\/8=", ""],
            "parameters": {"images": ["no"], "info": "no", "init_images": null, "x": "a \" } ] \\"},
            "info": "{\"seed\": 7, \"prompt\": \"a { [ fox\"}"} "#;
        for cut in [1, 2, 3, 7, 4096] {
            let (found, kept) = pictures(document, cut).unwrap();
            assert_eq!(found, [b"Man".to_vec(), b"Ma".to_vec(), b"M".to_vec(), vec![255, 255], vec![]], "{cut}");
            assert_eq!(kept["info"], r#"{"seed": 7, "prompt": "a { [ fox"}"#);
            assert_eq!(kept.len(), 1);
        }
        let (found, kept) = pictures(r#"{"html_info": "<p>x</p>", "image": "TWFu"}"#, 5).unwrap();
        assert_eq!((found, &kept["html_info"]), (vec![b"Man".to_vec()], &"<p>x</p>".into()));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_answer() {
        for document in [
            r#"{"images": ["TWFu"]"#,
            r#"{"images": ["TW"#,
            r#"{"images": ["T"], "info": ""}"#,
            r#"{"images": ["TW Fu"], "info": ""}"#,
            r#"{"images": ["TW=Fu"], "info": ""}"#,
            r#"{"images": ["TWFu"], "info": ""} x"#,
            r#"["TWFu"]"#,
            "",
            "<html>",
        ] {
            assert_eq!(pictures(document, 4096).map(drop), Err(Garbled), "{document}");
        }
        let long = format!(r#"{{"info": "{}"}}"#, "x".repeat(KEPT_MAX));
        assert_eq!(pictures(&long, 4096).map(drop), Err(Garbled), "what is kept has a limit");
    }

    #[test]
    fn a_large_picture_leaves_in_pieces() {
        let mut scanner = Scanner::new();
        let document = format!(r#"{{"images": ["{}"]}}"#, "AAAA".repeat(100_000));
        let pieces = scanner.feed(document.as_bytes()).unwrap();
        let sizes: Vec<usize> =
            pieces.iter().map(|piece| if let Piece::Data(bytes) = piece { bytes.len() } else { 0 }).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 300_000);
        assert!(sizes.len() > 4 && sizes.iter().all(|size| *size <= PIECE + 3), "{sizes:?}");
    }
}
