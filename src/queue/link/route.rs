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
use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// For the connection and its first words. Longer than the first repetition of a lost packet (1 s).
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
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
        Ok(Self { address, probe, has_hash_tag: hash_tag(prefix).is_some(), call_deadline })
    }

    /// Whether somebody can be asked where the master is now.
    pub(super) fn has_guides(&self) -> bool {
        !matches!(self.address.guides, Guides::None(_))
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

    async fn ask_sentinels(&self, urls: &[String], master: &str, but: Option<&str>) -> RedisResult<Opened> {
        let mut asked: FuturesUnordered<_> = urls.iter().map(|url| master_by(url, master)).collect();
        let mut opening = FuturesUnordered::new();
        let mut tried = BTreeSet::new();
        let mut last = timed_out();
        loop {
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(place) => if tried.insert(place.clone()) {
                        opening.push(self.follow(self.address.url_of(&place), Some(place), but));
                    },
                    Err(error) if tried.is_empty() => last = error,
                    Err(_) => {}
                },
                Some(opened) = opening.next() => match opened {
                    Ok(opened) => return Ok(opened),
                    Err(error) => last = error,
                },
                else => return Err(last),
            }
        }
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

async fn master_by(sentinel: &str, name: &str) -> RedisResult<Place> {
    let asking = async {
        let mut con = client(sentinel)?.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd("SENTINEL");
        let place: Option<Place> = command.arg("get-master-addr-by-name").arg(name).query_async(&mut con).await?;
        place.ok_or_else(|| unusable(format!("the Sentinels know no master of this name: {name}")))
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
