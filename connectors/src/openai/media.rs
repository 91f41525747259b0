//! Pictures that come in and go out: base64, `data:` URLs, files behind addresses.
//! In: what a job or an answer names. Out: bytes for the server, or outputs in the store.

use super::http::{Http, JobKey, LARGE};
use crate::contract::{RunContext, StoredOutput};
use crate::failure::{Failure, Reason};
use crate::http::{Trouble, whole};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// The largest picture that is read into memory to be sent on: the service takes 50 MB.
const INPUT_MAX: u64 = 50 << 20;
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes behind base64, with or without a `data:` prefix.
pub(super) fn decoded(text: &str) -> Option<Bytes> {
    let body = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(',').filter(|(head, _)| head.ends_with(";base64"))?.1,
        None => text,
    };
    let clean: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    LENIENT.decode(clean).ok().filter(|bytes| !bytes.is_empty()).map(Bytes::from)
}

/// A picture that a job names.
pub(super) async fn input(ctx: &RunContext, source: &str) -> Result<Bytes, Failure> {
    if source.starts_with("data:") || !source.contains(':') {
        let what = "a picture in the job is neither an address nor base64";
        return decoded(source).ok_or_else(|| Failure::new(Reason::InvalidFormat, what));
    }
    let file = ctx.inputs.fetch(source).await?;
    if file.bytes() > INPUT_MAX {
        let what = format!("a picture of the job has {} bytes, more than the {INPUT_MAX} that are sent", file.bytes());
        return Err(Failure::new(Reason::InvalidPayload, what));
    }
    let read = tokio::fs::read(file.path()).await;
    read.map(Bytes::from).map_err(|_| Failure::of_host(Reason::InternalError, "a fetched picture cannot be read"))
}

/// Replaces `output:…` addresses in messages by the pictures themselves: no server can fetch them. Only where an address is
/// expected: a text may begin with the same word.
pub(super) async fn inline(ctx: &RunContext, body: &mut Value) -> Result<(), Failure> {
    let mut open = vec![body];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter_mut()),
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if is_address(name) && text.starts_with("output:") => {
                            let bytes = input(ctx, text).await?;
                            let media_type =
                                kind(&bytes).map_or("application/octet-stream", |(_, media_type)| media_type);
                            *text = format!("data:{media_type};base64,{}", LENIENT.encode(&bytes));
                        }
                        value => open.push(value),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_address(name: &str) -> bool {
    matches!(name, "url" | "image_url")
}

/// Ending and media type by the first bytes.
pub(super) fn kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some(("png", "image/png")),
        [0xff, 0xd8, 0xff, ..] => Some(("jpg", "image/jpeg")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(("webp", "image/webp")),
        [b'G', b'I', b'F', b'8', ..] => Some(("gif", "image/gif")),
        _ => None,
    }
}

/// Stores bytes under a name that ends by what they are.
pub(super) async fn store(ctx: &RunContext, number: usize, bytes: Bytes) -> Result<StoredOutput, Failure> {
    let (ending, media_type) = kind(&bytes).unzip();
    let name = format!("image-{number}.{}", ending.unwrap_or("bin"));
    file(ctx, &name, "images", media_type, bytes).await
}

/// Stores one file.
pub(super) async fn file(
    ctx: &RunContext,
    name: &str,
    kind: &str,
    media_type: Option<&str>,
    bytes: Bytes,
) -> Result<StoredOutput, Failure> {
    let mut writer = ctx.outputs.create(name, kind, media_type).await?;
    writer.write(bytes).await?;
    writer.finish().await
}

/// Stores a picture that an answer names by its address. The server's own files are asked for there; all others are
/// fetched as inputs are, so that an answer cannot lead into this network.
pub(super) async fn fetched(
    http: &Http,
    key: &JobKey,
    ctx: &RunContext,
    number: usize,
    address: &str,
    limit: Duration,
) -> Result<StoredOutput, Failure> {
    let own = Url::parse(address).ok().filter(|url| http.is_own(url));
    let Some(url) = own else {
        let file = ctx.inputs.fetch(address).await?;
        if file.bytes() > LARGE as u64 {
            return Err(Failure::new(Reason::InvalidResponseFormat, "the picture behind an address is too large"));
        }
        let bytes = tokio::fs::read(file.path()).await;
        let bytes = bytes.map_err(|_| Failure::of_host(Reason::InternalError, "a fetched picture cannot be read"))?;
        return store(ctx, number, bytes.into()).await;
    };
    let fetching = async {
        let response = http.file(url, key).send().await?;
        match response.status().as_u16() {
            200..=299 => whole(response, LARGE).await,
            _ => Err(Trouble::Nonsense),
        }
    };
    let answer = timeout(limit, fetching).await.unwrap_or(Err(Trouble::Silent));
    let answer = answer.map_err(|trouble| super::http::failure(&trouble, "fetching a picture"))?;
    store(ctx, number, answer.body).await
}
