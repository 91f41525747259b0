//! An honest server of ComfyUI's API on loopback: it queues, runs, caches, answers and fails as recorded, without a GPU.
//! In: a listener or none, options, and faults called for while it runs. Out: HTTP and websocket answers, files that say `stand-in`.
//!
//! ```text
//!  routes -> submit -> validate -> ledger(queue) -> run -> execute -> works -> saving -> folders
//!     |                                              |       |  '-> cache
//!     '-> hub (websockets) <------ messages <--------+-------'
//!                                                    '-> ledger(history)
//!  wire lies under all connections: frozen, cut, down.   pace: clock or test decides when a step ends.
//! ```

mod cache;
mod catalog;
mod execute;
mod folders;
mod handle;
mod hub;
mod info;
mod inspect;
mod jobs;
mod ledger;
mod messages;
mod options;
mod order;
mod routes;
mod run;
mod saving;
mod server;
mod submit;
mod telling;
mod upload;
mod validate;
mod values;
mod view;
mod works;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::handle::{self as shared, Served};
use crate::{pace, picture, wire};

pub use handle::StandIn;
pub use options::{Options, OutOfMemory, Quirks, Release};
pub use server::Execution;

use server::Server;

/// Serves until `shutdown` is cancelled; then all connections are cut and the temporary folder is gone.
///
/// # Errors
/// If the listener is not on loopback or the folders cannot be made.
pub async fn serve(listener: TcpListener, options: Options, shutdown: CancellationToken) -> io::Result<()> {
    shared::serve::<Server>(listener, options, shutdown).await
}

impl Served for Server {
    type Options = Options;

    fn open(options: Options) -> io::Result<Arc<Server>> {
        Server::new(options)
    }

    fn wire(&self) -> &Arc<wire::Wire> {
        &self.wire
    }

    fn pace(&self) -> &pace::Pace {
        &self.pace
    }

    fn lose_everything(&self) {
        self.forget();
    }

    async fn attend(self: Arc<Server>, door: wire::Door, shutdown: CancellationToken) -> io::Result<()> {
        let router = routes::router(self.clone());
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            served = axum::serve(door, router).into_future() => served,
            () = run::run_forever(self.clone()) => Ok(()),
            () = self.hub.deliver() => Ok(()),
        };
        self.wire.set_frozen(false);
        self.forget();
        self.folders.leave();
        ended
    }
}
