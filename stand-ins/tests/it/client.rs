//! HTTP and websocket clients of the tests.
//! In: the address of a stand-in. Out: answers and frames as plain values.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Long enough that only a server that will never answer runs into it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn http() -> reqwest::Client {
    // Reqwest wants a provider even for plain HTTP; a second installation is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("client")
}

#[derive(Debug)]
pub enum Frame {
    Text(Value),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    End,
}

/// A socket whose frames are read as they come; it closes when dropped.
pub struct Socket {
    pub frames: mpsc::UnboundedReceiver<Frame>,
    pub to_send: mpsc::UnboundedSender<Message>,
}

pub async fn connect(
    base: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<Socket, Box<Error>> {
    let mut request = format!("{}{path}", base.replace("http://", "ws://"))
        .into_client_request()
        .map_err(Box::new)?;
    for (name, value) in headers {
        let name: reqwest::header::HeaderName = name.parse().expect("header name");
        request
            .headers_mut()
            .insert(name, value.parse().expect("header value"));
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .map_err(Box::new)?;
    let (frame_in, frames) = mpsc::unbounded_channel();
    let (to_send, mut sending) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                message = sending.recv() => match message {
                    Some(message) => match socket.send(message).await {
                        Ok(()) => continue,
                        Err(_) => Frame::End,
                    },
                    None => {
                        let _ = socket.close(None).await;
                        return;
                    }
                },
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => Frame::Text(serde_json::from_str(&text).expect("JSON message")),
                    Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes.to_vec()),
                    Some(Ok(Message::Pong(payload))) => Frame::Pong(payload.to_vec()),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Frame::End,
                },
            };
            let ended = matches!(frame, Frame::End);
            if frame_in.send(frame).is_err() || ended {
                return;
            }
        }
    });
    Ok(Socket { frames, to_send })
}

impl Socket {
    pub async fn next(&mut self) -> Frame {
        let frame = tokio::time::timeout(PATIENCE, self.frames.recv()).await;
        frame.expect("a frame in time").unwrap_or(Frame::End)
    }

    /// Reads on until a message of this type comes, and gives its data.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Frame::Text(message) if message["type"] == kind => return message["data"].clone(),
                Frame::End => panic!("the socket ended before `{kind}`"),
                _ => {}
            }
        }
    }

    /// The message after which nothing more comes for a prompt.
    pub async fn until_idle(&mut self, prompt_id: &str) {
        loop {
            let data = self.until("executing").await;
            if data["node"].is_null() && data["prompt_id"] == prompt_id {
                return;
            }
        }
    }
}
