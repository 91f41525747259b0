//! Shapes of websocket messages and binary frames.
//! In: what happened. Out: the JSON text or bytes a client gets.

use axum::extract::ws::Message;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Jpeg,
    Png,
}

impl PictureFormat {
    fn code(self) -> u32 {
        match self {
            PictureFormat::Jpeg => 1,
            PictureFormat::Png => 2,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            PictureFormat::Jpeg => "image/jpeg",
            PictureFormat::Png => "image/png",
        }
    }
}

pub(crate) fn text(kind: &str, data: Value) -> Message {
    Message::Text(json!({"type": kind, "data": data}).to_string().into())
}

pub(crate) fn status(remaining: usize, sid: Option<&str>) -> Message {
    let mut data = json!({"status": {"exec_info": {"queue_remaining": remaining}}});
    if let Some(sid) = sid {
        data["sid"] = json!(sid);
    }
    text("status", data)
}

/// Frame type 1.
pub(crate) fn preview(format: PictureFormat, picture: &[u8]) -> Message {
    let mut frame = BytesMut::with_capacity(8 + picture.len());
    frame.put_u32(1);
    frame.put_u32(format.code());
    frame.put_slice(picture);
    Message::Binary(frame.freeze())
}

/// Frame type 4.
pub(crate) fn preview_with_metadata(node: &str, prompt_id: &str, format: PictureFormat, picture: &[u8]) -> Message {
    let metadata = json!({
        "node_id": node, "prompt_id": prompt_id, "display_node_id": node, "parent_node_id": null, "real_node_id": node,
        "image_type": format.media_type(),
    })
    .to_string();
    let mut frame = BytesMut::with_capacity(8 + metadata.len() + picture.len());
    frame.put_u32(4);
    frame.put_u32(metadata.len() as u32);
    frame.put_slice(metadata.as_bytes());
    frame.put_slice(picture);
    Message::Binary(frame.freeze())
}

/// Preview of a node that makes JPEG previews; says `stand-in`.
pub(crate) const PREVIEW_JPEG: Bytes = Bytes::from_static(include_bytes!("preview.jpg"));
/// Two frames that say `stand-in`, for the nodes that save animated WEBP.
pub(crate) const ANIMATION_WEBP: Bytes = Bytes::from_static(include_bytes!("animation.webp"));
