//! The way to the master: straight, by way of Sentinels, or by way of a Cluster's nodes.
//! In: the configured address. Out: a connection to a server that says it is the master of our keys.
//!
//! Guides are asked all at once and every master that one of them names is tried: neither a dead guide nor one that lags
//! behind holds up the others.

use super::failure::{timed_out, unusable};
use super::server::{Greeted, History, greet};
use crate::config::{Guides, Place, RedisAddress, hash_tag};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// For the connection and its first words.
pub(super) const CONNECT_DEADLINE: Duration = super::dial::LONGEST;
/// For all that is asked of one Sentinel.
const GUIDE_DEADLINE: Duration = Duration::from_secs(1);
/// How often one node of a Cluster may send us to another.
const HOPS: usize = 4;

/// A connection to the master.
pub(super) struct Opened {
    pub con: MultiplexedConnection,
    /// Opens more of the kind.
    pub client: Client,
    /// Where that is, for people and for comparison.
    pub place: String,
    pub history: Option<History>,
}

/// The way.
pub(super) struct Route {
    address: RedisAddress,
    probe: String,
    has_hash_tag: bool,
    call_deadline: Duration,
    /// The failover that made the present master, as Sentinels count.
    epoch: AtomicU64,
}

impl Route {
    pub(super) fn new(url: &str, prefix: &str, call_deadline: Duration) -> RedisResult<Self> {
        let address = RedisAddress::parse(url).map_err(|why| {
            RedisError::from((redis::ErrorKind::InvalidClientConfig, "the address cannot be used", why))
        })?;
        if let Guides::None(url) = &address.guides {
            client(url)?;
        }
        let probe = format!("{prefix}jobs:pending");
        Ok(Self { address, probe, has_hash_tag: hash_tag(prefix).is_some(), call_deadline, epoch: AtomicU64::new(0) })
    }

    /// Whether somebody can be asked where the master is now.
    pub(super) fn has_guides(&self) -> bool {
        !matches!(self.address.guides, Guides::None(_))
    }

    /// Where the master is looked for, for people; nothing where that is asked of others.
    pub(super) fn shown(&self) -> Option<String> {
        match &self.address.guides {
            Guides::None(url) => Some(url.as_str().into_connection_info().ok()?.addr().to_string()),
            Guides::Cluster(_) | Guides::Sentinels { .. } => None,
        }
    }

    /// Opens a connection to the master; `but`: a place that is known to be of no use.
    pub(super) async fn open(&self, but: Option<&str>) -> RedisResult<Opened> {
        match &self.address.guides {
            Guides::None(url) => self.follow(url.clone(), None, but).await,
            Guides::Cluster(nodes) => {
                let ways = nodes.iter().map(|node| self.follow(self.address.url_of(node), Some(node.clone()), but));
                first_good(ways.collect()).await
            }
            Guides::Sentinels { urls, master } => self.ask_sentinels(urls, master, but).await,
        }
    }

