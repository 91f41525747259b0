//! The websocket: opened by an HTTP upgrade, read by a task of its own, pinged.
//! In: frames, of all prompts and of none. Out: our prompt's messages and newest picture, and the end of the socket.
//!
//! ```text
//!   open ──▶ reading ──▶ server ended it ──────────────▶ Closed
//!               │  └───── a ping was not answered ─────▶ Closed
//!               └──────── dropped: task ended, TCP closed
//! ```

use super::frame::Frame as Binary;
use super::http::{Http, Trouble};
use super::message::Message;
use crate::contract::Preview;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode, Upgraded, header};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::task::AbortOnDropHandle;

/// Previews of large pictures come as one frame.
const FRAME_MAX: usize = 256 << 20;

/// What the reader tells.
#[derive(Debug)]
pub(super) enum Event {
    /// A message about our prompt.
    Ours(Message),
    /// There may be a new picture of our prompt: see [`Socket::take_preview`].
    Preview,
    /// The server is alive: it answered a ping, or spoke about something else.
    Alive,
    /// No more will come.
    Closed,
}

/// One picture at most: whoever is slow misses some.
type Newest = Arc<Mutex<Option<Preview>>>;

/// An open socket. Dropping it ends it.
pub(super) struct Socket {
    events: mpsc::UnboundedReceiver<Event>,
    newest: Newest,
    _reader: AbortOnDropHandle<()>,
}

impl Socket {
    /// Connects as `client_id`; passes on messages about `prompt_id` alone.
    pub async fn open(
        http: &Http,
        client_id: &str,
        prompt_id: &str,
        limit: Duration,
        ping: Duration,
    ) -> Result<Self, Trouble> {
        let stream = timeout(limit, upgrade(http, client_id)).await.unwrap_or(Err(Trouble::Silent))?;
        // Unbounded on purpose: a reader that waits stalls the messages of all clients of the server. What is
        // queued here is small (pictures and other people's messages are not in it) and ends with the run.
        let (sender, events) = mpsc::unbounded_channel();
        let newest = Newest::default();
        let whose = Whose { prompt_id: prompt_id.to_owned(), described: false, runs: false };
        let reader = tokio::spawn(read(stream, whose, ping, sender, newest.clone()));
        Ok(Self { events, newest, _reader: AbortOnDropHandle::new(reader) })
    }

    /// The newest picture, once.
    pub fn take_preview(&self) -> Option<Preview> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next event; after [`Event::Closed`] always that.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::Closed)
    }
}

/// Goes through the HTTP client, so that TLS, credentials and paths are the same as everywhere.
async fn upgrade(http: &Http, client_id: &str) -> Result<WebSocketStream<Upgraded>, Trouble> {
    let key = generate_key();
    let request = http
        .request(Method::GET, &["ws"], &[("clientId", client_id)])
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Trouble::Status { status: response.status().as_u16(), retry_after: None });
    }
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(reqwest::header::HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Trouble::Nonsense);
    }
    let stream = response.upgrade().await?;
    let config = WebSocketConfig::default().max_message_size(Some(FRAME_MAX)).max_frame_size(Some(FRAME_MAX));
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
}

/// Whose a message or a picture is.
struct Whose {
    prompt_id: String,
    /// The server describes its pictures to us: those without a word are somebody else's, or results sent as pictures.
    described: bool,
    /// Our prompt is known to run: messages of one server come in their order, and it runs one prompt at a time.
    runs: bool,
}

impl Whose {
    fn hear(&mut self, text: &str) -> Event {
        let Some(message) = Message::read(text, &self.prompt_id) else {
            self.described |= Message::describes_previews(text);
            return Event::Alive;
        };
        self.runs = message != Message::Over;
        Event::Ours(message)
    }

    fn see(&self, frame: &Bytes) -> Option<Preview> {
        let Binary { prompt_id, preview } = Binary::read(frame)?;
        let ours = match prompt_id {
            Some(id) => id == self.prompt_id,
            None => self.runs && !self.described,
        };
        ours.then_some(preview)
    }
}

async fn read(
    mut stream: WebSocketStream<Upgraded>,
    mut whose: Whose,
    ping: Duration,
    events: mpsc::UnboundedSender<Event>,
    newest: Newest,
) {
    // Understood only as the very first message; servers that do not know it let it go.
    let hello = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
    if stream.send(Frame::text(hello)).await.is_err() {
        let _ = events.send(Event::Closed);
        return;
    }
    let mut pings = interval(ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await;
    let mut unanswered = false;
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            _ = pings.tick() => {
                if unanswered || stream.send(Frame::Ping(Default::default())).await.is_err() {
                    break;
                }
                unanswered = true;
                continue;
            }
        };
        let event = match frame {
            Some(Ok(Frame::Text(text))) => whose.hear(&text),
            Some(Ok(Frame::Pong(_))) => {
                unanswered = false;
                Event::Alive
            }
            Some(Ok(Frame::Binary(frame))) => match whose.see(&frame) {
                Some(preview) => {
                    let older = newest.lock().unwrap_or_else(PoisonError::into_inner).replace(preview);
                    // Its mark is still on its way.
                    if older.is_some() { Event::Alive } else { Event::Preview }
                }
                None => Event::Alive,
            },
            Some(Ok(Frame::Ping(_) | Frame::Frame(_))) => Event::Alive,
            Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
        };
        if events.send(event).is_err() {
            break;
        }
    }
    // Ended in order where the server still listens: it unregisters a client by the close of its socket.
    let _ = timeout(Duration::from_millis(200), stream.close(None)).await;
    let _ = events.send(Event::Closed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Bytes {
        [&1u32.to_be_bytes()[..], &1u32.to_be_bytes(), b"\xFF\xD8\xFF\xE0"].concat().into()
    }

    fn described(id: &str) -> Bytes {
        let json = format!(r#"{{"prompt_id":"{id}","node_id":"3"}}"#);
        let length = (json.len() as u32).to_be_bytes();
        [&4u32.to_be_bytes()[..], &length, json.as_bytes(), b"\x89PNG\r\n"].concat().into()
    }

    #[test]
    fn pictures_without_a_word_are_ours_only_while_our_prompt_runs() {
        let mut whose = Whose { prompt_id: "ours".to_owned(), described: false, runs: false };
        let say = |kind: &str, id: &str| format!(r#"{{"type":"{kind}","data":{{"prompt_id":"{id}","nodes":{{}}}}}}"#);
        assert!(whose.see(&plain()).is_none(), "nothing is known of our prompt");
        whose.hear(&say("execution_start", "another"));
        assert!(whose.see(&plain()).is_none(), "another's prompt runs");
        whose.hear(&say("execution_start", "ours"));
        assert!(whose.see(&plain()).is_some());
        whose.hear(&say("execution_success", "ours"));
        assert!(whose.see(&plain()).is_none(), "it is over");
        assert!(whose.see(&described("ours")).is_some() && whose.see(&described("another")).is_none());
        whose.hear(&say("progress_state", "ours"));
        assert!(whose.see(&plain()).is_some());
        whose.hear(r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#);
        assert!(whose.see(&plain()).is_none(), "ours come with a description now");
    }
}
