//! The lists that do not change: samplers, schedulers, scripts, defaults of requests.
//! In: `lists.json`, from recordings, completed where they were cut. Out: JSON by name.

use serde_json::{Map, Value};
use std::sync::LazyLock;

static LISTS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("lists.json")).unwrap_or_default());

pub(crate) fn list(name: &str) -> &'static Value {
    &LISTS[name]
}

pub(crate) fn object(name: &str) -> Map<String, Value> {
    LISTS[name].as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_as_long_as_the_recorded_ones() {
        let lengths = [("samplers", 20), ("schedulers", 12), ("upscalers", 13), ("latent-upscale-modes", 6)];
        for (name, length) in lengths {
            assert_eq!(list(name).as_array().map(Vec::len), Some(length), "{name}");
        }
        assert!(object("txt2img").len() > 50 && object("options").contains_key("eta_noise_seed_delta"));
    }
}
