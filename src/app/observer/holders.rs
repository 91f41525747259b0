//! Whose memory is in use on the cards: the engines of this agent, or somebody else.
//! In: the processes that a driver lists, the ports of engines on this machine. Out: bytes by card, where it can be told.
//!
//! A process is an engine's if it or one of its ancestors is this agent (engines that are files), or listens on an engine's port.
//! Seen from within a container a driver may list no process, or ids of the host: then nothing is told.

use crate::config::Config;
use crate::hardware::{GpuProcess, Inventory};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use url::{Host, Url};

/// Ancestors that are looked at.
const GENERATIONS: usize = 12;

/// Ports of engines that are reached on this machine.
pub(super) fn ports(config: &Config) -> BTreeSet<u16> {
    let engines = &config.engines;
    let urls = |engine: &Option<crate::config::HttpEngine>| {
        engine.as_ref().map(|engine| engine.urls.clone()).unwrap_or_default()
    };
    let openai = engines.openai.as_ref().map(|engine| engine.urls.clone()).unwrap_or_default();
    let all = [urls(&engines.comfyui), urls(&engines.a1111), openai].concat();
    all.iter().filter(|url| is_here(url)).filter_map(Url::port_or_known_default).collect()
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
        None => false,
    }
}

/// What engines hold of each card. Reads /proc, so it may block.
pub(super) fn held(inventory: &Inventory, ports: &BTreeSet<u16>) -> BTreeMap<u32, u64> {
    let listening = inodes(ports);
    let me = std::process::id();
    let is_ours = |pid: u32| {
        let mut next = Some(pid).filter(|pid| *pid > 1);
        for _ in 0..GENERATIONS {
            let Some(pid) = next else { return false };
            if pid == me || owns(pid, &listening) {
                return true;
            }
            next = parent(pid).filter(|pid| *pid > 1);
        }
        false
    };
    let of_card = |processes: &[GpuProcess]| {
        let ours: Vec<_> = processes.iter().filter(|process| is_ours(process.pid)).collect();
        // None of them: an engine whose process is not seen may well be at work.
        if ours.is_empty() { None } else { ours.iter().map(|process| process.used_bytes).sum::<Option<u64>>() }
    };
    let cards = inventory.gpus.iter();
    cards.filter_map(|gpu| Some((gpu.index, of_card(gpu.metrics.processes.as_deref()?)?))).collect()
}

/// Of the sockets that listen on these ports.
fn inodes(ports: &BTreeSet<u16>) -> BTreeSet<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    if ports.is_empty() { BTreeSet::new() } else { tables.iter().flat_map(|table| listeners(table, ports)).collect() }
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`, numbers in hexadecimal; 0A listens.
fn listeners<'a>(table: &'a str, ports: &'a BTreeSet<u16>) -> impl Iterator<Item = u64> + 'a {
    table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(words.get(1)?.rsplit(':').next()?, 16).ok()?;
        (*words.get(3)? == "0A" && ports.contains(&port)).then(|| words.get(9)?.parse().ok())?
    })
}

fn owns(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    if inodes.is_empty() {
        return false;
    }
    let Ok(open) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { return false };
    let is_one = |link: &std::path::PathBuf| {
        let text = link.to_string_lossy();
        let inode = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| inodes.contains(&inode))
    };
    open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| is_one(&link))
}

/// The fourth word of `stat`; the second is a name in parentheses that may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::simulated;
    use std::process::{Command, Stdio};

    #[test]
    fn engines_are_those_that_listen_on_their_ports_and_our_own_children() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(owns(std::process::id(), &inodes(&[port].into())));
        assert!(!owns(std::process::id(), &inodes(&[].into())));
        // The child of a child, with a name that is hard to read.
        let mut child = Command::new("sh").args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
        let process = |pid, used_bytes| GpuProcess { pid, used_bytes };
        let mut inventory = simulated(4, 24.0);
        inventory.gpus[0].metrics.processes = Some(vec![process(child.id(), Some(5)), process(1, Some(7))]);
        inventory.gpus[1].metrics.processes = Some(vec![process(1, Some(7))]);
        inventory.gpus[2].metrics.processes = Some(vec![process(child.id(), None)]);
        let held = held(&inventory, &BTreeSet::new());
        assert_eq!(held, BTreeMap::from([(0, 5)]));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn only_engines_of_this_machine_are_looked_for() {
        let here = |url: &str| is_here(&Url::parse(url).unwrap());
        assert!(here("http://localhost:1") && here("http://127.0.0.1:1") && here("http://[::1]:1"));
        assert!(!here("http://10.0.0.1:1") && !here("https://api.example.org"));
        let table =
            "head\n 0: 0100007F:1FFC 00000000:0000 0A 0:0 0:0 0 0 0 777 1\n 1: 0:1FFC 0:0 01 0:0 0:0 0 0 0 778 1\nodd";
        assert_eq!(listeners(table, &[8188].into()).collect::<Vec<_>>(), [777]);
    }
}
