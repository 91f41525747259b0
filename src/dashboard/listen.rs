//! The port: a given one, any, or the first free one of a known range.
//! In: address and ports to try. Out: a listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
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
        Some(port) => SocketAddr::new(host, port).to_string(),
        None => format!("{host}, ports {} to {}", DEFAULT_PORTS.start(), DEFAULT_PORTS.end()),
    }
}

/// The address under which this machine reaches it.
pub(super) fn nearby(mut bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bound
}

/// The address under which other machines reach it; `None`: none does, or there is no network.
pub(super) fn from_elsewhere(bound: SocketAddr) -> Option<SocketAddr> {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => Some(ip),
        IpAddr::V4(_) => way_out(false),
        // Linux takes IPv4 on it, too.
        IpAddr::V6(_) => way_out(false).or_else(|| way_out(true)),
    };
    ip.filter(|ip| !ip.is_loopback()).map(|ip| SocketAddr::new(ip, bound.port()))
}

/// Our end of the way to other networks, as the kernel would choose it. The other end is of a block that is for documents
/// alone; nothing is sent.
fn way_out(six: bool) -> Option<IpAddr> {
    let (any, documented): (IpAddr, IpAddr) = match six {
        false => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(203, 0, 113, 1).into()),
        true => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((documented, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified()).then_some(own)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_an_address_that_is_this_machines_and_no_loopback_one() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        assert_eq!(from_elsewhere(at("127.0.0.1:1511")), None);
        assert_eq!(from_elsewhere(at("[::1]:1511")), None);
        assert_eq!(from_elsewhere(at("192.0.2.7:1511")), Some(at("192.0.2.7:1511")));
        for any in ["0.0.0.0:1511", "[::]:1511"] {
            // Where there is no network there is none.
            let Some(found) = from_elsewhere(at(any)) else { continue };
            assert!(found.port() == 1511 && !found.ip().is_loopback() && !found.ip().is_unspecified(), "{found}");
            std::net::TcpListener::bind((found.ip(), 0)).expect("an address of this machine");
        }
        assert_eq!([nearby(at("0.0.0.0:1")), nearby(at("[::]:1"))], [at("127.0.0.1:1"), at("[::1]:1")]);
        assert_eq!(nearby(at("192.0.2.7:1")), at("192.0.2.7:1"));
    }
}
