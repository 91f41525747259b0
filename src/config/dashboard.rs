//! Fills what concerns the dashboard, and refuses to open it to a network without a token.
//! In: resolved values. Out: `Dashboard`, faults in the report.

use super::build::Derived;
use super::reader::Reader;
use super::report::Report;
use super::settings::Dashboard;
use secrecy::ExposeSecret;
use std::net::{IpAddr, Ipv4Addr};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Shorter ones can be guessed.
const TOKEN_MIN: usize = 16;

pub(super) fn dashboard(reader: &Reader<'_>, derived: &mut Derived, report: &mut Report) -> Dashboard {
    derived.insert("WORKER_DASHBOARD_PORT", Some("1511, or the next free port up to 1599".into()));
    let enabled = reader.boolean("WORKER_DASHBOARD_ENABLED");
    let host = host(reader, report);
    let token = reader.secret("WORKER_DASHBOARD_TOKEN");
    match &token {
        Some(token) if token.expose_secret().len() < TOKEN_MIN => {
            let why = format!("must have at least {TOKEN_MIN} characters, such as `openssl rand -hex 16` makes");
            reader.fault("WORKER_DASHBOARD_TOKEN", why, report);
        }
        // It is compared with what stands in a header.
        Some(token) if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) => {
            reader.fault("WORKER_DASHBOARD_TOKEN", "must be printable ASCII without blanks", report);
        }
        None if enabled && !host.is_loopback() => {
            let why = format!("{host} can be reached from other machines: set WORKER_DASHBOARD_TOKEN too");
            reader.fault("WORKER_DASHBOARD_HOST", why, report);
        }
        _ => {}
    }
    let allowed_hosts = reader.list("WORKER_DASHBOARD_ALLOWED_HOSTS");
    for name in &allowed_hosts {
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if name.is_empty() || !name.chars().all(is_host) {
            let name: String = name.escape_debug().take(40).collect();
            let why = format!("`{name}` is no host name; wildcards and addresses with http:// are not meant");
            reader.fault("WORKER_DASHBOARD_ALLOWED_HOSTS", why, report);
        }
    }
    Dashboard {
        enabled,
        host,
        port: reader.count("WORKER_DASHBOARD_PORT").and_then(|port| u16::try_from(port).ok()),
        token,
        read_only: reader.boolean("WORKER_DASHBOARD_READONLY"),
        allowed_hosts: allowed_hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
    }
}

fn host(reader: &Reader<'_>, report: &mut Report) -> IpAddr {
    let text = reader.text("WORKER_DASHBOARD_HOST").unwrap_or_default();
    match text.trim_matches(['[', ']']).parse() {
        Ok(host) => host,
        // Empty: its fault is in the report already.
        Err(_) if text.is_empty() || text == "localhost" => LOOPBACK,
        Err(_) => {
            let why = "must be an IP address: 127.0.0.1 for this machine alone, 0.0.0.0 for all networks";
            reader.fault("WORKER_DASHBOARD_HOST", why, report);
            LOOPBACK
        }
    }
}
