//! Who may ask: reads of a known host, and orders of whoever shows the token or comes from our own page; nothing else.
//! In: the head of a request, the address that it came in on. Out: let through, or refused with a status and a sentence.
//!
//! A page in a browser on this machine can send requests here from any site. It cannot choose `Host`, so a name that
//! leads here by rebinding is told by its name: only names and addresses that are known as this server's are answered.
//! Nor can it choose `Origin`: what changes something is taken from our own page alone. A page of another port of this
//! machine is of the same *site*, so its requests bring the cookie along; they are told by their origin.

use super::access::{Access, Shown};
use super::cross_site;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Below this, `POST` changes something.
pub(super) const CONTROLS: &str = "/api/control/";
/// `POST` makes a launch link.
pub(super) const LAUNCH: &str = "/api/launch";
/// Launch links.
pub(super) const LAUNCHES: &str = "/launch/";

/// The rules.
pub struct Guard {
    hosts: BTreeSet<String>,
    /// Names that others answer for us: a proxy may speak https under them.
    allowed: BTreeSet<String>,
    port: u16,
    /// The token, set or made.
    pub(super) access: Access,
    /// Reads need it, too.
    is_closed: bool,
    is_read_only: bool,
    /// The address under which other machines reach this server.
    pub(super) elsewhere: Option<SocketAddr>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub why: &'static str,
    pub remedy: Option<&'static str>,
    /// Methods that are answered, where this one is not.
    pub allow: &'static str,
}

pub(super) const fn refusal(status: StatusCode, why: &'static str) -> Refusal {
    Refusal { status, why, remedy: None, allow: "GET, HEAD" }
}

const GET_A_LINK: &str = "`gpu-worker dashboard` on this machine prints a link that opens the page with it";

/// What opens a server, and how far.
#[derive(Debug, Clone)]
pub enum Key {
    /// A token that the operator set: everything needs it.
    Set(SecretString),
    /// A token made by the agent: orders need it, and our own page is given a cookie for them.
    Made(SecretString),
}

