//! The port: a given one, any, or the first free one of a known range.
//! In: address and ports to try. Out: a listener.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use tokio::net::TcpListener;

/// Tried in this order when no port is given: several agents of one machine find each a port of their own.
pub const DEFAULT_PORTS: RangeInclusive<u16> = 1511..=1599;

/// The ports to try.
pub(super) fn ports(port: Option<u16>) -> RangeInclusive<u16> {
    port.map_or(DEFAULT_PORTS, |port| port..=port)
}

/// For people.
pub(super) fn shown(host: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(host, port).to_string(),
        None => format!("{host}, ports {} to {}", DEFAULT_PORTS.start(), DEFAULT_PORTS.end()),
    }
}

/// Opens the first of these ports that nobody else has.
///
/// # Errors
/// All are taken, or the first thing that is no matter of a taken port.
pub async fn bind(host: IpAddr, ports: impl IntoIterator<Item = u16>) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::InvalidInput);
    for port in ports {
        match TcpListener::bind((host, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            answer => return answer,
        }
    }
    Err(last)
}
