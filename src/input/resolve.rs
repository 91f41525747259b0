//! Names to addresses: asked once for each request, and the connection goes to these addresses and no other.
//! In: a name. Out: its addresses; for the HTTP client a resolver that knows nothing else.

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Who knows the addresses of names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own: hosts file and name servers.
pub(super) struct System;

#[async_trait]
impl Resolver for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect())
    }
}

/// Addresses that have been checked. Whatever the client asks for, it is told these: a name cannot lead elsewhere
/// between the check and the connection.
pub(super) struct Pinned(pub Vec<IpAddr>);

impl reqwest::dns::Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        // The port is the URL's.
        let addresses: Vec<SocketAddr> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(std::future::ready(Ok(Box::new(addresses.into_iter()) as Addrs)))
    }
}
