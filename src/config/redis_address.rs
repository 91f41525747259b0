//! Addresses of Redis: one server, the Sentinels that know the master, or nodes of a Cluster.
//! In: the text of HUB_REDIS_URL. Out: where to ask first, and the URL of any server that the answer names.
//!
//! `redis+sentinel://[user:password@]host[:26379],host…/master name[/db][?sentinel_username=…&sentinel_password=…]` and
//! `redis+cluster://[user:password@]host[:6379],host…`; `rediss+…` speaks TLS to all of them.

use url::Url;

const SENTINEL_PORT: u16 = 26379;
const SERVER_PORT: u16 = 6379;

/// A server's name and port.
pub type Place = (String, u16);

/// Whom to ask for the way.
#[derive(Clone, PartialEq, Eq)]
pub enum Guides {
    /// Nobody: this URL leads to the server.
    None(String),
    /// Sentinels, and the name under which they know the master.
    Sentinels {
        /// Their URLs, with the credentials that they ask for.
        urls: Vec<String>,
        /// The master's name.
        master: String,
    },
    /// Nodes of a Cluster; any of them knows the others.
    Cluster(Vec<Place>),
}

/// A checked address. Has no `Debug`: it may hold passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Whom to ask.
    pub guides: Guides,
    scheme: &'static str,
    /// `user:password@`, or nothing.
    login: String,
    /// `/db`, or nothing.
    database: String,
}

impl RedisAddress {
    /// Reads an address. The error completes the sentence "NAME …" and quotes nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (plain, kind) = match scheme.to_ascii_lowercase().as_str() {
            "redis+sentinel" => ("redis", true),
            "rediss+sentinel" => ("rediss", true),
            "redis+cluster" => ("redis", false),
            "rediss+cluster" => ("rediss", false),
            _ => return Self::server(text),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') {
            return Err("must have no `#`; in a password it is written %23".into());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let login = if login.is_empty() { String::new() } else { format!("{login}@") };
        let places = places(hosts, if kind { SENTINEL_PORT } else { SERVER_PORT })?;
        if !kind {
            if !path.is_empty() || !query.is_empty() {
                return Err("must end behind the last host: a Cluster has one database".into());
            }
            return Ok(Self { guides: Guides::Cluster(places), scheme: plain, login, database: String::new() });
        }
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(
                "must name the master that the Sentinels watch, such as redis+sentinel://host:26379/mymaster".into()
            );
        }
        if !is_database(database) {
            return Err("must end in the master's name, or in the number of a database behind it".into());
        }
        let own = sentinel_login(query)?;
        let urls = places.iter().map(|(host, port)| format!("{plain}://{own}{}:{port}", bracketed(host))).collect();
        let database = if database.is_empty() { String::new() } else { format!("/{database}") };
        Ok(Self { guides: Guides::Sentinels { urls, master: master.into() }, scheme: plain, login, database })
    }

    fn server(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| String::new())?;
        let scheme = match url.scheme() {
            "redis" => "redis",
            "rediss" => "rediss",
            "redis+unix" | "unix" if url.path().len() > 1 => "redis",
            _ => return Err(String::new()),
        };
        if matches!(url.scheme(), "redis" | "rediss") {
            if url.host_str().is_none_or(str::is_empty) {
                return Err("must name a host, such as redis://host:6379".into());
            }
            if url.port() == Some(0) {
                return Err("must have a port from 1 to 65535".into());
            }
            if !is_database(url.path().trim_start_matches('/')) {
                return Err("must end in nothing or in the number of a database, such as redis://host:6379/0".into());
            }
        }
        let login = match (url.username(), url.password()) {
            ("", None) => String::new(),
            (user, None) => format!("{user}@"),
            (user, Some(password)) => format!("{user}:{password}@"),
        };
        Ok(Self { guides: Guides::None(text.into()), scheme, login, database: String::new() })
    }

    /// The URL of a server that a Sentinel or a node has named.
    pub fn url_of(&self, (host, port): &Place) -> String {
        format!("{}://{}{}:{port}{}", self.scheme, self.login, bracketed(host), self.database)
    }

    /// Whether a Cluster was asked for.
    pub fn is_cluster(&self) -> bool {
        matches!(self.guides, Guides::Cluster(_))
    }
}

/// What decides the slot of every key behind this prefix: the text between its first `{` and the next `}`.
pub fn hash_tag(prefix: &str) -> Option<&str> {
    let (_, behind) = prefix.split_once('{')?;
    behind.split_once('}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty())
}

fn is_database(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into() }
}

fn places(hosts: &str, port: u16) -> Result<Vec<Place>, String> {
    let place = |host: &str| {
        let url = Url::parse(&format!("redis://{}", host.trim())).ok()?;
        let bare = url.path().is_empty() && url.query().is_none() && url.username().is_empty();
        let name = url.host_str().filter(|name| bare && !name.is_empty())?;
        (url.port() != Some(0)).then(|| (name.to_owned(), url.port().unwrap_or(port)))
    };
    let found: Option<Vec<Place>> = hosts.split(',').map(place).collect();
    found.ok_or_else(|| "must list hosts with a comma between, each `host` or `host:port`".into())
}

/// `user:password@` out of `sentinel_username=…&sentinel_password=…`, as it stands: it is percent-encoded already.
fn sentinel_login(query: &str) -> Result<String, String> {
    let (mut user, mut password) = ("", None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_username", text)) => user = text,
            Some(("sentinel_password", text)) => password = Some(text),
            _ => return Err("must have nothing but sentinel_username and sentinel_password behind `?`".into()),
        }
    }
    Ok(match password {
        Some(password) => format!("{user}:{password}@"),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    })
}
