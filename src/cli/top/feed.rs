//! Keeps the picture fresh: by the stream, else by asking in turns, and again after every loss.
//! In: the way to one agent. Out: news, in order; it ends when nobody hears any more.
//!
//! ```text
//!   stream ──broken, silent, refused──▶ ask once ──answered──▶ ask every 2 s, five times ──▶ stream
//!      ▲                                   └──no answer──▶ told as away ──1 s──▶ stream
//!      └─────────────────────────────────────────────────────────────────────────┘
//! ```

use super::client::Client;
use super::sse::Parser;
use super::state::Feed;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::sync::mpsc::Sender;

/// What comes from the agent.
#[derive(Debug)]
pub(super) enum News {
    /// An event by its name, and how it came.
    Told { event: String, value: Value, feed: Feed },
    /// Nothing comes, because of this.
    Lost(String),
}

/// Snapshots that are asked for before the stream gets another chance.
const TURNS: usize = 5;

/// Nobody hears any more.
struct Unheard;

/// Goes on until nobody hears.
pub(super) async fn keep(client: Client, news: Sender<News>) {
    while streamed(&client, &news).await.is_ok() && asked(&client, &news).await.is_ok() && !news.is_closed() {}
}

async fn tell(news: &Sender<News>, what: News) -> Result<(), Unheard> {
    news.send(what).await.map_err(|_| Unheard)
}

/// The stream, until it ends. Why it ended is said by whoever asks next.
async fn streamed(client: &Client, news: &Sender<News>) -> Result<(), Unheard> {
    let Ok(mut answer) = client.stream().await else { return Ok(()) };
    let mut parser = Parser::default();
    let mut patience = client.patience.first;
    while let Ok(Ok(Some(bytes))) = tokio::time::timeout(patience, answer.chunk()).await {
        let Ok(events) = parser.take(&bytes) else { return Ok(()) };
        for event in events {
            // One that is no JSON is no worse than one that is not known.
            let Ok(value) = serde_json::from_str(&event.data) else { continue };
            if event.name == "snapshot" {
                patience = client.patience.silence;
            }
            tell(news, News::Told { event: event.name, value, feed: Feed::Live }).await?;
        }
    }
    Ok(())
}

/// Asks in turns, for as long as it is answered and the stream has waited long enough.
async fn asked(client: &Client, news: &Sender<News>) -> Result<(), Unheard> {
    let mut known: Option<HeaderValue> = None;
    for _ in 0..TURNS {
        match client.snapshot(known.as_ref()).await {
            Ok(Some((value, etag))) => {
                known = etag;
                tell(news, News::Told { event: "snapshot".to_owned(), value, feed: Feed::Polling }).await?;
            }
            // Still the same.
            Ok(None) => {}
            Err(why) => {
                tell(news, News::Lost(why)).await?;
                tokio::time::sleep(client.patience.again).await;
                return Ok(());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(client.patience.poll) => {}
            () = news.closed() => return Err(Unheard),
        }
    }
    Ok(())
}
