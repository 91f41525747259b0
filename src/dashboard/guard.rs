//! Who may ask: reads of a known host with the right token, and nothing else.
//! In: the head of a request, the address that it came in on. Out: let through, or refused with a status and a sentence.
//!
//! A page in a browser on this machine can send requests here from any site. It cannot choose `Host`, so a name that
//! leads here by rebinding is told by its name: only names and addresses that are known as this server's are answered.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The rules.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: BTreeSet<String>,
    port: u16,
    /// Digests are of one length whatever was sent.
    token: Option<[u8; 32]>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub why: &'static str,
}

const fn refusal(status: StatusCode, why: &'static str) -> Refusal {
    Refusal { status, why }
}

impl Guard {
    /// The rules of a server on this port. Names of `allowed` without a port count with this one, and alone.
    pub fn new(port: u16, token: Option<&SecretString>, allowed: &[String]) -> Self {
        let mut hosts = BTreeSet::new();
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            hosts.insert(format!("{name}:{port}"));
            // Port 80 is left out of `Host`.
            if port == 80 {
                hosts.insert(name.to_owned());
            }
        }
        for name in allowed {
            let after_brackets = name.rsplit(']').next().unwrap_or_default();
            if !after_brackets.contains(':') {
                hosts.insert(format!("{name}:{port}"));
            }
            hosts.insert(name.clone());
        }
        Self { hosts, port, token: token.map(|token| digest(token.expose_secret().as_bytes())) }
    }

    /// Judges a request.
    pub(super) fn check(&self, request: &Parts, local: SocketAddr) -> Result<(), Refusal> {
        // `GET http://elsewhere/`: the target would be another host than `Host` says.
        if request.uri.scheme().is_some() || request.uri.authority().is_some() {
            return Err(refusal(StatusCode::BAD_REQUEST, "a target with a host in it is for proxies; this is none"));
        }
        self.check_host(&request.headers, local)?;
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered"));
        }
        let is_empty = request.headers.get_all(header::CONTENT_LENGTH).iter().all(|length| length == "0");
        if !is_empty || request.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(refusal(StatusCode::BAD_REQUEST, "a request to read has no body"));
        }
        self.check_token(&request.headers)
    }

    fn check_host(&self, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
        const MISSING: Refusal = refusal(StatusCode::BAD_REQUEST, "one Host header is needed, and one only");
        let mut given = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else { return Err(MISSING) };
        let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(MISSING);
        }
        // No name leads to an address that is written out: nothing can be rebound to it.
        let own = SocketAddr::new(local.ip().to_canonical(), self.port).to_string();
        if self.hosts.contains(&host) || host == own {
            return Ok(());
        }
        Err(refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "this Host is not known here; if it is meant, add it to WORKER_DASHBOARD_ALLOWED_HOSTS",
        ))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = &self.token else { return Ok(()) };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let sent = match (given.next(), given.next()) {
            (Some(value), None) => value.as_bytes(),
            _ => b"",
        };
        let token = match sent.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => b"",
        };
        // In the same time wherever the first difference stands.
        let differences = digest(token).iter().zip(expected).fold(0, |all, (a, b)| all | (a ^ b));
        if differences == 0 {
            return Ok(());
        }
        Err(refusal(StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer …, see WORKER_DASHBOARD_TOKEN"))
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
