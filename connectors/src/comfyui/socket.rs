//! The websocket: opened by an HTTP upgrade, read by a task of its own, pinged.
//! In: frames, of all prompts and of none. Out: our prompt's messages on a channel, and the end of the socket.
//!
//! ```text
//!   open ──▶ reading ──▶ server ended it ──────────────▶ Closed
//!               │  └───── a ping was not answered ─────▶ Closed
//!               └──────── dropped: task ended, TCP closed
//! ```

use super::http::{Http, Trouble};
use super::message::Message;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode, Upgraded, header};
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
    /// The server is alive: it answered a ping, or spoke about something else.
    Alive,
    /// No more will come.
    Closed,
}

/// An open socket. Dropping it ends it.
pub(super) struct Socket {
    events: mpsc::UnboundedReceiver<Event>,
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
        // queued here is small (previews and other people's messages are dropped at once) and ends with the run.
        let (sender, events) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(stream, prompt_id.to_owned(), ping, sender));
        Ok(Self { events, _reader: AbortOnDropHandle::new(reader) })
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

async fn read(
    mut stream: WebSocketStream<Upgraded>,
    prompt_id: String,
    ping: Duration,
    events: mpsc::UnboundedSender<Event>,
) {
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
            Some(Ok(Frame::Text(text))) => Message::read(&text, &prompt_id).map_or(Event::Alive, Event::Ours),
            Some(Ok(Frame::Pong(_))) => {
                unanswered = false;
                Event::Alive
            }
            // Previews are not looked at here; type-1 frames do not even say whose they are.
            Some(Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Frame(_))) => Event::Alive,
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
