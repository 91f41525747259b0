//! Requests that other sites' pages can have a browser send, and tricks that make one request look like another.
//! In: the head of a request. Out: passed, or refused with a sentence.

use super::guard::{Refusal, refusal};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};

/// Some servers take the method from these.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// The same for every method: no body, no other protocol, no other method than the one in front.
pub(super) fn check_form(request: &Parts) -> Result<(), Refusal> {
    let (headers, is_order) = (&request.headers, request.method == Method::POST);
    if OVERRIDES.iter().any(|name| headers.contains_key(*name)) {
        return Err(refusal(StatusCode::BAD_REQUEST, "the method is the one in the first line, whatever headers say"));
    }
    if headers.contains_key(header::UPGRADE) || headers.contains_key("http2-settings") {
        return Err(refusal(StatusCode::BAD_REQUEST, "nothing but HTTP/1.1 is spoken here"));
    }
    let query = request.uri.query().unwrap_or_default();
    if is_order && request.uri.query().is_some() {
        return Err(refusal(StatusCode::BAD_REQUEST, "an order has no query; a token belongs into Authorization"));
    }
    if query.split('&').any(|pair| pair.split('=').next() == Some("_method")) {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "the method is the one in the first line, whatever the query says",
        ));
    }
    let is_empty = headers.get_all(header::CONTENT_LENGTH).iter().all(|length| length == "0");
    if !is_empty || headers.contains_key(header::TRANSFER_ENCODING) {
        let why =
            if is_order { "an order has no body: all of it is in its path" } else { "a request to read has no body" };
        return Err(refusal(StatusCode::BAD_REQUEST, why));
    }
    // The types that a form of another site can send without being asked first.
    let is_form = |kind: &axum::http::HeaderValue| kind != "application/json";
    if is_order && headers.get_all(header::CONTENT_TYPE).iter().any(is_form) {
        return Err(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "an order is no form; send no body and no type of one",
        ));
    }
    Ok(())
}

/// A browser fetches it ahead, for somebody who may never come.
pub(super) fn is_ahead(headers: &HeaderMap) -> bool {
    let says = |name: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.to_ascii_lowercase().contains("prefetch"))
    };
    ["sec-purpose", "purpose", "x-moz", "x-purpose"].into_iter().any(says)
}

/// What changes something comes from our own page, or from a program that is no browser. `needs_origin`: it brings a cookie,
/// so a browser sends it, and a browser says from where.
pub(super) fn check_origin(
    headers: &HeaderMap,
    host: &str,
    allows_https: bool,
    needs_origin: bool,
) -> Result<(), Refusal> {
    const FOREIGN: Refusal = refusal(StatusCode::FORBIDDEN, "orders are taken from this dashboard's own page alone");
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next(), sites.next()) {
        (None, _) => {}
        (Some(site), None) if site == "same-origin" => {}
        _ => return Err(FOREIGN),
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) if !needs_origin => Ok(()),
        (Some(origin), None) => {
            let origin = origin.to_str().unwrap_or_default();
            let own = match origin.split_once("://") {
                Some(("http", place)) => place == host,
                Some(("https", place)) => allows_https && place == host,
                _ => false,
            };
            if own { Ok(()) } else { Err(FOREIGN) }
        }
        _ => Err(FOREIGN),
    }
}
