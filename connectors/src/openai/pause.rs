//! How long a server asks us to wait.
//! In: the headers of a refusal. Out: a time, at most a day.
//!
//! Forms: `retry-after-ms`; `retry-after` in seconds or as a date (RFC 9110, held against the server's own `date`, so that
//! clocks need not agree); `x-ratelimit-reset-requests` and `-tokens` such as `6m0s`, `1.5s`, `120ms` or plain seconds
//! (platform.openai.com/docs/guides/rate-limits), of which those count whose `remaining` is 0. The service sends the last two
//! with every answer, so they say something only where it refuses for a limit.

use reqwest::header::HeaderMap;
use std::time::{Duration, SystemTime};

const LONGEST: Duration = Duration::from_secs(86_400);

pub(super) fn asked(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let ms =
        || Some(Duration::from_millis(text("retry-after-ms")?.parse::<f64>().ok().filter(|ms| *ms >= 0.0)? as u64));
    let after = || {
        let said = text("retry-after")?;
        let date = || {
            let until = httpdate::parse_http_date(said).ok()?;
            let now =
                text("date").and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
            Some(until.duration_since(now).unwrap_or_default())
        };
        seconds(said).or_else(date)
    };
    let reset = || {
        let of = |what: &str| {
            let reset = span(text(&format!("x-ratelimit-reset-{what}"))?)?;
            Some((text(&format!("x-ratelimit-remaining-{what}")).is_some_and(|left| left == "0"), reset))
        };
        let both: Vec<_> = ["requests", "tokens"].into_iter().filter_map(of).collect();
        let spent = both.iter().filter(|(spent, _)| *spent).map(|(_, reset)| *reset).max();
        spent.or_else(|| both.iter().map(|(_, reset)| *reset).max())
    };
    ms().or_else(after).or_else(|| reset().filter(|_| status == 429)).map(|pause| pause.min(LONGEST))
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = plain.then(|| text.parse().ok()).flatten()?;
    Some(Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())))
}

/// `1h2m3.5s`, `120ms`, or seconds alone.
fn span(text: &str) -> Option<Duration> {
    if let Some(plain) = seconds(text) {
        return Some(plain);
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let factor = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.saturating_add(Duration::from_secs_f64((number * factor).min(LONGEST.as_secs_f64())));
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'static str, &'static str)];

    #[test]
    fn every_form_of_a_pause_is_read() {
        let date = "Tue, 15 Nov 1994 08:12:31 GMT";
        let rows: &[(Headers<'_>, Option<f64>)] = &[
            (&[], None),
            (&[("retry-after", "20")], Some(20.0)),
            (&[("retry-after", "0.5")], Some(0.5)),
            (&[("retry-after", "Tue, 15 Nov 1994 08:13:01 GMT"), ("date", date)], Some(30.0)),
            (&[("retry-after", "Tue, 15 Nov 1994 08:00:00 GMT"), ("date", date)], Some(0.0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "99999999999999999999")], Some(86_400.0)),
            (&[("retry-after-ms", "1500"), ("retry-after", "2")], Some(1.5)),
            (&[("x-ratelimit-reset-requests", "1s")], Some(1.0)),
            (&[("x-ratelimit-reset-tokens", "6m0s")], Some(360.0)),
            (&[("x-ratelimit-reset-tokens", "120ms")], Some(0.12)),
            (&[("x-ratelimit-reset-tokens", "1h2m3.5s")], Some(3723.5)),
            (&[("x-ratelimit-reset-requests", "59.7")], Some(59.7)),
            (&[("x-ratelimit-reset-requests", "8 s")], None),
            (
                &[
                    ("x-ratelimit-reset-requests", "9s"),
                    ("x-ratelimit-remaining-requests", "5"),
                    ("x-ratelimit-reset-tokens", "2s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                ],
                Some(2.0),
            ),
        ];
        for (headers, expected) in rows {
            let map: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(asked(429, &map).map(|pause| pause.as_secs_f64()), *expected, "{headers:?}");
            let said_so = headers.iter().any(|(name, _)| name.starts_with("retry-after"));
            assert_eq!(asked(500, &map).is_some(), said_so && expected.is_some(), "{headers:?}");
        }
    }
}
