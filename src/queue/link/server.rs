//! The first words with a server: whether it serves, whether it is the master, and which history of the data it has.
//! In: a fresh connection. Out: what it is, or why it is not the one.

use super::failure::{is_closed, unusable};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value, from_redis_value};

/// A process of Redis and the history that it holds: each restart and each failover begins another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    run: String,
    replication: String,
}

/// What a server says of itself.
#[derive(Debug)]
pub(super) enum Greeted {
    /// The master of our keys; without a history if we may not ask for it.
    Master(Option<History>),
    /// A node of a Cluster that names another one: `host:port`, or `:port` on the same host.
    Moved(String),
}

/// Asks. `probe` is a key of ours.
pub(super) async fn greet(con: &mut MultiplexedConnection, probe: &str, has_hash_tag: bool) -> RedisResult<Greeted> {
    let mut asking = redis::pipe();
    asking.ignore_errors().cmd("PING").cmd("INFO").cmd("EXISTS").arg(probe);
    let answers: Vec<RedisResult<Value>> = asking.query_async(con).await?;
    let [pong, info, probed] = answers.try_into().map_err(|_| unusable("an answer is missing"))?;
    if let Some(error) = [pong, probed.clone()].into_iter().filter_map(Result::err).find(is_closed) {
        return Err(error);
    }
    // Who may not ask is told nothing; what it may not do, calls will show.
    let info: String = info.ok().and_then(|text| from_redis_value(text).ok()).unwrap_or_default();
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if said("cluster_enabled") == Some("1") && !has_hash_tag {
        let how = "write HUB_REDIS_URL as redis+cluster://host:port,… and give REDIS_KEY_PREFIX a hash tag, such as {pool-a}:";
        return Err(RedisError::from((
            redis::ErrorKind::InvalidClientConfig,
            "this Redis is a node of a Cluster",
            how.to_owned(),
        )));
    }
    if let Err(error) = &probed
        && error.code() == Some("MOVED")
        && let Some((place, _)) = error.redirect_node()
    {
        return Ok(Greeted::Moved(place.to_owned()));
    }
    if said("role") == Some("slave") {
        let master = said("master_host").unwrap_or("unknown");
        return Err(unusable(format!("this Redis is a replica; its master is on {master}")));
    }
    let history = said("run_id").zip(said("master_replid"));
    Ok(Greeted::Master(history.map(|(run, replication)| History { run: run.into(), replication: replication.into() })))
}
