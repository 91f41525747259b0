//! The other side of the wire, byte by byte: clients of good libraries cannot send what hostile ones do.

use crate::support::PATIENCE;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    /// 0: the connection was closed without a word.
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// Sends these bytes on a connection of their own and reads one answer, or all until the other side closes.
pub async fn ask(at: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    // A refusal may come, and the connection go, before all has been sent.
    let _ = stream.write_all(request.as_ref()).await;
    answer(&mut stream).await
}

/// Reads one answer, or all until the other side closes.
pub async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let answer = parse(&bytes);
            if answer.as_ref().is_some_and(|(_, whole)| *whole) {
                return answer;
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return answer,
                Ok(_) => {}
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, reading).await.expect("an answer, or the end of the connection");
    answer.map(|(answer, _)| answer).unwrap_or_default()
}

/// The answer so far, and whether that is all of it.
fn parse(bytes: &[u8]) -> Option<(Answer, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let whole = length.is_some_and(|length: usize| body.len() >= length);
    Some((Answer { status, headers, body: body.to_owned() }, whole))
}
