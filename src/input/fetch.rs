//! One input over HTTP: every hop resolved once, checked, and asked at exactly the addresses that were checked.
//! In: a target, limits. Out: a draft with the whole body, or why not.
//!
//! ```text
//!   target ─▶ resolved ─▶ every address checked ─▶ asked there ─▶ 200 ─▶ body into a file, counted
//!      ▲         └─ refused: validation_error            └─▶ redirect ─┐
//!      └────────────────── checked like the first, a few times ◀───────┘
//! ```

use super::Limits;
use super::file::{Draft, Stored};
use super::resolve::{Pinned, Resolver};
use super::target::{Name, Target, refused};
use crate::config::AllowedHost;
use connectors::failure::{Failure, Reason};
use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode, header};
use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(super) struct Fetch<'a> {
    pub limits: &'a Limits,
    pub allowed: &'a [AllowedHost],
    pub resolver: &'a dyn Resolver,
    pub folder: &'a Path,
}

impl Fetch<'_> {
    /// Fetches it whole.
    pub async fn get(&self, source: &str) -> Result<Stored, Failure> {
        let target = Target::read(source, self.allowed)?;
        let (shown, most) = (target.shown(), self.limits.total);
        timeout(most, self.follow(target)).await.unwrap_or_else(|_| {
            let what = format!("{shown} has not been fetched within {} s (INPUT_TIMEOUT_SECONDS)", most.as_secs_f64());
            Err(Failure::new(Reason::NetworkTimeout, what))
        })
    }

    async fn follow(&self, mut target: Target) -> Result<Stored, Failure> {
        for _ in 0..=self.limits.redirects {
            let response = self.ask(&target).await?;
            let status = response.status();
            match status.as_u16() {
                200 => return self.keep(response, &target).await,
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                    let location = location
                        .ok_or_else(|| refused(format!("{} redirects, but does not say where to", target.shown())))?;
                    target = target.redirected(location, self.allowed)?;
                }
                _ => return Err(unexpected(&response, &target)),
            }
        }
        Err(refused(format!("{} is one redirect too many; {} are followed", target.shown(), self.limits.redirects)))
    }

    async fn ask(&self, target: &Target) -> Result<Response, Failure> {
        let addresses = self.resolve(target).await?;
        for address in &addresses {
            target.check(self.allowed, *address)?;
        }
        let client = self.client(addresses)?;
        // What a server packed is taken as it is: nothing is unpacked here.
        let request = client.get(target.url.clone()).header(header::ACCEPT_ENCODING, "identity");
        let answer = timeout(self.limits.idle, request.send()).await;
        answer.map_err(|_| silent(target, self.limits.idle))?.map_err(|error| trouble(&error, target))
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<IpAddr>, Failure> {
        let name = match &target.host {
            Name::Address(address) => return Ok(vec![*address]),
            Name::Domain(name) => name,
        };
        let unknown = || {
            Failure::new(
                Reason::DnsResolution,
                format!("the host of {} has no address that can be found", target.shown()),
            )
        };
        let found = timeout(self.limits.idle, self.resolver.resolve(name)).await;
        let found = found.map_err(|_| silent(target, self.limits.idle))?.map_err(|_| unknown())?;
        if found.is_empty() { Err(unknown()) } else { Ok(found) }
    }

    /// For one request: a connection that is kept would go to what a name meant earlier.
    fn client(&self, addresses: Vec<IpAddr>) -> Result<Client, Failure> {
        // The client refuses to be built without a provider; a second installation is refused and does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(Arc::new(Pinned(addresses)))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would resolve the name anew, and ask whatever comes of it.
            .no_proxy()
            .http1_only()
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("gpu-worker/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(0)
            .connect_timeout(self.limits.connect)
            .build();
        client.map_err(|error| Failure::of_host(Reason::ConfigError, format!("cannot set up HTTP: {error}")))
    }

    async fn keep(&self, response: Response, target: &Target) -> Result<Stored, Failure> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let packed = header(header::CONTENT_ENCODING).is_some_and(|packed| !packed.eq_ignore_ascii_case("identity"));
        if packed {
            return Err(refused(format!("{} answers with a packed body; it must be served as it is", target.shown())));
        }
        let claim = header(header::CONTENT_TYPE).map(str::to_owned);
        let mut draft = Draft::create(self.folder, self.limits.bytes).await?;
        draft.expect(response.content_length().unwrap_or_default())?;
        let mut parts = response.bytes_stream();
        loop {
            let part = timeout(self.limits.idle, parts.next()).await.map_err(|_| silent(target, self.limits.idle))?;
            match part {
                Some(Ok(part)) => draft.write(&part).await?,
                Some(Err(error)) => return Err(trouble(&error, target)),
                None => return draft.finish(claim.as_deref()).await,
            }
        }
    }
}

/// What an answer without a file means for the job.
fn unexpected(response: &Response, target: &Target) -> Failure {
    let (status, shown) = (response.status(), target.shown());
    let retry_after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let said = format!("{shown} answers {}", status.as_u16());
    let failure = match status {
        StatusCode::TOO_MANY_REQUESTS => Failure::new(Reason::RequestsPerMinute, said),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::MISDIRECTED_REQUEST => {
            Failure::new(Reason::ConnectionFailed, said)
        }
        status if status.is_server_error() => Failure::new(Reason::ConnectionFailed, said),
        _ => refused(format!("{said} instead of a file")),
    };
    Failure { retry_after: retry_after.map(Duration::from_secs), ..failure }
}

fn silent(target: &Target, waited: Duration) -> Failure {
    let what = format!("{} was silent for {} s", target.shown(), waited.as_secs_f64());
    Failure::new(Reason::NetworkTimeout, what)
}

/// The error's own words are not repeated: they hold the URL.
fn trouble(error: &reqwest::Error, target: &Target) -> Failure {
    let (reason, what) = match () {
        () if error.is_timeout() => (Reason::NetworkTimeout, "does not take connections in time"),
        () if of_tls(error) => {
            (Reason::SslCertificate, "cannot be asked over TLS: its certificate does not hold, or it does not speak it")
        }
        () if error.is_connect() => (Reason::ConnectionFailed, "cannot be reached"),
        () => (Reason::ConnectionFailed, "broke off before the whole input had arrived"),
    };
    Failure::new(reason, format!("{} {what}", target.shown()))
}

fn of_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(at) = cause {
        let inner = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if at.is::<rustls::Error>() || inner.is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some()) {
            return true;
        }
        cause = at.source();
    }
    false
}
