//! What kind of file it is: told by its first bytes, else by the engine, else by its name.
//! In: the first bytes, the engine's claim, the name. Out: a media type.

/// First bytes that are enough for every signature that is looked for.
pub const HEAD: usize = 4096;

/// The media type of an output.
pub fn of(head: &[u8], claimed: Option<&str>, name: &str) -> String {
    if let Some(kind) = infer::get(head) {
        return kind.mime_type().to_owned();
    }
    let claimed = claimed.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if let Some(claim) = claimed.filter(|claim| is_plausible(claim)) {
        return claim;
    }
    by_extension(name).to_owned()
}

fn is_plausible(claim: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part.len() <= 80
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    claim != "application/octet-stream" && claim.split_once('/').is_some_and(|(a, b)| token(a) && token(b))
}

fn by_extension(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "txt" | "log" => "text/plain",
        "json" => "application/json",
        "csv" => "text/csv",
        "svg" => "image/svg+xml",
        "glb" => "model/gltf-binary",
        "gltf" => "model/gltf+json",
        "obj" => "model/obj",
        "stl" => "model/stl",
        "srt" => "application/x-subrip",
        "safetensors" | "latent" => "application/x-safetensors",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn bytes_before_claims_before_names() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(of(png, Some("image/jpeg"), "x.jpg"), "image/png");
        assert_eq!(of(b"hello", Some("text/plain; charset=utf-8"), "x.bin"), "text/plain");
        assert_eq!(of(b"hello", Some("not a type"), "x.json"), "application/json");
        assert_eq!(of(b"hello", Some("application/octet-stream"), "x.glb"), "model/gltf-binary");
        assert_eq!(of(b"", None, "x"), "application/octet-stream");
    }
}
