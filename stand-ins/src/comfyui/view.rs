//! `GET /view`: files out of the three folders.
//! In: name, subfolder, type, range. Out: the bytes, whole, in part or re-encoded, or the recorded refusal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::folders;
use super::messages::ANIMATION_WEBP;
use super::picture;
use super::server::Server;

pub(crate) async fn view(
    State(server): State<Arc<Server>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let of = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let name = of("filename");
    if name.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    if name.starts_with('/') || name.contains("..") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let is_missing = {
        let misses = &mut server.quirks().missing_views;
        std::mem::replace(misses, misses.saturating_sub(1)) > 0
    };
    if is_missing {
        return StatusCode::NOT_FOUND.into_response();
    }
    let kind = query.get("type").map_or("output", String::as_str);
    let Some(root) = server.folders.of(kind) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(folder) = folders::inside(&root, of("subfolder")) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    // Only the last part of a name counts, as on the real server.
    let path = folder.join(name.rsplit('/').next().unwrap_or(name));
    let (Ok(bytes), Ok(metadata)) = (tokio::fs::read(&path).await, tokio::fs::metadata(&path).await) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let disposition = (
        header::CONTENT_DISPOSITION,
        format!("filename=\"{}\"", path.file_name().unwrap_or_default().to_string_lossy()),
    );
    if query.contains_key("preview") {
        return ([(header::CONTENT_TYPE, "image/webp".to_owned()), disposition], ANIMATION_WEBP).into_response();
    }
    if query.get("channel").is_some_and(|channel| channel != "rgba") {
        return ([(header::CONTENT_TYPE, "image/png".to_owned()), disposition], picture::without_texts(&bytes))
            .into_response();
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let etag = format!("\"{:x}-{:x}\"", modified.as_nanos(), bytes.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let common = [
        (header::CONTENT_TYPE, media_type(name).to_owned()),
        disposition,
        (header::ETAG, etag),
        (header::LAST_MODIFIED, http_date(modified.as_secs())),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let total = bytes.len();
    match headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(|range| span(range, total)) {
        None => (common, bytes).into_response(),
        Some(Some((from, to))) => {
            let content_range = [(header::CONTENT_RANGE, format!("bytes {from}-{to}/{total}"))];
            (StatusCode::PARTIAL_CONTENT, common, content_range, bytes[from..=to].to_vec()).into_response()
        }
        Some(None) => {
            (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{total}"))], Body::empty())
                .into_response()
        }
    }
}

/// First and last byte of `bytes=a-b`, `bytes=a-` or `bytes=-n`.
fn span(range: &str, total: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = total.checked_sub(1)?;
    let (from, to) = match (from.parse::<usize>().ok(), to.parse::<usize>().ok()) {
        (Some(from), to) => (from, to.unwrap_or(last).min(last)),
        (None, Some(count)) => (total.saturating_sub(count), last),
        (None, None) => return None,
    };
    (from <= to).then_some((from, to))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "webm" => "video/webm",
        "mp4" => "video/mp4",
        "flac" => "audio/flac",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Seconds since 1970 as in `Sun, 22 Nov 2026 05:45:30 GMT`, by the usual count of days in eras of 400 years.
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ranges() {
        assert_eq!(http_date(1_795_326_330), "Sun, 22 Nov 2026 05:45:30 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(span("bytes=0-99", 587), Some((0, 99)));
        assert_eq!(span("bytes=-7", 587), Some((580, 586)));
        assert_eq!(span("bytes=600-", 587), None);
    }
}
