//! What every command that speaks to Redis begins with: configuration, then a connection that answers.
//! In: the chosen sources. Out: a link and the queue's place in it.

use super::{Chosen, Exit, Failed};
use crate::config::{self, Config, Loaded, Sources};
use crate::protocol::Space;
use crate::queue::link::{Link, ping};
use secrecy::ExposeSecret;

impl Chosen {
    /// The configuration, checked whole.
    pub(super) fn load(&self) -> Result<Loaded, Failed> {
        config::load(&self.sources()?).map_err(|report| Failed::usage(report.to_string().trim_end().to_owned()))
    }

    pub(super) fn sources(&self) -> Result<Sources, Failed> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(Failed::usage(format!("--set takes NAME=VALUE, not {pair:?}")));
            };
            flags.push((name.to_owned(), value.to_owned()));
        }
        if let Some(url) = &self.redis {
            flags.push(("HUB_REDIS_URL".to_owned(), url.clone()));
        }
        Ok(Sources::from_process(flags, self.env_file.clone()))
    }
}

/// A command's way to the queue.
pub(super) struct Session {
    pub link: Link,
    pub space: Space,
    pub config: Config,
}

impl Session {
    /// Opens it, and makes sure that Redis answers.
    pub(super) async fn open(chosen: &Chosen) -> Result<Self, Failed> {
        let config = chosen.load()?.config;
        let link = link(&config)?;
        let answered = link.call(async |con| ping(con).await).await;
        answered.map_err(|error| unreachable(&config, &error))?;
        Ok(Self { link, space: crate::app::space(&config), config })
    }
}

/// The way to the configured Redis; nothing is opened yet.
pub(super) fn link(config: &Config) -> Result<Link, Failed> {
    // The library's error may repeat the URL, which may hold a password.
    Link::new(config.redis.url.expose_secret(), &config.redis.key_prefix)
        .map_err(|_| Failed::usage("HUB_REDIS_URL cannot be used; it looks like redis://127.0.0.1:6379"))
}

/// Redis as people may see it: without user name and password.
pub(super) fn shown_url(config: &Config) -> String {
    let text = config.redis.url.expose_secret();
    // By hand: the forms with several hosts are no URLs.
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place)),
        None => "the configured Redis".to_owned(),
    }
}

fn refuses_us(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

pub(super) fn unreachable(config: &Config, error: &redis::RedisError) -> Failed {
    let at = shown_url(config);
    if refuses_us(error) {
        let hint = "Put a user name and password that it knows into HUB_REDIS_URL: redis://USER:PASSWORD@HOST:6379";
        return Failed::new(Exit::Unreachable, format!("Redis at {at} does not let us in: {error}\n{hint}"));
    }
    let hint = "Is it running? Name another with --redis URL or HUB_REDIS_URL.";
    Failed::new(Exit::Unreachable, format!("cannot reach Redis at {at}: {error}\n{hint}"))
}

/// An error of Redis in the middle of a command.
pub(super) fn redis_failed(error: &redis::RedisError) -> Failed {
    let exit = if crate::queue::link::is_passing(error) { Exit::Unreachable } else { Exit::Failed };
    Failed::new(exit, format!("Redis: {error}"))
}
