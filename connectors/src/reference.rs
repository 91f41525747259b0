//! How jobs name inputs: as URLs, as base64, as outputs of earlier jobs.
//! In: a value of a payload. Out: the source that an [`InputSource`](crate::contract::InputSource) takes, or nothing.

use serde_json::Value;

/// Whether a text is surely a source: no file name, prompt or base64 looks like one.
pub(crate) fn is_one(text: &str) -> bool {
    is_address(text) || has_scheme(text, "data:") || is_output(text)
}

/// Whether a server that was given this text might ask somebody else for it.
pub(crate) fn is_address(text: &str) -> bool {
    has_scheme(text, "http:") || has_scheme(text, "https:")
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.trim_start().get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// `output:JOB/NAME`, strictly: a prompt may well begin with "output:".
fn is_output(text: &str) -> bool {
    let Some((job, name)) = text.strip_prefix("output:").and_then(|rest| rest.split_once('/')) else { return false };
    let is_id = (1..=128).contains(&job.len()) && job.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_id && !name.is_empty()
}

/// A source in any of its forms: a text, or an object with one of `url`, `base64` and `output`.
pub(crate) fn source(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        return is_one(text).then(|| text.clone());
    }
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let (form, text) = fields.iter().next().and_then(|(form, text)| Some((form.as_str(), text.as_str()?)))?;
    match form {
        "url" => is_one(text).then(|| text.to_owned()),
        "base64" if has_scheme(text, "data:") => Some(text.to_owned()),
        "base64" => (!text.is_empty()).then(|| format!("data:;base64,{text}")),
        "output" if is_output(text) => Some(text.to_owned()),
        "output" => Some(format!("output:{text}")).filter(|text| is_output(text)),
        _ => None,
    }
}

/// Media types, and how files of theirs are called. Loaders go by it.
const EXTENSIONS: &[(&str, &str)] = &[
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tif"),
    ("image/avif", "avif"),
    ("image/heif", "heic"),
    ("audio/mpeg", "mp3"),
    ("audio/x-wav", "wav"),
    ("audio/x-flac", "flac"),
    ("audio/ogg", "ogg"),
    ("audio/m4a", "m4a"),
    ("audio/aac", "aac"),
    ("audio/x-aiff", "aiff"),
    ("video/mp4", "mp4"),
    ("video/x-m4v", "m4v"),
    ("video/webm", "webm"),
    ("video/x-matroska", "mkv"),
    ("video/quicktime", "mov"),
    ("video/x-msvideo", "avi"),
    ("video/mpeg", "mpg"),
    ("text/plain", "txt"),
    ("application/json", "json"),
];

/// Kinds that have no signature: taken from the source's own name.
const BY_NAME: &[&str] =
    &["latent", "safetensors", "glb", "gltf", "obj", "stl", "ply", "fbx", "srt", "csv", "exr", "hdr"];

/// The end of a file name, without the dot.
pub(crate) fn extension(media_type: &str, source: &str) -> &'static str {
    if let Some((_, extension)) = EXTENSIONS.iter().find(|(known, _)| *known == media_type) {
        return extension;
    }
    let path = if has_scheme(source, "data:") { "" } else { source.split(['?', '#']).next().unwrap_or_default() };
    let end = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end);
    BY_NAME.iter().copied().find(|known| known.eq_ignore_ascii_case(end)).unwrap_or("bin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sources_in_all_their_forms_and_what_is_none() {
        for (value, expected) in [
            (json!("https://host/a.png"), "https://host/a.png"),
            (json!(" HTTP:host/a.png"), " HTTP:host/a.png"),
            (json!("data:image/png;base64,aGk="), "data:image/png;base64,aGk="),
            (json!("output:job-1/a.png"), "output:job-1/a.png"),
            (json!({"url": "https://host/a.png"}), "https://host/a.png"),
            (json!({"base64": "aGk="}), "data:;base64,aGk="),
            (json!({"base64": "data:image/png;base64,aGk="}), "data:image/png;base64,aGk="),
            (json!({"output": "job-1/a.png"}), "output:job-1/a.png"),
            (json!({"output": "output:job-1/a.png"}), "output:job-1/a.png"),
        ] {
            assert_eq!(source(&value).as_deref(), Some(expected), "{value}");
        }
        for value in [
            json!("a.png"),
            json!("file:///etc/passwd"),
            json!("output: a fox"),
            json!("output:fox"),
            json!("output:a fox/b"),
            json!(7),
            json!(null),
            json!({}),
            json!({"url": 7}),
            json!({"url": "a.png"}),
            json!({"base64": ""}),
            json!({"output": "a.png"}),
            json!({"path": "/etc/passwd"}),
            json!({"url": "https://host/", "base64": "aGk="}),
        ] {
            assert_eq!(source(&value), None, "{value}");
        }
    }

    #[test]
    fn file_names_end_as_their_kind_does_and_by_the_source_only_where_that_is_harmless() {
        assert_eq!(extension("image/jpeg", "https://host/a.exe"), "jpg");
        assert_eq!(extension("application/octet-stream", "https://host/a.LATENT?x=.png"), "latent");
        assert_eq!(extension("application/octet-stream", "https://host/a.py"), "bin");
        assert_eq!(extension("application/octet-stream", "data:a/b;x.latent,aa"), "bin");
        assert_eq!(extension("application/octet-stream", "https://host.glb"), "glb");
    }
}
