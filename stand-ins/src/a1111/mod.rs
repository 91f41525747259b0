//! An honest server of AUTOMATIC1111's API on loopback: it queues, runs, leaks and misleads as v1.10.1 was recorded to, without a GPU.
//! In: a listener or none, options, and faults called for while it runs. Out: HTTP answers, pictures that say `stand-in`.
//!
//! ```text
//!  routes ─▶ request (422, echo) ─▶ the one lock ─▶ generate, upscale ─▶ info, pictures
//!     │                                │  settings: options, what is stored of them, what leaks
//!     └─▶ progress: one global state and the tasks' ids; interrupt and skip hit whatever runs
//!  wire lies under all connections: frozen, cut, down.   pace: clock or test decides when a step ends.
//! ```
//!
//! Not there: a web page, stored files and `/file=`, gzip, live previews other than of one colour.

mod base64;
mod clock;
mod errors;
mod generate;
mod handle;
mod info;
mod lists;
mod options;
mod pictures;
mod progress;
mod request;
mod routes;
mod sampler;
mod server;
mod settings;
mod upscale;
mod xyz;

use crate::handle::{self as shared, Served};
use crate::pace::Pace;
use crate::wire::{Door, Wire};
use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use handle::StandIn;
pub use options::{Checkpoint, Difference, Fork, Options, Quirks};
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
        self.forget();
    }

    async fn attend(self: Arc<Server>, door: Door, shutdown: CancellationToken) -> io::Result<()> {
        let ended = shared::route(&self.wire, door, routes::router(self.clone()), shutdown).await;
        self.forget();
        ended
    }
}
