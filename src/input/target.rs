//! A URL that may be asked: read once, in the one normal form that everything after it uses.
//! In: text from a job or a redirect. Out: a target with host and port checked as far as names go, or why it is refused.

use super::address;
use crate::config::AllowedHost;
use connectors::failure::{Failure, Reason};
use std::net::IpAddr;
use url::{Host, Url};

/// Longer URLs are no addresses of anything.
const LONGEST: usize = 16 << 10;
/// Of a URL in a message.
const SHOWN: usize = 160;

/// What is asked next.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub url: Url,
    pub host: Name,
    pub port: u16,
}

/// Whom it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// In small letters, ASCII, without a dot at the end.
    Domain(String),
    Address(IpAddr),
}

impl Target {
    /// Reads what a job names. A user name and password in it are for this host alone.
    pub fn read(text: &str, allowed: &[AllowedHost]) -> Result<Self, Failure> {
        if text.len() > LONGEST {
            return Err(invalid("an input's address is too long"));
        }
        let url = Url::parse(text).map_err(|_| invalid("an input's address is not a URL"))?;
        Self::of(url, allowed)
    }

    /// Where a redirect leads.
    pub fn redirected(&self, location: &str, allowed: &[AllowedHost]) -> Result<Self, Failure> {
        let from = shown(&self.url);
        let wrong = || refused(format!("{from} redirects to what is not a URL"));
        if location.len() > LONGEST {
            return Err(wrong());
        }
        let mut url = self.url.join(location).map_err(|_| wrong())?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(refused(format!("{from} redirects from https to http, where anybody could change the answer")));
        }
        // Whatever a redirect says: credentials are the job's, for the host that it gave them to. Relative redirects inherit them.
        let mut carried = (String::new(), None);
        if url.origin() == self.url.origin() {
            carried = (self.url.username().to_owned(), self.url.password().map(str::to_owned));
        }
        // Only what has no host has no place for them, and that is refused by its scheme.
        let _ = url.set_username(&carried.0).and_then(|()| url.set_password(carried.1.as_deref()));
        Self::of(url, allowed)
    }

    fn of(mut url: Url, allowed: &[AllowedHost]) -> Result<Self, Failure> {
        if !matches!(url.scheme(), "http" | "https") {
            let scheme: String = url.scheme().chars().take(20).collect();
            return Err(refused(format!("inputs are fetched by http and https only, not by {scheme}")));
        }
        url.set_fragment(None);
        let wrong = || invalid("an input's address names no host");
        if let Some(name) = url.domain().and_then(|name| name.strip_suffix('.')) {
            // The dot is the resolver's business; certificates and virtual hosts do not know it. What is left is read
            // anew: behind two dots an address hides.
            let name = name.to_owned();
            url.set_host(Some(&name)).map_err(|_| wrong())?;
        }
        let host = match url.host().ok_or_else(wrong)? {
            Host::Ipv4(v4) => Name::Address(v4.into()),
            Host::Ipv6(v6) => Name::Address(v6.into()),
            Host::Domain(name) => {
                let is_name = !name.is_empty() && name.len() < 254 && !name.ends_with('.');
                Name::Domain(Some(name.to_ascii_lowercase()).filter(|_| is_name).ok_or_else(wrong)?)
            }
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let target = Self { url, host, port };
        let (name, address) = (target.name(), target.address());
        if !address::check_port(allowed, &name, address, port) {
            return Err(refused(format!(
                "{} names the port {port}, where no web server is expected",
                shown(&target.url)
            )));
        }
        if let Some(address) = address {
            target.check(allowed, address)?;
        }
        Ok(target)
    }

    /// Whether this address, to which the name led, may be asked.
    pub fn check(&self, allowed: &[AllowedHost], address: IpAddr) -> Result<(), Failure> {
        address::check(allowed, &self.name(), address, self.port).map_err(|kind| {
            // The address itself is not told: it may be news to whoever wrote the job.
            let what = "inputs are fetched from public addresses, and from those in ALLOWED_INPUT_HOSTS";
            refused(format!("{} leads to {} {kind} address; {what}", shown(&self.url), article(kind)))
        })
    }

    /// The address, if it stands in the URL.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Name::Address(address) => Some(*address),
            Name::Domain(_) => None,
        }
    }

    /// The name that is to be resolved; empty if it is an address.
    pub fn name(&self) -> String {
        match &self.host {
            Name::Domain(name) => name.clone(),
            Name::Address(_) => String::new(),
        }
    }

    /// For messages.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u', 'I']) { "an" } else { "a" }
}

/// A URL without what may be secret in it: user, password, query.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let text = format!("{}://{host}{port}{}", url.scheme(), url.path());
    if text.len() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

/// May not be fetched, now or later.
pub(super) fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Reason::InvalidPayload, what)
}

/// Is not written as it must be.
pub(super) fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(Reason::InvalidFormat, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_from_https_to_http_is_refused_and_the_other_way_is_not() {
        let secure = Target::read("https://example.com/a", &[]).unwrap();
        for location in ["http://example.com/a", "HTTP://example.com:443/a"] {
            let failure = secure.redirected(location, &[]).unwrap_err();
            assert_eq!(failure.reason, Reason::InvalidPayload, "{location}");
        }
        assert_eq!(secure.redirected("//example.org/b", &[]).unwrap().url.as_str(), "https://example.org/b");
        let open = Target::read("http://example.com/a", &[]).unwrap();
        assert_eq!(open.redirected("https://example.com/a", &[]).unwrap().url.scheme(), "https");
    }

    #[test]
    fn other_ports_and_schemes_of_a_host_are_other_places_to_credentials() {
        let first = Target::read("https://me:pass@example.com/a", &[]).unwrap();
        let kept = |location: &str| first.redirected(location, &[]).unwrap().url.password().is_some();
        assert!(kept("/b") && kept("https://EXAMPLE.com:443/b") && kept("https://eve:x@example.com/b"));
        assert!(!kept("https://example.com:8443/b") && !kept("https://sub.example.com/b"));
        let same = first.redirected("https://eve:x@example.com/b", &[]).unwrap();
        assert_eq!((same.url.username(), same.url.password()), ("me", Some("pass")));
    }

    #[test]
    fn a_refusal_says_which_kind_of_address_it_is() {
        for (url, kind) in [
            ("http://[::ffff:10.0.0.1]/", "an IPv4-mapped"),
            ("http://10.0.0.1/", "a private"),
            ("http://0/", "an unspecified"),
        ] {
            let message = Target::read(url, &[]).unwrap_err().message;
            assert!(message.contains(&format!("leads to {kind} address")), "{message}");
        }
    }
}
