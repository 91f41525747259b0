//! Entries of ALLOWED_INPUT_HOSTS: names, addresses and networks that are no public ones and may be fetched from.
//! In: `name`, `*.name`, an address or a network, each but the last with `:port` if it is for that port alone. Out: what it covers.

use std::net::{IpAddr, Ipv6Addr};

/// One checked entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    whom: Whom,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    /// In small letters, without a dot at the end.
    Name(String),
    /// Every name that ends so; begins with a dot.
    Below(String),
    /// The bits that count, and how many.
    Network(IpAddr, u8),
}

impl AllowedHost {
    /// Reads an entry; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((address, length)) = text.split_once('/') {
            let address: IpAddr = bare(address).parse().ok()?;
            let length = length.parse().ok().filter(|length| *length <= width(address))?;
            // Bits behind the length are a slip: 10.0.0.1/8 may have been meant to be one address.
            return (masked(address, length) == address)
                .then_some(Self { whom: Whom::Network(address, length), port: None });
        }
        if let Ok(address) = bare(text).parse::<IpAddr>() {
            return Some(Self { whom: Whom::Network(address, width(address)), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (text, None),
        };
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return Some(Self { whom: Whom::Network(address, width(address)), port });
        }
        let whom = match host.strip_prefix("*.") {
            Some(name) => Whom::Below(format!(".{}", plain(name)?)),
            None => Whom::Name(plain(host)?),
        };
        Some(Self { whom, port })
    }

    /// Whether this name, in small letters, is covered at this port.
    pub fn covers_name(&self, host: &str, port: u16) -> bool {
        let named = match &self.whom {
            Whom::Name(name) => name == host,
            Whom::Below(end) => host.ends_with(end.as_str()),
            Whom::Network(..) => false,
        };
        named && self.port.is_none_or(|only| only == port)
    }

    /// Whether this address is covered at this port. `exactly`: by an entry for it alone.
    pub fn covers_address(&self, address: IpAddr, port: u16, exactly: bool) -> bool {
        let Whom::Network(network, length) = self.whom else { return false };
        let within = network.is_ipv4() == address.is_ipv4() && masked(address, length) == network;
        within && self.port.is_none_or(|only| only == port) && (!exactly || length == width(network))
    }

    /// Whether it names one port, which is then open whatever its number.
    pub fn is_for_one_port(&self) -> bool {
        self.port.is_some()
    }
}

/// An IPv6 address may stand in brackets, and must where a port follows.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn plain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let good = name.split('.').all(|label| !label.is_empty() && label.bytes().all(letter));
    // What ends in a number is an address to a URL, and a mistyped one here.
    let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (good && !number).then_some(name)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & kept).into())
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_cover_what_they_say_and_nothing_else() {
        let covers = |entry: &str, host: &str, port: u16| {
            let entry = AllowedHost::parse(entry).unwrap();
            match host.parse() {
                Ok(address) => entry.covers_address(address, port, false),
                Err(_) => entry.covers_name(host, port),
            }
        };
        for (entry, host, port) in [
            ("Store.Internal", "store.internal", 9000),
            ("store.internal.", "store.internal", 80),
            ("store:9000", "store", 9000),
            ("*.internal", "a.b.internal", 80),
            ("10.0.0.0/8", "10.255.0.1", 80),
            ("10.1.2.3", "10.1.2.3", 443),
            ("10.1.2.3:81", "10.1.2.3", 81),
            ("fd00::/8", "fd12::1", 80),
            ("[fd00::1]:81", "fd00::1", 81),
            ("::1", "::1", 80),
            ("0.0.0.0/0", "127.0.0.1", 80),
        ] {
            assert!(covers(entry, host, port), "{entry} {host}:{port}");
        }
        for (entry, host, port) in [
            ("store", "store.internal", 80),
            ("store:9000", "store", 9001),
            ("*.internal", "internal", 80),
            ("*.internal", "xinternal", 80),
            ("10.0.0.0/8", "11.0.0.1", 80),
            ("10.0.0.0/8", "::ffff:10.0.0.1", 80),
            ("10.1.2.3:81", "10.1.2.3", 80),
            ("fd00::/8", "fe00::1", 80),
        ] {
            assert!(!covers(entry, host, port), "{entry} {host}:{port}");
        }
        let network = AllowedHost::parse("10.0.0.0/8").unwrap();
        assert!(!network.covers_address("10.0.0.1".parse().unwrap(), 80, true));
        let one = AllowedHost::parse("10.0.0.1/32").unwrap();
        assert!(one.covers_address("10.0.0.1".parse().unwrap(), 80, true));
    }

    #[test]
    fn slips_are_no_entries() {
        let slips = [
            "",
            "http://store",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.256",
            "a..b",
            "store:0",
            "store:x",
            "*",
        ];
        for slip in slips.into_iter().chain(["*.", "a*.b", "user@store", "store/path", "fd00::/129", "[::1"]) {
            assert_eq!(AllowedHost::parse(slip), None, "{slip}");
        }
    }
}
