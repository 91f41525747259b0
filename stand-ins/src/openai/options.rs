//! What a stand-in of the OpenAI API is started with, and the answers that a test can put in place of its own.
//! In: values from the caller. Out: defaults.

use std::time::Duration;

/// Whose manner it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Flavour {
    /// The service itself, or a server that tells nothing about itself.
    #[default]
    OpenAi,
    /// vLLM: tells its version, serves one model.
    Vllm,
    /// llama.cpp's server: tells its properties, serves whatever the name.
    LlamaCpp,
    /// Ollama: has routes of its own beside.
    Ollama,
}

/// How a stand-in begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its manner.
    pub flavour: Flavour,
    /// What it lists.
    pub models: Vec<String>,
    /// Time of one piece of text.
    pub token_time: Duration,
    /// Asked for as a bearer token, if set.
    pub api_key: Option<String>,
    /// Streams refuse `stream_options`, as older servers do.
    pub refuses_stream_options: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            flavour: Flavour::OpenAi,
            models: ["stand-in-text", "stand-in-embedding", "stand-in-image"].map(str::to_owned).into(),
            token_time: Duration::from_millis(1),
            api_key: None,
            refuses_stream_options: false,
        }
    }
}

/// An answer in place of the stand-in's own, to the next request for work.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body, in the pieces in which it is sent.
    pub pieces: Vec<Vec<u8>>,
    /// What follows the last piece.
    pub then: Then,
}

/// What follows the last piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The end.
    End,
    /// Silence, until the client goes.
    Hang,
    /// The connection is cut off.
    Cut,
}

impl Answer {
    /// A whole answer with this status.
    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            pieces: vec![body.to_string().into_bytes()],
            then: Then::End,
        }
    }

    /// A stream of events, in these pieces.
    pub fn events(pieces: &[&[u8]]) -> Answer {
        Answer {
            status: 200,
            headers: vec![("content-type".into(), "text/event-stream".into())],
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
            then: Then::End,
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with another end.
    #[must_use]
    pub fn then(self, then: Then) -> Answer {
        Answer { then, ..self }
    }
}
