//! One event of the stream, made once for all viewers: as it is, and packed for those who take that.
//! In: an id, a name, JSON. Out: bytes that stand for themselves, whatever was sent before them.
//!
//! Packed frames are blocks of one gzip stream that refer to nothing before them and end on a whole byte. So each is packed once,
//! by the first who needs it, and put behind whatever a viewer has had before.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use std::sync::OnceLock;

/// What a packed stream begins with: gzip, deflated, no name, no time, of an unknown system.
pub(super) const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// One event.
#[derive(Debug)]
pub(super) struct Frame {
    plain: Bytes,
    packed: OnceLock<Bytes>,
}

impl Frame {
    pub fn new(id: &str, event: &str, json: &[u8]) -> Self {
        let head = format!("id: {id}\nevent: {event}\ndata: ");
        Self { plain: [head.as_bytes(), json, b"\n\n"].concat().into(), packed: OnceLock::new() }
    }

    /// As it is, or packed.
    pub fn bytes(&self, packed: bool) -> Bytes {
        match packed {
            true => self.packed.get_or_init(|| pack(&self.plain)).clone(),
            false => self.plain.clone(),
        }
    }
}

/// As blocks of their own.
fn pack(plain: &[u8]) -> Bytes {
    let mut packing = Compress::new(Compression::fast(), false);
    let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
    loop {
        let done = usize::try_from(packing.total_in()).unwrap_or(usize::MAX).min(plain.len());
        let before = packed.len();
        let status = packing.compress_vec(&plain[done..], &mut packed, FlushCompress::Full);
        let is_whole = packing.total_in() == plain.len() as u64 && packed.len() < packed.capacity();
        // Nothing fails for input like this, and nothing stands still while there is room.
        if is_whole || !matches!(status, Ok(Status::Ok)) && packed.len() == before {
            return packed.into();
        }
        packed.reserve(plain.len() / 4 + 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn packed_frames_stand_behind_each_other_in_any_order_and_are_small() {
        let long = serde_json::to_vec(&(0..20_000).collect::<Vec<u32>>()).unwrap();
        let frames = [
            Frame::new("1", "snapshot", &long),
            Frame::new("2", "beat", b"{}"),
            Frame::new("3", "log", b"[\"\xc3\xbc\"]"),
        ];
        for order in [[0, 1, 2], [2, 0, 1], [1, 1, 0]] {
            let mut wire = GZIP_HEAD.to_vec();
            let mut expected = Vec::new();
            for at in order {
                wire.extend_from_slice(&frames[at].bytes(true));
                expected.extend_from_slice(&frames[at].bytes(false));
                // What has come so far can be read, although the stream goes on.
                let mut read = vec![0; expected.len()];
                flate2::bufread::GzDecoder::new(&wire[..]).read_exact(&mut read).unwrap();
                assert_eq!(read, expected);
            }
        }
        assert!(frames[0].bytes(true).len() * 2 < frames[0].bytes(false).len());
        assert!(frames[1].bytes(false).starts_with(b"id: 2\nevent: beat\ndata: {}\n\n"));
    }
}
