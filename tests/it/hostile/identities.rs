//! Ids that cannot be used, and keys that hold something other than a job.

use super::row::Expect::{Completes, Leaves};
use super::row::{Row, hand};

pub fn rows() -> Vec<Row> {
    let named = |name, id: &[u8]| {
        let id = id.to_vec();
        hand(name, move |job| job.named(id), Leaves)
    };
    let key = |name: &str| [b"job:", super::row::id_of(name).as_bytes()].concat();
    let instead = |name: &'static str, command: &[&[u8]]| {
        let mut words: Vec<&[u8]> = command.to_vec();
        let key = key(name);
        words.insert(1, &key);
        hand(name, |job| job.hashless().after(&words), Leaves)
    };
    vec![
        named("id with a colon", b"tenant:7"),
        named("id that names another job's events", b"events:good"),
        named("id that ends like a progress key", b"good:progress"),
        named("id with terminal escapes", b"\x1b[2J\x07evil"),
        named("id with spaces", b"two words"),
        named("id with a line feed", b"line\nfeed"),
        named("id with a NUL byte", b"nul\0nul"),
        named("id with 129 characters", "x".repeat(129).as_bytes()),
        named("id with 100 KB", "x".repeat(100_000).as_bytes()),
        named("id empty", b""),
        named("id that is not UTF-8", b"\xff\xfe\xfd"),
        named("id in another alphabet", "заказ".as_bytes()),
        named("id that is a path", b"../../etc/passwd"),
        named("id with glob characters", b"*?[a]"),
        hand("id with 128 characters", |job| job.named("y".repeat(128)), Completes),
        hand("id that looks like an option", |job| job.named("--help"), Completes),
        hand("id that looks like a number", |job| job.named("1e9"), Completes),
        hand("ghost without a hash", super::row::Hand::hashless, Leaves),
        instead("key that is a text", &[b"SET", b"not a hash"]),
        instead("key that is a list", &[b"RPUSH", b"a", b"b"]),
        instead("key that is a set", &[b"SADD", b"a"]),
        instead("key that is a sorted set", &[b"ZADD", b"1", b"a"]),
        instead("key that is a stream", &[b"XADD", b"*", b"a", b"b"]),
        hand(
            "event log that is a text",
            |job| job.after(&[b"SET", b"job:events:event-log-that-is-a-text", b"not a stream"]),
            Completes,
        ),
        hand(
            "event log of somebody else",
            |job| job.after(&[b"XADD", b"job:events:event-log-of-somebody-else", b"1-1", b"type", b"nonsense"]),
            Completes,
        ),
    ]
}
