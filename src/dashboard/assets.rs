//! The page and what it is made of: the files of `assets/`, in the binary.
//! In: an exact path, what the browser has already and can unpack. Out: the file, packed where that is taken; nothing where it is had.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::OnceLock;

/// Everything from this server, nothing inline, and no text of a job can become markup: the page has no sink for any.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A path and what is there.
struct Asset {
    path: &'static str,
    media_type: &'static str,
    body: &'static [u8],
}

macro_rules! assets {
    ($($path:literal $name:literal $media_type:literal,)*) => {
        &[$(Asset { path: $path, media_type: $media_type, body: include_bytes!(concat!("assets/", $name)) },)*]
    };
}

const ASSETS: &[Asset] = assets! {
    "/" "index.html" "text/html; charset=utf-8",
    "/assets/base.css" "base.css" "text/css; charset=utf-8",
    "/assets/panels.css" "panels.css" "text/css; charset=utf-8",
    "/assets/icon.svg" "icon.svg" "image/svg+xml",
    // Where browsers look for one whatever the page says, or where there is no page, as with /api/snapshot.
    "/favicon.ico" "icon.svg" "image/svg+xml",
    "/assets/chart.js" "chart.js" "text/javascript; charset=utf-8",
    "/assets/concerns.js" "concerns.js" "text/javascript; charset=utf-8",
    "/assets/controls.js" "controls.js" "text/javascript; charset=utf-8",
    "/assets/dom.js" "dom.js" "text/javascript; charset=utf-8",
    "/assets/gpus.js" "gpus.js" "text/javascript; charset=utf-8",
    "/assets/history.js" "history.js" "text/javascript; charset=utf-8",
    "/assets/inside.js" "inside.js" "text/javascript; charset=utf-8",
    "/assets/keys.js" "keys.js" "text/javascript; charset=utf-8",
    "/assets/live.js" "live.js" "text/javascript; charset=utf-8",
    "/assets/log.js" "log.js" "text/javascript; charset=utf-8",
    "/assets/main.js" "main.js" "text/javascript; charset=utf-8",
    "/assets/parts.js" "parts.js" "text/javascript; charset=utf-8",
    "/assets/queue.js" "queue.js" "text/javascript; charset=utf-8",
    "/assets/slots.js" "slots.js" "text/javascript; charset=utf-8",
    "/assets/store.js" "store.js" "text/javascript; charset=utf-8",
    "/assets/summary.js" "summary.js" "text/javascript; charset=utf-8",
    "/assets/theme.js" "theme.js" "text/javascript; charset=utf-8",
    "/assets/words.js" "words.js" "text/javascript; charset=utf-8",
};

/// What an answer is made of, worked out once, when the page is asked for the first time.
struct Packed {
    gzip: Vec<u8>,
    etag: HeaderValue,
}

/// `/`, `/assets/NAME` and the icon, nothing else.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    static PACKED: [OnceLock<Packed>; ASSETS.len()] = [const { OnceLock::new() }; ASSETS.len()];
    ASSETS.iter().zip(&PACKED).fold(Router::new(), |router, (asset, packed)| {
        router
            .route(asset.path, get(async |asked: HeaderMap| asset.answer(packed.get_or_init(|| asset.pack()), &asked)))
    })
}

impl Asset {
    fn pack(&self) -> Packed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; an empty one would be sent as it is, unpacked.
        let gzip = encoder.write_all(self.body).and_then(|()| encoder.finish()).unwrap_or_default();
        let sum: String = Sha256::digest(self.body).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        // Weak: it stands for the packed and for the plain form.
        let etag = HeaderValue::from_str(&format!("W/\"{sum}\"")).unwrap_or(HeaderValue::from_static("W/\"\""));
        Packed { gzip, etag }
    }

    fn answer(&self, packed: &Packed, asked: &HeaderMap) -> Response {
        let has = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| value == packed.etag);
        let takes_gzip = !packed.gzip.is_empty() && takes_gzip(asked);
        let mut response = match (has, takes_gzip) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, true) => ([(header::CONTENT_ENCODING, "gzip")], packed.gzip.clone()).into_response(),
            (false, false) => self.body.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::ETAG, packed.etag.clone());
        response
    }
}

/// Whether `Accept-Encoding` names gzip, and not to forbid it.
pub(super) fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = |part: &str| {
        let mut words = part.split(';').map(str::trim);
        let is_gzip = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let forbidden = words
            .filter_map(|word| word.strip_prefix("q="))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        is_gzip && !forbidden
    };
    asked
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(named))
}

#[cfg(test)]
mod tests {
    use super::{ASSETS, HeaderMap, HeaderValue, POLICY, header, takes_gzip};
    use std::collections::BTreeSet;

    fn text(path: &str) -> &'static str {
        let asset = ASSETS.iter().find(|asset| asset.path == path).expect(path);
        std::str::from_utf8(asset.body).expect("text")
    }

    /// What stands between `before` and the next quotation mark, wherever `before` stands.
    fn quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_every_file_that_is_named_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/assets");
        let mut there: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .map(|name| if name == "index.html" { "/".to_owned() } else { format!("/assets/{name}") })
            .collect();
        there.insert("/favicon.ico".to_owned());
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(there, served);
        let mut named = BTreeSet::new();
        let page = text("/");
        named.extend(quoted(page, "src=\"").into_iter().map(str::to_owned));
        named.extend(quoted(page, "<link rel=\"stylesheet\" href=\"").into_iter().map(str::to_owned));
        named.extend(quoted(page, "<link rel=\"icon\" href=\"").into_iter().map(str::to_owned));
        let preloaded: BTreeSet<&str> = quoted(page, "<link rel=\"modulepreload\" href=\"").into_iter().collect();
        for path in served.iter().filter(|path| path.ends_with(".js")) {
            for module in quoted(text(path), "\"./") {
                let module = format!("/assets/{module}");
                assert!(preloaded.contains(module.as_str()), "{module} is imported by {path} and not preloaded");
                named.insert(module);
            }
        }
        named.extend(["/", "/favicon.ico"].map(str::to_owned));
        assert_eq!(named, served);
    }

    #[test]
    fn nothing_in_the_page_is_inline_or_from_elsewhere_or_makes_markup_of_text() {
        let page = text("/");
        for forbidden in [" style=\"", "<style", " onclick=", " onload=", "javascript:", "//cdn", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden} in the page");
        }
        for asset in ASSETS {
            let text = text(asset.path);
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "@import"]
            {
                assert!(!text.contains(forbidden), "{forbidden} in {}", asset.path);
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "").contains("http://");
            assert!(!elsewhere && !text.contains("https://"), "another site is named in {}", asset.path);
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn all_that_a_browser_fetches_for_the_page_is_below_45_kb_packed() {
        let packed: usize = ASSETS.iter().map(|asset| asset.pack().gzip.len()).sum();
        assert!(packed > 10_000 && packed < 45_000, "{packed} bytes packed");
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let cases = [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, identity", false),
            ("br, zstd", false),
            ("", false),
        ];
        for (value, takes) in cases {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&asked), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
