//! What a browser or program must show: the token, or a cookie that is made from it and counts on this port alone.
//! In: the head of a request. Out: whether it shows one; cookies to hand out, one-time codes that become one.
//!
//! A cookie belongs to a host and not to a port, so its name holds the port: agents of one machine do not overwrite each
//! other's. Its value is a keyed digest of the port: whoever reads it learns no token, and a new token ends it.

use axum::http::{HeaderMap, header};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a launch link is good for.
pub(super) const LAUNCH_LASTS: Duration = Duration::from_secs(120);
/// Links that wait to be opened; the oldest goes first.
const LAUNCHES_MAX: usize = 16;
/// Once a browser has been closed for so long it asks for a new link.
const COOKIE_LASTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much a request has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The token itself: a program that was given it.
    Token,
    /// The cookie: a browser, which sends it on whoever's behalf.
    Cookie,
    /// Nothing.
    Nothing,
    /// Something that is not right.
    Wrong,
}

/// What opens this server. Never shown: it holds the cookie.
pub struct Access {
    key: hmac::Key,
    token: hmac::Tag,
    cookie_name: String,
    cookie: String,
    launches: Mutex<Vec<(hmac::Tag, Instant)>>,
}

impl Access {
    /// Opened by this token, on this port.
    pub fn new(token: &SecretString, port: u16) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose_secret().as_bytes());
        let cookie = hex(hmac::sign(&key, format!("gpu-worker dashboard cookie {port}").as_bytes()).as_ref());
        Self {
            token: hmac::sign(&key, token.expose_secret().as_bytes()),
            key,
            cookie_name: format!("gpu_worker_{port}"),
            cookie,
            launches: Mutex::default(),
        }
    }

    fn launches(&self) -> MutexGuard<'_, Vec<(hmac::Tag, Instant)>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What these headers show.
    pub(super) fn shown(&self, headers: &HeaderMap) -> Shown {
        if headers.contains_key(header::AUTHORIZATION) {
            return if self.has_token(headers) { Shown::Token } else { Shown::Wrong };
        }
        let all = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let mut own = all.filter_map(|pair| {
            let pair = pair.trim_ascii();
            pair.strip_prefix(self.cookie_name.as_bytes())?.strip_prefix(b"=")
        });
        match (own.next(), own.next()) {
            (None, _) => Shown::Nothing,
            (Some(value), None) if self.is_same(value, self.cookie.as_bytes()) => Shown::Cookie,
            // Of two, one was put there by somebody else.
            _ => Shown::Wrong,
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        match value.as_bytes().split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
                hmac::verify(&self.key, token, self.token.as_ref()).is_ok()
            }
            _ => false,
        }
    }

    /// In the same time wherever the first difference stands.
    fn is_same(&self, given: &[u8], expected: &[u8]) -> bool {
        hmac::verify(&self.key, given, hmac::sign(&self.key, expected).as_ref()).is_ok()
    }

    /// The header that gives a browser the cookie. `is_secure`: it came by https.
    pub(super) fn set_cookie(&self, is_secure: bool) -> String {
        let (name, value, lasts) = (&self.cookie_name, &self.cookie, COOKIE_LASTS.as_secs());
        let secure = if is_secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Makes the code of a launch link.
    pub(super) fn launch(&self, now: Instant) -> String {
        let code = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut launches = self.launches();
        launches.retain(|(_, until)| *until > now);
        if launches.len() >= LAUNCHES_MAX {
            launches.remove(0);
        }
        launches.push((hmac::sign(&self.key, code.as_bytes()), now + LAUNCH_LASTS));
        code
    }

    /// Uses a launch link up; true if it was good.
    pub(super) fn use_launch(&self, code: &str, now: Instant) -> bool {
        let mut launches = self.launches();
        launches.retain(|(_, until)| *until > now);
        let found = launches.iter().position(|(tag, _)| hmac::verify(&self.key, code.as_bytes(), tag.as_ref()).is_ok());
        found.map(|at| launches.remove(at)).is_some()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_link_is_good_once_and_not_for_long() {
        let access = Access::new(&"0123456789abcdef".to_owned().into(), 1511);
        let now = Instant::now();
        let (used, late) = (access.launch(now), access.launch(now));
        assert!(!access.use_launch("", now) && !access.use_launch(&used[1..], now));
        assert!(access.use_launch(&used, now));
        assert!(!access.use_launch(&used, now), "used up");
        assert!(!access.use_launch(&late, now + LAUNCH_LASTS), "too late");
        let first = access.launch(now);
        let others: Vec<_> = (0..LAUNCHES_MAX).map(|_| access.launch(now)).collect();
        assert!(!access.use_launch(&first, now), "the oldest makes room");
        assert!(others.iter().all(|code| access.use_launch(code, now)));
    }

    #[test]
    fn a_cookie_of_another_port_or_token_does_not_open_and_none_holds_the_token() {
        let of = |token: &str, port| Access::new(&token.to_owned().into(), port);
        let pair = |access: &Access| access.set_cookie(false).split(';').next().unwrap_or_default().to_owned();
        let (mine, token) = (of("0123456789abcdef", 1511), "0123456789abcdef");
        let shows = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().expect("a header"));
            mine.shown(&headers)
        };
        assert_eq!(shows(&pair(&mine)), Shown::Cookie);
        assert_eq!(shows(&format!("a=b;{}; c=d", pair(&mine))), Shown::Cookie);
        assert_eq!(shows(&pair(&of(token, 1512))), Shown::Nothing);
        let value_of_another_port = pair(&of(token, 1512)).replace("_1512", "_1511");
        assert_eq!(shows(&value_of_another_port), Shown::Wrong);
        assert_eq!(shows(&pair(&of("fedcba9876543210", 1511))), Shown::Wrong);
        assert_eq!(shows(&format!("{0}; {0}", pair(&mine))), Shown::Wrong, "twice");
        assert_eq!(shows(&format!("gpu_worker_1511={token}")), Shown::Wrong);
        assert!(!mine.set_cookie(false).contains(token));
        assert!(mine.set_cookie(true).ends_with("; Secure"));
    }
}
