//! Where the pictures of a job may stand.
//! In: a payload. Out: addresses, `data:` URLs and base64, in order.

use serde_json::Value;

/// Of the pictures themselves.
pub(super) const IMAGES: &[&str] =
    &["image", "images", "image_url", "image_urls", "input_image", "input_images", "init_images"];
/// Of the mask.
pub(super) const MASKS: &[&str] = &["mask", "mask_url", "mask_image"];

/// Texts under these names, alone or in lists, or as `{url}`.
pub(super) fn sources(payload: &Value, names: &[&str]) -> Vec<String> {
    fn each(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) if !text.is_empty() => into.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| each(item, into)),
            Value::Object(members) => {
                ["url", "image_url"].iter().filter_map(|name| members.get(*name)).for_each(|inner| each(inner, into));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    names.iter().filter_map(|name| payload.get(*name)).for_each(|value| each(value, &mut found));
    found
}
