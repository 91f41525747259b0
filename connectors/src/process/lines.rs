//! Lines out of a pipe, whatever their length.
//! In: bytes that a process writes. Out: one line at a time, of which only so much is held.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What a read of one line gave.
pub(super) enum Line {
    Read,
    TooLong,
    End,
}

/// Reads one line into `line`, without its end. Of a longer one than `most` only `most` bytes are held.
pub(super) async fn next_line(from: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Vec<u8>, most: usize) -> Line {
    line.clear();
    let mut begun = false;
    loop {
        let Ok(part) = from.fill_buf().await else { return Line::End };
        if part.is_empty() {
            return if begun { Line::Read } else { Line::End };
        }
        begun = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(part.len());
        let room = most.saturating_sub(line.len());
        line.extend_from_slice(&part[..taken.min(room)]);
        from.consume(taken + usize::from(end.is_some()));
        if taken > room {
            return Line::TooLong;
        }
        if end.is_some() {
            return Line::Read;
        }
    }
}
