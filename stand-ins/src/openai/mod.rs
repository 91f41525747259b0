//! A server of the OpenAI API on loopback, in the manner of the service, vLLM, llama.cpp or Ollama, without a model.
//! In: a listener or none, options, and answers to give instead. Out: texts, vectors and pictures that say `stand-in`.
//!
//! ```text
//!  routes ─▶ key, next answer called for ─▶ chat, completions, responses, embeddings, images, Ollama's own
//!     │                                        │  every piece of text takes a step of the pace
//!     └─▶ models and the questions by which flavours are told apart
//!  wire lies under all connections: frozen, cut, down.
//! ```
//!
//! Written by hand from the public references, not recorded from running servers:
//! platform.openai.com/docs/api-reference (chat, completions, responses and their streaming events, embeddings, images,
//! errors), docs.vllm.ai (OpenAI-compatible server), llama.cpp's tools/server/README.md, Ollama's docs/api.md and
//! docs/openai.md. Where two releases differ, the newer form is given.

mod chat;
mod errors;
mod handle;
mod ollama;
mod options;
mod pictures;
mod responses;
mod routes;
mod server;
mod text;

use crate::handle::{self as shared, Served};
use crate::pace::Pace;
use crate::wire::{Door, Wire};
use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use handle::StandIn;
pub use options::{Answer, Flavour, Options, Then};
pub use server::Execution;

use server::Server;

/// Serves until `shutdown` is cancelled; then all connections are cut.
///
/// # Errors
/// If the listener is not on loopback.
pub async fn serve(listener: TcpListener, options: Options, shutdown: CancellationToken) -> io::Result<()> {
    shared::serve::<Server>(listener, options, shutdown).await
}

impl Served for Server {
    type Options = Options;

    fn open(options: Options) -> io::Result<Arc<Server>> {
        Ok(Server::new(options))
    }

    fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }

    fn lose_everything(&self) {
        self.wire.cut_all();
    }

    async fn attend(self: Arc<Server>, door: Door, shutdown: CancellationToken) -> io::Result<()> {
        let ended = shared::route(&self.wire, door, routes::router(self.clone()), shutdown).await;
        self.wire.cut_all();
        ended
    }
}
