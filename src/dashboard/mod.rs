//! What the agent answers over HTTP: its metrics, whether it lives, whether it can work; and the orders that it takes there.
//! In: how the agent is, asked of whoever knows. Out: answers on one port, guarded; orders for whoever can carry them out.
//!
//! ```text
//!   listen ──port found──▶ accept ──▶ connection (limits) ──▶ guard ──▶ route
//!     ▲  └─busy: told once, tried again      │ too many: 503         │ refused, with a sentence
//!     └─ 5 s                                 └─ all end with the agent, open or not
//! ```
//! It runs in tasks of its own: jobs wait for none of it, and neither does the end of the agent.

mod access;
mod assets;
mod connections;
mod controls;
mod cross_site;
mod frame;
mod guard;
mod launch;
mod listen;
mod live;
mod named;
#[cfg(test)]
mod numbers_tests;
mod older;
mod patient;
mod pictures;
mod place;
mod reads;
mod routes;
mod seats;
mod small;
mod source;
pub mod view;

pub use connections::{Limits, serve};
pub use controls::{Because, Controls, Order, Refused};
pub use guard::{Guard, Key};
pub use listen::{DEFAULT_PORTS, bind};
pub use place::{Found, Held, Place};
pub use source::Source;
pub use view::worker::Sibling;

use crate::telemetry::{Notice, tell};
use secrecy::SecretString;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
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
    /// Whoever asks must have it; `None`: one is made, for orders alone.
    pub token: Option<SecretString>,
    /// Names under which it may be asked beside its own addresses, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Orders are refused.
    pub read_only: bool,
    /// Where commands of this machine look for it.
    pub place: Place,
}

/// Answers until told to stop. `found` is told the URL for programs of this machine.
pub async fn keep(
    settings: Settings,
    source: Arc<dyn Source>,
    controls: Arc<dyn Controls>,
    found: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
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
    let key = settings.token.map_or_else(|| Key::Made(place::new_token()), Key::Set);
    let made = match &key {
        Key::Made(token) => Some(token),
        Key::Set(_) => None,
    };
    let url = format!("http://{}/", listen::nearby(address));
    let held = settings.place.take(&url, made);
    if let Err(error) = &held {
        tell(Notice::DashboardUnknown { error: error.to_string() });
    }
    let elsewhere = listen::from_elsewhere(address);
    tell(Notice::DashboardAt { url: &url, elsewhere: &elsewhere_shown(address, elsewhere, &settings.allowed_hosts) });
    found.send_replace(Some(url.clone()));
    let mut guard = Guard::new(address.port(), &key, &settings.allowed_hosts, settings.read_only);
    guard.elsewhere = elsewhere;
    serve(listener, guard, source, controls, Limits::default(), stop).await;
    settings.place.leave(&url);
    drop(held);
}

/// Where other machines find it, for people: by address, and by the names that are allowed.
fn elsewhere_shown(bound: SocketAddr, elsewhere: Option<SocketAddr>, allowed: &[String]) -> String {
    if bound.ip().is_loopback() {
        return String::new();
    }
    let with_port = |name: &String| match name.rsplit(']').next().unwrap_or_default().contains(':') {
        true => name.clone(),
        false => format!("{name}:{}", bound.port()),
    };
    let places = elsewhere.map(|at| at.to_string()).into_iter().chain(allowed.iter().map(with_port));
    places.map(|place| format!("http://{place}/")).collect::<Vec<_>>().join(", ")
}
