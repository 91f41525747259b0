//! The way to a store: one HTTP client for all, which follows no redirects, and an ear for what stores answer.
//! In: requests of `object_store`. Out: their answers; the last refusal, as typed as the store gave it.

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest explanation that is read.
const EXPLANATION: usize = 64 << 10;

/// How long a store is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until there is a connection.
    pub connect: Duration,
    /// For one request, a part of 5 MiB included.
    pub request: Duration,
    /// First pause before a request is repeated; doubles.
    pub pause: Duration,
    /// How often a request is repeated.
    pub retries: usize,
    /// How long parts on their way may take once they are not wanted any more: an abort before their end may miss them.
    pub last_parts: Duration,
    /// How long an upload that failed is tried to be cleaned away.
    pub cleaning: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(60),
            pause: Duration::from_millis(250),
            retries: 6,
            last_parts: Duration::from_secs(5),
            cleaning: Duration::from_secs(600),
        }
    }
}

/// The client that all stores share.
///
/// # Errors
/// The TLS library cannot be set up.
pub fn client(patience: &Patience) -> reqwest::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.connect)
        .timeout(patience.request)
        .user_agent(concat!("gpu-worker/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A store's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The store's own word for it, empty if it gave none.
    pub code: String,
    /// Its `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Hears what one store answers. A no counts for as long as it is the last word on its request: the same request may be
/// repeated, and then be granted, or get no answer at all.
#[derive(Debug, Clone, Default)]
pub struct Ear(Arc<Mutex<Vec<(String, Refusal)>>>);

impl Ear {
    /// The last refusal since this was asked the last time.
    pub fn take(&self) -> Option<Refusal> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).pop().map(|(_, refusal)| refusal)
    }

    fn hear(&self, asked: &str, refusal: Option<Refusal>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|(known, _)| known != asked);
        heard.extend(refusal.map(|refusal| (asked.to_owned(), refusal)));
    }
}

/// Gives `object_store` our client.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The client.
    pub client: reqwest::Client,
    /// Who hears the answers.
    pub ear: Ear,
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = format!("{} {}", request.method(), request.uri());
        let answered = self.client.call(request).await;
        if answered.as_ref().map_or(true, |response| response.status().is_success()) {
            self.ear.hear(&asked, None);
        }
        let response = answered?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let mut explanation = Vec::new();
        let mut chunks = body.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await
            && explanation.len() < EXPLANATION
        {
            explanation.extend_from_slice(&chunk);
        }
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let text = String::from_utf8_lossy(&explanation).into_owned();
        let code = header("x-ms-error-code").and_then(word).or_else(|| code(&text)).unwrap_or_default();
        let seconds = header("retry-after").and_then(|text| text.trim().parse().ok());
        self.ear.hear(
            &asked,
            Some(Refusal { status: status.as_u16(), code, retry_after: seconds.map(Duration::from_secs) }),
        );
        Ok(HttpResponse::from_parts(parts, text.into()))
    }
}

/// The word in `<Code>…</Code>`, or in the `error` of a token server.
fn code(text: &str) -> Option<String> {
    let between = |open: &str, close: &str| text.split_once(open)?.1.split_once(close).map(|(word, _)| word.trim());
    word(between("<Code>", "</Code>").or_else(|| text.contains("invalid_grant").then_some("invalid_grant"))?)
}

/// Of a store nothing else is repeated.
fn word(word: &str) -> Option<String> {
    let is_word = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_no_that_was_taken_back_or_followed_by_silence_is_no_reason_any_more() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = ["503 Busy", "", "503 Busy", "200 OK", "503 Busy"];
        let serving = tokio::spawn(async move {
            for status in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 {status}\r\nx-ms-error-code: two words\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let said = if status.is_empty() { Ok(()) } else { stream.write_all(head.as_bytes()).await };
                said.unwrap();
            }
        });
        let wire = Wire { client: client(&Patience::default()).unwrap(), ear: Ear::default() };
        let ask = async |path: &str| {
            let request = http::Request::put(format!("http://{address}/{path}")).body(Vec::new().into()).unwrap();
            wire.call(request).await.is_ok()
        };
        assert!(ask("a").await && !ask("a").await);
        assert_eq!(wire.ear.take(), None, "the second time nobody answered");
        assert!(ask("a").await && ask("a").await);
        assert_eq!(wire.ear.take(), None, "the second time it was granted");
        assert!(ask("a").await);
        assert_eq!(wire.ear.take(), Some(Refusal { status: 503, code: String::new(), retry_after: None }));
        serving.await.unwrap();
    }
}
