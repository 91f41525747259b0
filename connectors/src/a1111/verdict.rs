//! What the server says it made, held against what was asked: an answer of 200 proves nothing.
//! In: `info` of the answer, the head of each picture. Out: the facts for the result, or how it differs.

use super::checkpoint::Checkpoint;
use super::payload::{Plan, short};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};

/// Infotexts of one result, in bytes.
const INFOTEXTS_MAX: usize = 8 << 10;
const SEEDS_MAX: usize = 100;

/// `info`, read.
#[derive(Debug, Clone, Default)]
pub(super) struct Info(Value);

impl Info {
    /// It is JSON in a text.
    pub fn read(field: Option<&Value>) -> Option<Self> {
        let text = field?.as_str()?;
        serde_json::from_str(text).ok().filter(Value::is_object).map(Self)
    }

    /// How many grids stand before the pictures. What a script puts there is what it was run for.
    pub fn grids(&self, plan: &Plan) -> usize {
        if plan.runs_script { 0 } else { self.0["index_of_first_image"].as_u64().unwrap_or(0) as usize }
    }

    /// When the run began, as the global state says it, too.
    pub fn stamp(&self) -> &str {
        self.text("job_timestamp")
    }

    pub fn version(&self) -> Option<&str> {
        Some(self.text("version")).filter(|version| !version.is_empty())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Whether it is what was asked for. What a fork does not tell is not held against it.
    pub fn check(&self, plan: &Plan, checkpoint: Option<&Checkpoint>) -> Result<(), Failure> {
        if let Some(wanted) = checkpoint.filter(|_| !plan.varies_checkpoint) {
            let (name, hash) = (self.text("sd_model_name"), self.text("sd_model_hash"));
            // Without the folder that it lies in; the hash tells files of one name apart.
            let other_name = !name.is_empty() && !wanted.is(name) && !wanted.is_file(name);
            let other_hash = !hash.is_empty() && wanted.hash.as_deref().is_some_and(|known| known != hash);
            if other_name || other_hash {
                let what =
                    format!("the server used the checkpoint `{}` in place of `{}`", short(name), wanted.bare_title());
                return Err(Failure::of_host(Reason::DependencyError, what));
            }
        }
        // What a script runs is its own business, and `info` is that of one run of several.
        if plan.runs_script {
            return Ok(());
        }
        let wanted = plan.body.get("sampler_name").and_then(Value::as_str).unwrap_or_default();
        let used = self.text("sampler_name");
        if !wanted.is_empty() && !used.is_empty() && wanted != used {
            let what = format!("the server used the sampler `{}` in place of `{}`", short(used), short(wanted));
            return Err(Failure::of_host(Reason::DependencyError, what));
        }
        let wanted = plan.body.get("seed").and_then(Value::as_i64).filter(|seed| *seed >= 0);
        let used = self.0["seed"].as_i64();
        if let (Some(wanted), Some(used)) = (wanted, used)
            && wanted != used
        {
            let what = format!("the server used the seed {used} in place of {wanted}");
            return Err(Failure::of_host(Reason::DependencyError, what));
        }
        Ok(())
    }

    /// What the result says of it; `grids` were thrown away.
    pub fn facts(&self, task: &str, grids: usize) -> Value {
        let mut left = INFOTEXTS_MAX;
        // The grids' come first, as their pictures do.
        let texts = self.0["infotexts"].as_array().into_iter().flatten().skip(grids).filter_map(Value::as_str);
        let texts: Vec<&str> = texts
            .take_while(|text| {
                let fits = text.len() <= left;
                left = left.saturating_sub(text.len());
                fits
            })
            .collect();
        let seeds =
            |name: &str| -> Vec<&Value> { self.0[name].as_array().into_iter().flatten().take(SEEDS_MAX).collect() };
        json!({
            "task_id": task,
            "seeds": seeds("all_seeds"),
            "subseeds": seeds("all_subseeds"),
            "infotexts": texts,
            "model": self.0["sd_model_name"],
            "model_hash": self.0["sd_model_hash"],
            "sampler": self.0["sampler_name"],
            "version": self.0["version"],
        })
    }
}

/// Width and height in the head of a PNG, the one format that tells them at a fixed place.
pub(super) fn png_size(head: &[u8]) -> Option<(u64, u64)> {
    let side = |at: usize| Some(u64::from(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?)));
    head.starts_with(b"\x89PNG\r\n\x1a\n").then(|| Some((side(16)?, side(20)?)))?
}

/// The ending that the first bytes stand for.
pub(super) fn ending(head: &[u8]) -> Option<(&'static str, &'static str)> {
    match head {
        [0x89, b'P', b'N', b'G', ..] => Some(("png", "image/png")),
        [0xFF, 0xD8, ..] => Some(("jpg", "image/jpeg")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(("webp", "image/webp")),
        [b'G', b'I', b'F', b'8', ..] => Some(("gif", "image/gif")),
        _ => None,
    }
}
