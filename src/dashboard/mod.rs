//! What the agent answers over HTTP: its metrics, whether it lives, whether it can work.
//! In: how the agent is, asked of whoever knows. Out: answers on one port, guarded; nothing here changes anything.
//!
//! ```text
//!   listen ──port found──▶ accept ──▶ connection (limits) ──▶ guard ──▶ route
//!     ▲  └─busy: told once, tried again      │ too many: 503         │ refused, with a sentence
//!     └─ 5 s                                 └─ all end with the agent, open or not
//! ```
//! It runs in tasks of its own: jobs wait for none of it, and neither does the end of the agent.

mod connections;
mod guard;
mod listen;
mod live;
mod older;
mod patient;
mod reads;
mod routes;
mod source;
pub mod view;

pub use connections::{Limits, serve};
pub use guard::Guard;
pub use listen::{DEFAULT_PORTS, bind};
pub use source::Source;

use crate::telemetry::{Notice, tell};
use secrecy::SecretString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two tries to open a port that somebody else has.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Where it answers, and whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on.
    pub host: IpAddr,
    /// `None`: the first free one of [`DEFAULT_PORTS`]; 0: any free one.
    pub port: Option<u16>,
    /// Whoever asks must have it.
    pub token: Option<SecretString>,
    /// Names under which it may be asked beside its own addresses, in lower case.
    pub allowed_hosts: Vec<String>,
}

/// Answers until told to stop.
pub async fn keep(settings: Settings, source: Arc<dyn Source>, stop: CancellationToken) {
    let mut told = false;
    let listener = loop {
        let error = match bind(settings.host, listen::ports(settings.port)).await {
            Ok(listener) => break listener,
            Err(error) => error,
        };
        if !std::mem::replace(&mut told, true) {
            let address = listen::shown(settings.host, settings.port);
            tell(Notice::NoDashboard { address, error: error.to_string() });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    };
    let Ok(address) = listener.local_addr() else { return };
    let url = format!("http://{address}/");
    source.opened(&url);
    tell(Notice::DashboardAt { url });
    let guard = Guard::new(address.port(), settings.token.as_ref(), &settings.allowed_hosts);
    serve(listener, guard, source, Limits::default(), stop).await;
}
