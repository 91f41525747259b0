//! The binary frames of the websocket: pictures of work that goes on, in both layouts that servers use.
//! In: the bytes of one frame. Out: a picture and what the frame says about whose it is; nothing for any other frame.
//!
//! ```text
//!   u32 1 │ u32 format (1 JPEG, 2 PNG) │ picture                      says nothing of whose it is
//!   u32 4 │ u32 n │ n bytes of JSON: prompt_id, node_id … │ picture    only to clients that asked for it
//! ```
//!
//! All integers are big-endian. Other types (3: text of a node) and what is no picture after all are let go of.

use crate::contract::Preview;
use bytes::Bytes;
use serde::Deserialize;

const PLAIN: u32 = 1;
const DESCRIBED: u32 = 4;

/// A picture, and the prompt that it belongs to if the frame names one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub prompt_id: Option<String>,
    pub preview: Preview,
}

#[derive(Deserialize)]
struct Description {
    prompt_id: String,
    /// The node of the graph; `node_id` may be one that was made during the run.
    display_node_id: Option<String>,
    node_id: Option<String>,
}

impl Frame {
    /// `None` for what shows nothing: unknown types, frames cut short, contents that are neither JPEG nor PNG.
    pub fn read(frame: &Bytes) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        match word(0)? {
            PLAIN => Some(Self { prompt_id: None, preview: picture(frame.slice_ref(frame.get(8..)?), None)? }),
            DESCRIBED => {
                let end = 8usize.checked_add(word(4)? as usize)?;
                let said: Description = serde_json::from_slice(frame.get(8..end)?).ok()?;
                let node = said.display_node_id.or(said.node_id);
                let preview = picture(frame.slice_ref(frame.get(end..)?), node)?;
                Some(Self { prompt_id: Some(said.prompt_id), preview })
            }
            _ => None,
        }
    }
}

/// By its first bytes: what a frame claims to hold would be shown to people as it is.
fn picture(bytes: Bytes, node: Option<String>) -> Option<Preview> {
    let media_type = match &*bytes {
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        _ => return None,
    };
    Some(Preview { media_type, bytes, node })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0 and so on";

    fn frame(kind: u32, parts: &[&[u8]]) -> Bytes {
        [&[&kind.to_be_bytes()[..]], parts].concat().concat().into()
    }

    fn described(json: &str, picture: &[u8]) -> Bytes {
        frame(4, &[&(json.len() as u32).to_be_bytes(), json.as_bytes(), picture])
    }

    #[test]
    fn both_layouts_are_read_and_everything_else_is_let_go_of() {
        let plain = Frame::read(&frame(1, &[&1u32.to_be_bytes(), JPEG])).unwrap();
        assert_eq!((plain.prompt_id, plain.preview.media_type, plain.preview.node), (None, "image/jpeg", None));
        assert_eq!(plain.preview.bytes, JPEG);
        // The bytes count, not the format that is claimed.
        let png = Frame::read(&frame(1, &[&1u32.to_be_bytes(), b"\x89PNG\r\n\x1a\n"])).unwrap();
        assert_eq!(png.preview.media_type, "image/png");
        let json = r#"{"prompt_id":"p","node_id":"7.0.1","display_node_id":"7","image_type":"image/jpeg"}"#;
        let with_words = Frame::read(&described(json, JPEG)).unwrap();
        assert_eq!((with_words.prompt_id.as_deref(), with_words.preview.node.as_deref()), (Some("p"), Some("7")));
        assert_eq!(with_words.preview.bytes, JPEG);
        for nothing in [
            frame(3, &[&1u32.to_be_bytes(), b"7", b"a text"]),
            frame(2, &[&1u32.to_be_bytes(), JPEG]),
            frame(5, &[JPEG]),
            frame(1, &[&1u32.to_be_bytes(), b"<svg onload=alert(1)>"]),
            frame(1, &[&1u32.to_be_bytes()]),
            frame(1, &[&[0, 0]]),
            described("{}", JPEG),
            described("not json", JPEG),
            described(r#"{"prompt_id":"p"}"#, b""),
            frame(4, &[&u32::MAX.to_be_bytes(), JPEG]),
            Bytes::from_static(b"\0\0\0"),
            Bytes::new(),
        ] {
            assert_eq!(Frame::read(&nothing), None, "{nothing:?}");
        }
    }
}