    /// A Sentinel that lags behind names a master that is none any more but may not know it yet: its answers are told by
    /// their epoch, and come last.
    async fn ask_sentinels(&self, urls: &[String], master: &str, but: Option<&str>) -> RedisResult<Opened> {
        let known = self.epoch.load(Ordering::Relaxed);
        let is_good = |named: &Named| if but.is_some() { named.epoch > known } else { named.epoch >= known };
        let mut asked: FuturesUnordered<_> = urls.iter().map(|url| master_by(url, master)).collect();
        let mut opening = FuturesUnordered::new();
        let (mut tried, mut lagging) = (BTreeSet::new(), BTreeSet::new());
        let mut last = timed_out();
        loop {
            let named = tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(named) if is_good(&named) => named,
                    Ok(named) => {
                        lagging.insert(named);
                        continue;
                    }
                    Err(error) => {
                        last = if tried.is_empty() { error } else { last };
                        continue;
                    }
                },
                Some((epoch, opened)) = opening.next() => match opened {
                    Ok(opened) => {
                        self.epoch.store(epoch, Ordering::Relaxed);
                        return Ok(opened);
                    }
                    Err(error) => {
                        last = error;
                        continue;
                    }
                },
                // All of them have forgotten what they once knew: they have been set up anew.
                else => match lagging.pop_last() {
                    Some(named) if but.is_none() => named,
                    _ => return Err(last),
                },
            };
            if tried.insert(named.place.clone()) {
                let Named { epoch, place } = named;
                opening.push(async move { (epoch, self.follow(self.address.url_of(&place), Some(place), but).await) });
            }
        }
    }

    /// A connection to one of the Sentinels, another one each turn, that hears of new masters. Never returns where there
    /// are none.
    pub(super) async fn sentinel(&self, turn: usize) -> RedisResult<PubSub> {
        let Guides::Sentinels { urls, .. } = &self.address.guides else { return std::future::pending().await };
        let listening = async {
            let mut listener = client(&urls[turn % urls.len()])?.get_async_pubsub().await?;
            listener.subscribe("+switch-master").await?;
            Ok(listener)
        };
        timeout(GUIDE_DEADLINE, listening).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Connects to a server, and to those that it names instead of itself.
    async fn follow(&self, url: String, place: Option<Place>, but: Option<&str>) -> RedisResult<Opened> {
        let (mut url, mut place) = (url, place);
        for _ in 0..HOPS {
            let client = client(&url)?;
            let at = client.get_connection_info().addr().to_string();
            if but == Some(at.as_str()) {
                return Err(unusable(format!("every way leads to {at}")));
            }
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_DEADLINE))
                .set_response_timeout(Some(self.call_deadline));
            let arriving = async {
                let mut con = client.get_multiplexed_async_connection_with_config(&config).await?;
                let greeted = greet(&mut con, &self.probe, self.has_hash_tag).await?;
                Ok((con, greeted))
            };
            match timeout(CONNECT_DEADLINE, arriving).await.unwrap_or_else(|_| Err(timed_out()))? {
                (con, Greeted::Master(history)) => return Ok(Opened { con, client, place: at, history }),
                (_, Greeted::Moved(to)) => {
                    let next = named(&to, place.as_ref())
                        .ok_or_else(|| unusable(format!("a node of the Cluster names no other: {to}")))?;
                    url = self.address.url_of(&next);
                    place = Some(next);
                }
            }
        }
        Err(unusable("the nodes of the Cluster send us from one to the other"))
    }
}

/// `host:port` as a node writes it; without a host it means its own.
fn named(text: &str, by: Option<&Place>) -> Option<Place> {
    let (host, port) = text.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { by?.0.clone() } else { host.to_owned() };
    Some((host, port.parse().ok()?))
}

async fn first_good(mut ways: FuturesUnordered<impl Future<Output = RedisResult<Opened>>>) -> RedisResult<Opened> {
    let mut last = timed_out();
    while let Some(way) = ways.next().await {
        match way {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What a Sentinel names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    /// Counts failovers.
    epoch: u64,
    place: Place,
}

async fn master_by(sentinel: &str, name: &str) -> RedisResult<Named> {
    let asking = async {
        let mut con = client(sentinel)?.get_multiplexed_async_connection().await?;
        let mut both = redis::pipe();
        both.ignore_errors();
        // The place is new as soon as the replica is promoted; `MASTER` shows it when the failover is over.
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).cmd("SENTINEL").arg("MASTER").arg(name);
        let answers: Vec<RedisResult<Value>> = both.query_async(&mut con).await?;
        let [place, master] = answers.try_into().map_err(|_| unusable("a Sentinel's answer is missing"))?;
        let place: Option<Place> = redis::from_redis_value(place?)?;
        let place = place.ok_or_else(|| unusable(format!("the Sentinels know no master of this name: {name}")))?;
        let said: BTreeMap<String, String> = redis::from_redis_value(master?)?;
        let epoch = said.get("config-epoch").and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Named { epoch, place })
    };
    timeout(GUIDE_DEADLINE, asking).await.unwrap_or_else(|_| Err(timed_out()))
}

fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let alive =
        TcpKeepalive::new().with_time(Duration::from_secs(3)).with_interval(Duration::from_secs(1)).with_retries(3);
    let tcp = info
        .tcp_settings()
        .clone()
        // Calls of several tasks share one connection: none may wait until the answer to the one before is acknowledged.
        .set_nodelay(true)
        // A server whose machine or network is gone is noticed in seconds, also by a connection that only waits. One
        // that is merely busy acknowledges what it gets, and is left in peace.
        .set_keepalive(alive)
        .set_user_timeout(Duration::from_secs(5));
    Client::open(info.set_tcp_settings(tcp))
}
