//! Which addresses may be asked on behalf of a job: public ones, and what the operator allows.
//! In: a checked address, with the name and port that led to it. Out: yes, or what kind of address it is.
//!
//! The tables are IANA's registries of special-purpose addresses, whole: also the few rows that can be reached globally
//! (relays, sinks for stray queries) hold nothing that a job could want.

use crate::config::AllowedHost;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Anybody's.
    Public,
    /// Of this machine or site: an allowed name may lead there.
    Internal(&'static str),
    /// Nothing that a name should lead to: only an entry with the address or its network allows it.
    Special(&'static str),
    /// Where clouds hand out credentials: only an entry with this very address allows it.
    Metadata,
}

use Kind::{Internal, Metadata, Special};

const METADATA: &str = "cloud metadata";

/// Narrower rows first.
const V4: &[(Ipv4Addr, u32, Kind)] = &[
    // Azure's, which is no special address; Alibaba's, Oracle's former one.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Metadata),
    (Ipv4Addr::new(100, 100, 100, 200), 32, Metadata),
    (Ipv4Addr::new(192, 0, 0, 192), 32, Metadata),
    // 169.254.169.254 of most clouds, 169.254.170.2 of container services, and their neighbours.
    (Ipv4Addr::new(169, 254, 169, 0), 24, Metadata),
    (Ipv4Addr::new(169, 254, 170, 0), 24, Metadata),
    (Ipv4Addr::new(169, 254, 42, 42), 32, Metadata),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Special("unspecified")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Internal("private")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Internal("shared (carrier-grade NAT)")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Internal("loopback")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Special("link-local")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Internal("private")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Special("reserved")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Special("documentation")),
    (Ipv4Addr::new(192, 31, 196, 0), 24, Special("reserved")),
    (Ipv4Addr::new(192, 52, 193, 0), 24, Special("reserved")),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Special("6to4 relay")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Internal("private")),
    (Ipv4Addr::new(192, 175, 48, 0), 24, Special("reserved")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Special("benchmark")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Special("documentation")),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Special("documentation")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Special("multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Special("reserved")),
];

const V6: &[(Ipv6Addr, u32, Kind)] = &[
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 96, Metadata),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Metadata),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, Metadata),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 128, Special("unspecified")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 1), 128, Internal("loopback")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, Special("IPv4-compatible")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Special("IPv4-mapped")),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Special("NAT64")),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Special("NAT64")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Special("Teredo")),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, Special("benchmark")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Special("reserved")),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Special("documentation")),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Special("6to4")),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, Special("reserved")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Special("documentation")),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Internal("private (unique local)")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Special("link-local")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Internal("private (site-local)")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Special("multicast")),
];

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => {
            let within = |net: Ipv4Addr, bits: u32| (v4.to_bits() ^ net.to_bits()) >> (32 - bits) == 0;
            V4.iter().find(|(net, bits, _)| within(*net, *bits)).map_or(Kind::Public, |row| row.2)
        }
        IpAddr::V6(v6) => {
            let within = |net: Ipv6Addr, bits: u32| (v6.to_bits() ^ net.to_bits()) >> (128 - bits) == 0;
            // Of all the rest only 2000::/3 is given out to anybody.
            let rest = if v6.segments()[0] >> 13 == 1 { Kind::Public } else { Special("reserved") };
            V6.iter().find(|(net, bits, _)| within(*net, *bits)).map_or(rest, |row| row.2)
        }
    }
}

/// The IPv4 address that something on the way would make of this one.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let bits = v6.to_bits();
    match kind(address) {
        Special("IPv4-compatible" | "IPv4-mapped" | "NAT64") => Some(Ipv4Addr::from_bits(bits as u32)),
        Special("6to4") => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        Special("Teredo") => Some(Ipv4Addr::from_bits(!(bits as u32))),
        _ => None,
    }
}

/// Whether this address may be asked at this port, where `name` led to it.
///
/// # Errors
/// The kind of address that it is, in words.
pub(super) fn check(allowed: &[AllowedHost], name: &str, address: IpAddr, port: u16) -> Result<(), &'static str> {
    let stated = |exactly| allowed.iter().any(|entry| entry.covers_address(address, port, exactly));
    let named = || allowed.iter().any(|entry| entry.covers_name(name, port));
    let (permitted, words) = match kind(address) {
        Kind::Public => (true, ""),
        Internal(words) => (stated(false) || named(), words),
        Special(words) => (stated(false), words),
        Metadata => (stated(true), METADATA),
    };
    match embedded(address) {
        _ if !permitted => Err(words),
        // Whoever allows all of NAT64 does not mean his own network through it.
        Some(v4) => check(allowed, name, v4.into(), port),
        None => Ok(()),
    }
}

/// Ports that web servers have no business on: below 1024 all but two, then the ones that browsers refuse.
const OTHERS: [u16; 21] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
    10080, 11211,
];

/// Whether a web server may be asked at this port, of this name or address.
pub(super) fn check_port(allowed: &[AllowedHost], name: &str, address: Option<IpAddr>, port: u16) -> bool {
    let stated = |entry: &AllowedHost| {
        let covers =
            entry.covers_name(name, port) || address.is_some_and(|address| entry.covers_address(address, port, false));
        entry.is_for_one_port() && covers
    };
    matches!(port, 80 | 443) || port >= 1024 && !OTHERS.contains(&port) || allowed.iter().any(stated)
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
