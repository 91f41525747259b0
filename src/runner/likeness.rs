//! Which jobs are alike, so that one tells how long the other takes.
//! In: a service and a payload. Out: a number that is the same for jobs of the same workflow, models and sizes; nothing is kept.
//!
//! What counts: the shape of the payload, its numbers (steps, sizes, counts) and what its classes, models and samplers are called.
//! What does not: seeds, and all other texts (prompts, file names).

use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The same for jobs that are alike.
pub(super) fn of(service: &str, payload: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    service.hash(&mut hasher);
    add(&mut hasher, "", payload);
    hasher.finish()
}

fn add(hasher: &mut DefaultHasher, name: &str, value: &Value) {
    match value {
        _ if name.contains("seed") => {}
        Value::Object(members) => {
            for (name, value) in members {
                name.hash(hasher);
                add(hasher, name, value);
            }
        }
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| add(hasher, name, item));
        }
        Value::String(text) if names_work(name) => text.hash(hasher),
        Value::Number(number) => number.to_string().hash(hasher),
        Value::Bool(is) => is.hash(hasher),
        Value::String(_) | Value::Null => {}
    }
}

/// Fields whose text decides what is done.
fn names_work(field: &str) -> bool {
    matches!(field, "class_type" | "model" | "scheduler" | "sampler") || field.ends_with("_name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_models_tell_jobs_apart_and_prompts_and_seeds_do_not() {
        let payload = |steps: u64, model: &str, prompt: &str, seed: u64| {
            json!({"workflow": {
                "1": {"class_type": "KSampler", "inputs": {"steps": steps, "noise_seed": seed, "model": ["2", 0]}},
                "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}},
                "3": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "filename_prefix": prompt}},
            }})
        };
        let like = of("comfyui", &payload(20, "a", "fox", 1));
        assert_eq!(like, of("comfyui", &payload(20, "a", "another fox", 2)));
        assert_ne!(like, of("comfyui", &payload(200, "a", "fox", 1)));
        assert_ne!(like, of("comfyui", &payload(20, "b", "fox", 1)));
        assert_ne!(like, of("upscaling", &payload(20, "a", "fox", 1)));
    }
}