impl Guard {
    /// The rules of a server on this port. Names of `allowed` without a port count with this one, and alone.
    pub fn new(port: u16, key: &Key, allowed: &[String], is_read_only: bool) -> Self {
        let mut hosts = BTreeSet::new();
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            hosts.insert(format!("{name}:{port}"));
            // Port 80 is left out of `Host`.
            if port == 80 {
                hosts.insert(name.to_owned());
            }
        }
        let mut names = BTreeSet::new();
        for name in allowed {
            let after_brackets = name.rsplit(']').next().unwrap_or_default();
            if !after_brackets.contains(':') {
                names.insert(format!("{name}:{port}"));
            }
            names.insert(name.clone());
        }
        let (Key::Set(token) | Key::Made(token)) = key;
        Self {
            hosts,
            allowed: names,
            port,
            access: Access::new(token, port),
            is_closed: matches!(key, Key::Set(_)),
            is_read_only,
            elsewhere: None,
        }
    }

    /// Whether our own page is given the cookie for the asking.
    pub(super) fn gives_cookie(&self) -> bool {
        !self.is_closed
    }

    /// Judges a request.
    pub(super) fn check(&self, request: &Parts, local: SocketAddr) -> Result<(), Refusal> {
        // `GET http://elsewhere/`: the target would be another host than `Host` says.
        if request.uri.scheme().is_some() || request.uri.authority().is_some() {
            return Err(refusal(StatusCode::BAD_REQUEST, "a target with a host in it is for proxies; this is none"));
        }
        let host = self.check_host(&request.headers, local)?;
        let is_post = request.method == Method::POST;
        let (is_order, is_entry) = (is_post && takes_orders(request.uri.path()), is_post && is_launch(request));
        if !is_order && !is_entry && request.method != Method::GET && request.method != Method::HEAD {
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here"));
        }
        cross_site::check_form(request)?;
        match (is_order, is_entry) {
            (true, _) => self.check_order(request, &host),
            // The link is the key, and our own page hands it in.
            (_, true) => cross_site::check_origin(&request.headers, &host, self.allowed.contains(&host), true),
            _ => self.check_read(request),
        }
    }

    fn check_read(&self, request: &Parts) -> Result<(), Refusal> {
        if takes_orders(request.uri.path()) {
            let why = "orders are given by POST";
            return Err(Refusal { allow: "POST", ..refusal(StatusCode::METHOD_NOT_ALLOWED, why) });
        }
        // Other sites' pages see nothing of an answer, but could have it made over and over. They may lead a person here.
        let said = |name: &str, word: &str| request.headers.get_all(name).iter().any(|value| value == word);
        if said("sec-fetch-site", "cross-site") && !said("sec-fetch-mode", "navigate") {
            return Err(refusal(StatusCode::FORBIDDEN, "other sites' pages may lead here, and read nothing"));
        }
        match self.access.shown(&request.headers) {
            _ if is_launch(request) || !self.is_closed => Ok(()),
            Shown::Token | Shown::Cookie => Ok(()),
            _ => Err(Refusal {
                remedy: Some(GET_A_LINK),
                ..refusal(
                    StatusCode::UNAUTHORIZED,
                    "send the token: Authorization: Bearer …, see WORKER_DASHBOARD_TOKEN",
                )
            }),
        }
    }

    fn check_order(&self, request: &Parts, host: &str) -> Result<(), Refusal> {
        let shown = self.access.shown(&request.headers);
        // Before the token: with the right one a foreign page is still a foreign page.
        let allows_https = self.allowed.contains(host);
        cross_site::check_origin(&request.headers, host, allows_https, shown == Shown::Cookie)?;
        if !matches!(shown, Shown::Token | Shown::Cookie) {
            return Err(Refusal {
                remedy: Some(GET_A_LINK),
                ..refusal(StatusCode::UNAUTHORIZED, "this needs the dashboard's token or its page's cookie")
            });
        }
        if self.is_read_only && request.uri.path() != LAUNCH {
            return Err(Refusal {
                remedy: Some("set WORKER_DASHBOARD_READONLY=false and restart the agent, if it is to take orders"),
                ..refusal(StatusCode::FORBIDDEN, "this dashboard only shows; it was told to change nothing")
            });
        }
        Ok(())
    }

    fn check_host(&self, headers: &HeaderMap, local: SocketAddr) -> Result<String, Refusal> {
        const MISSING: Refusal = refusal(StatusCode::BAD_REQUEST, "one Host header is needed, and one only");
        let mut given = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else { return Err(MISSING) };
        let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(MISSING);
        }
        // No name leads to an address that is written out: nothing can be rebound to it. Where a token is needed for everything,
        // any will do: it may be that of a router, or of the machine around a container, and the port another one there.
        let own = SocketAddr::new(local.ip().to_canonical(), self.port).to_string();
        let is_known = self.hosts.contains(&host) || self.allowed.contains(&host) || host == own;
        if is_known || self.is_closed && is_address(&host) {
            return Ok(host);
        }
        Err(refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "this Host is not known here; if it is meant, add it to WORKER_DASHBOARD_ALLOWED_HOSTS",
        ))
    }
}

/// The page of a launch link, its script, and the link handed in.
fn is_launch(request: &Parts) -> bool {
    request.uri.path().starts_with(LAUNCHES)
}

/// An address, in the one way that browsers write it, with a port or without.
fn is_address(host: &str) -> bool {
    let bare = || match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6).map(|ip| (ip, format!("[{ip}]"))),
        None => host.parse().ok().map(IpAddr::V4).map(|ip| (ip, ip.to_string())),
    };
    let with_port = host.parse::<SocketAddr>().ok().map(|at| (at.ip(), at.to_string()));
    with_port.or_else(bare).is_some_and(|(ip, text)| !ip.is_unspecified() && text == host)
}

fn takes_orders(path: &str) -> bool {
    path.starts_with(CONTROLS) || path == LAUNCH
}
