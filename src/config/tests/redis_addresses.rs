//! Addresses of Redis by way of Sentinels and in a Cluster: what is read, what is refused, what is shown.
//! In: texts. Out: nothing.

use super::{load_env, shown};
use crate::config::{Guides, RedisAddress, hash_tag};

fn place(host: &str, port: u16) -> (String, u16) {
    (host.into(), port)
}

#[test]
fn sentinels_are_asked_with_their_own_credentials_and_the_master_with_its_own() {
    let text = "rediss+sentinel://me:a,b%40@one,two:1,[::1]:2/mymaster/3?sentinel_username=s&sentinel_password=p%2F";
    let address = RedisAddress::parse(text).unwrap();
    let Guides::Sentinels { urls, master } = &address.guides else { panic!("no Sentinels") };
    assert_eq!(urls, &["rediss://s:p%2F@one:26379", "rediss://s:p%2F@two:1", "rediss://s:p%2F@[::1]:2"]);
    assert_eq!(master, "mymaster");
    assert_eq!(address.url_of(&place("10.0.0.1", 6379)), "rediss://me:a,b%40@10.0.0.1:6379/3");
    assert_eq!(address.url_of(&place("fe80::1", 6379)), "rediss://me:a,b%40@[fe80::1]:6379/3");
}

#[test]
fn sentinels_get_no_credentials_that_are_not_theirs() {
    let address = RedisAddress::parse("redis+sentinel://:secret@one/m").unwrap();
    let Guides::Sentinels { urls, .. } = address.guides else { panic!("no Sentinels") };
    assert_eq!(urls, ["redis://one:26379"]);
}

#[test]
fn nodes_of_a_cluster_share_their_credentials() {
    let address = RedisAddress::parse("redis+cluster://:pw@one,two:7001").unwrap();
    assert!(address.guides == Guides::Cluster(vec![place("one", 6379), place("two", 7001)]));
    assert_eq!(address.url_of(&place("three", 7002)), "redis://:pw@three:7002");
}

#[test]
fn what_a_plain_server_names_is_reached_with_its_credentials() {
    let address = RedisAddress::parse("redis://u:p%40@one:1").unwrap();
    assert_eq!(address.url_of(&place("two", 2)), "redis://u:p%40@two:2");
}

#[test]
fn wrong_addresses_say_what_is_missing() {
    for (text, message) in [
        ("redis+sentinel://one", "must name the master"),
        ("redis+sentinel://one/", "must name the master"),
        ("redis+sentinel://one/m/x", "number of a database"),
        ("redis+sentinel:///m", "must list hosts"),
        ("redis+sentinel://one,,two/m", "must list hosts"),
        ("redis+sentinel://one:99999/m", "must list hosts"),
        ("redis+sentinel://one:0/m", "must list hosts"),
        ("redis+sentinel://one/m?password=x", "sentinel_password"),
        ("redis+sentinel://one/m#x", "must have no `#`"),
        ("redis+cluster://", "must list hosts"),
        ("redis+cluster://one/0", "one database"),
        ("redis+other://one", "such as redis://"),
    ] {
        let report = load_env(&[("HUB_REDIS_URL", text), ("REDIS_KEY_PREFIX", "{p}:")]).expect_err(text);
        let fault = report.faults[0].to_string();
        assert!(fault.starts_with("environment: HUB_REDIS_URL: ") && fault.contains(message), "{fault}");
    }
}

#[test]
fn a_cluster_asks_for_a_hash_tag() {
    for (prefix, good) in [("{pool-a}:", true), ("x{a}y:", true), ("pool-a:", false), ("{}:", false), ("{a:", false)] {
        let loaded = load_env(&[("HUB_REDIS_URL", "redis+cluster://one"), ("REDIS_KEY_PREFIX", prefix)]);
        assert_eq!(loaded.is_ok(), good, "{prefix}");
        assert_eq!(hash_tag(prefix).is_some(), good, "{prefix}");
    }
    let report = load_env(&[("HUB_REDIS_URL", "redis+cluster://one")]).unwrap_err().to_string();
    assert!(report.contains("REDIS_KEY_PREFIX") && report.contains("{pool-a}:"), "{report}");
}

#[test]
fn their_passwords_are_not_shown() {
    let loaded =
        load_env(&[("HUB_REDIS_URL", "redis+sentinel://:hun,ter2@one,two/m?sentinel_password=hunter2")]).unwrap();
    assert_eq!(shown(&loaded, "HUB_REDIS_URL").0.as_deref(), Some("redis+sentinel://:***@one,two/m?***"));
}
