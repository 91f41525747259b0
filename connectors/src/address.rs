//! The address of an engine, as its operator gives it.
//! In: a text. Out: a URL without credentials, query and fragment; what is wrong is said without repeating it.

use crate::failure::{Failure, Reason};
use url::Url;

/// `of`: how the address is spoken of; `example`: one that would do.
///
/// # Errors
/// `system_error/config_error` if it cannot be used.
pub(crate) fn checked(address: &str, of: &str, example: &str) -> Result<Url, Failure> {
    // It may hold a password.
    let wrong = |why: &str| Failure::of_host(Reason::ConfigError, format!("{of} {why}; give one such as {example}"));
    let mut url = Url::parse(address).map_err(|_| wrong("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds credentials, which are given beside it"));
    }
    // What people copy out of a browser may end with `?__theme=dark`.
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}
