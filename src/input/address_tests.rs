//! The table of addresses, held against IANA's registries row by row, and what entries of the operator open.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allowed(entries: &[&str]) -> Vec<AllowedHost> {
    entries.iter().map(|entry| AllowedHost::parse(entry).unwrap()).collect()
}

/// First and last address of each row of the two registries, and of multicast, which has registries of its own.
const REGISTRIES: &[(&str, &str, &str)] = &[
    // iana-ipv4-special-registry
    ("0.0.0.0/8", "0.0.0.0", "0.255.255.255"),
    ("0.0.0.0/32", "0.0.0.0", "0.0.0.0"),
    ("10.0.0.0/8", "10.0.0.0", "10.255.255.255"),
    ("100.64.0.0/10", "100.64.0.0", "100.127.255.255"),
    ("127.0.0.0/8", "127.0.0.0", "127.255.255.255"),
    ("169.254.0.0/16", "169.254.0.0", "169.254.255.255"),
    ("172.16.0.0/12", "172.16.0.0", "172.31.255.255"),
    ("192.0.0.0/24", "192.0.0.0", "192.0.0.255"),
    ("192.0.0.0/29", "192.0.0.0", "192.0.0.7"),
    ("192.0.0.8/32", "192.0.0.8", "192.0.0.8"),
    ("192.0.0.9/32", "192.0.0.9", "192.0.0.9"),
    ("192.0.0.10/32", "192.0.0.10", "192.0.0.10"),
    ("192.0.0.170/32", "192.0.0.170", "192.0.0.171"),
    ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
    ("192.31.196.0/24", "192.31.196.0", "192.31.196.255"),
    ("192.52.193.0/24", "192.52.193.0", "192.52.193.255"),
    ("192.88.99.0/24", "192.88.99.0", "192.88.99.255"),
    ("192.168.0.0/16", "192.168.0.0", "192.168.255.255"),
    ("192.175.48.0/24", "192.175.48.0", "192.175.48.255"),
    ("198.18.0.0/15", "198.18.0.0", "198.19.255.255"),
    ("198.51.100.0/24", "198.51.100.0", "198.51.100.255"),
    ("203.0.113.0/24", "203.0.113.0", "203.0.113.255"),
    ("240.0.0.0/4", "240.0.0.0", "255.255.255.255"),
    ("224.0.0.0/4", "224.0.0.0", "239.255.255.255"),
    // iana-ipv6-special-registry
    ("::1/128", "::1", "::1"),
    ("::/128", "::", "::"),
    ("::ffff:0:0/96", "::ffff:0.0.0.0", "::ffff:255.255.255.255"),
    ("64:ff9b::/96", "64:ff9b::", "64:ff9b::ffff:ffff"),
    ("64:ff9b:1::/48", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::/64", "100::", "100::ffff:ffff:ffff:ffff"),
    ("100:0:0:1::/64", "100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"),
    ("2001::/23", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001::/32", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:1::1/128", "2001:1::1", "2001:1::3"),
    ("2001:2::/48", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:3::/32", "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:4:112::/48", "2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff"),
    ("2001:10::/28", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:20::/28", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:30::/28", "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::/16", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2620:4f:8000::/48", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("5f00::/16", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    // Deprecated, multicast, and what nobody has been given.
    ("::/96", "::2", "::ffff:ffff"),
    ("fec0::/10", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::/8", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::/2", "4000::", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

#[test]
fn no_address_of_the_registries_is_public_and_their_neighbours_are() {
    for (row, first, last) in REGISTRIES {
        for address in [first, last] {
            assert_ne!(kind(ip(address)), Kind::Public, "{address} of {row}");
            assert!(check(&[], "host", ip(address), 80).is_err(), "{address} of {row}");
        }
    }
    let neighbours = "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.31.195.255 \
        192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 \
        203.0.112.255 203.0.114.0 223.255.255.255 168.63.129.15 168.63.129.17 2000:: 2001:200:: 2001:db7:ffff:: \
        2001:db9:: 2003:: 2620:4f:7fff:: 2620:4f:8001:: 3ffe:: 3fff:1000:: 2606:4700::1111";
    for address in neighbours.split_whitespace() {
        assert_eq!(check(&[], "host", ip(address), 80), Ok(()), "{address}");
    }
}

#[test]
fn an_allowed_name_leads_into_the_site_and_to_nothing_worse() {
    let allowed = allowed(&["store.lan"]);
    for address in ["10.0.0.1", "127.0.0.1", "100.64.0.1", "192.168.1.1", "fd12::1", "::1"] {
        assert_eq!(check(&allowed, "store.lan", ip(address), 80), Ok(()), "{address}");
        assert!(check(&allowed, "other.lan", ip(address), 80).is_err(), "{address}");
    }
    for address in ["169.254.1.1", "169.254.169.254", "100.100.100.200", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"] {
        assert!(check(&allowed, "store.lan", ip(address), 80).is_err(), "{address}");
    }
}

#[test]
fn metadata_needs_an_entry_of_its_own_and_embedded_addresses_two() {
    let metadata = "169.254.169.254 169.254.170.2 169.254.170.23 169.254.42.42 100.100.100.200 192.0.0.192 168.63.129.16 \
        fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fe80::a9fe:a9fe";
    let all = allowed(&["0.0.0.0/0", "::/0"]);
    for address in metadata.split_whitespace() {
        assert_eq!(check(&all, "host", ip(address), 80), Err(METADATA), "{address}");
        assert_eq!(check(&allowed(&[address]), "host", ip(address), 80), Ok(()), "{address}");
    }
    let nat64 = allowed(&["64:ff9b::/96"]);
    assert_eq!(check(&nat64, "host", ip("64:ff9b::808:808"), 80), Ok(()));
    assert_eq!(check(&nat64, "host", ip("64:ff9b::a00:1"), 80), Err("private"));
    assert_eq!(check(&all, "host", ip("64:ff9b::a9fe:a9fe"), 80), Err(METADATA));
    assert_eq!(check(&all, "host", ip("::ffff:169.254.169.254"), 80), Err(METADATA));
    assert_eq!(check(&all, "host", ip("2002:a9fe:a9fe::"), 80), Err(METADATA));
    assert_eq!(check(&all, "host", ip("2001:0:1:2:3:4:5601:5601"), 80), Err(METADATA));
}

#[test]
fn ports_are_those_of_web_servers_unless_one_is_named() {
    let open = |entries: &[&str], port| check_port(&allowed(entries), "store", None, port);
    assert!([80, 443, 1024, 8080, 9000, 65535].into_iter().all(|port| open(&[], port)));
    assert!(
        [0, 1, 21, 22, 25, 110, 445, 1023, 2049, 5060, 6000, 6379, 6667, 11211].iter().all(|port| !open(&[], *port))
    );
    assert!(open(&["store:81"], 81) && !open(&["store:81"], 82) && !open(&["store"], 81) && !open(&["other:81"], 81));
    assert!(check_port(&allowed(&["10.0.0.1:81"]), "10.0.0.1", Some(ip("10.0.0.1")), 81));
}
