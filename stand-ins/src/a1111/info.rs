//! What an answer says of its pictures: `info`, and the text that each picture carries.
//! In: the request as it was carried out. Out: the fields and texts, in the server's words.

use super::options::Checkpoint;
use serde_json::{Map, Value, json};

pub(crate) const VERSION: &str = "v1.10.1";

/// A request, resolved.
pub(crate) struct Facts<'a> {
    pub fields: &'a Map<String, Value>,
    pub checkpoint: &'a Checkpoint,
    pub sampler: String,
    pub scheduler: String,
    pub seed: i64,
    pub subseed: u32,
    /// Pictures that were asked for, made or not.
    pub asked: usize,
    pub stamp: String,
    pub clip_skip: Value,
    pub is_img2img: bool,
}

impl Facts<'_> {
    fn text(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }

    pub(crate) fn infotext(&self, number: usize) -> String {
        let fields = self.fields;
        let negative = match self.text("negative_prompt") {
            "" => String::new(),
            text => format!("Negative prompt: {text}\n"),
        };
        let cfg = fields["cfg_scale"].as_f64().unwrap_or_default();
        let denoising = match fields["denoising_strength"].as_f64() {
            Some(strength) if self.is_img2img => format!("Denoising strength: {strength}, "),
            _ => String::new(),
        };
        let clip_skip = match self.clip_skip.as_f64() {
            Some(skip) if skip != 1.0 => format!("Clip skip: {skip}, "),
            _ => String::new(),
        };
        format!(
            "{}\n{negative}Steps: {}, Sampler: {}, Schedule type: {}, CFG scale: {cfg:?}, Seed: {}, Size: {}x{}, \
             Model hash: {}, Model: {}, {denoising}{clip_skip}Version: {VERSION}",
            self.text("prompt"),
            fields["steps"],
            self.sampler,
            self.scheduler,
            self.seed + number as i64,
            fields["width"],
            fields["height"],
            &self.checkpoint.sha256[..10],
            self.checkpoint.stem(),
        )
    }

    /// `made`: how many pictures there are; `first`: how many grids before them.
    pub(crate) fn info(&self, made: usize, first: usize) -> Value {
        let fields = self.fields;
        let seeds: Vec<i64> = (0..self.asked as i64).map(|at| self.seed + at).collect();
        let subseeds: Vec<u64> = (0..self.asked as u64).map(|at| u64::from(self.subseed) + at).collect();
        let texts: Vec<String> = (0..first).map(|_| 0).chain(0..made).map(|number| self.infotext(number)).collect();
        let denoising = &fields["denoising_strength"];
        let mut extra = Map::new();
        if self.scheduler != "Automatic" {
            extra.insert("Schedule type".to_owned(), json!(self.scheduler));
        }
        if self.is_img2img {
            extra.insert("Denoising strength".to_owned(), denoising.clone());
        }
        json!({
            "prompt": fields["prompt"], "all_prompts": vec![&fields["prompt"]; self.asked],
            "negative_prompt": fields["negative_prompt"],
            "all_negative_prompts": vec![&fields["negative_prompt"]; self.asked],
            "seed": self.seed, "all_seeds": seeds, "subseed": self.subseed, "all_subseeds": subseeds,
            "subseed_strength": fields["subseed_strength"], "width": fields["width"], "height": fields["height"],
            "sampler_name": self.sampler, "cfg_scale": fields["cfg_scale"], "steps": fields["steps"],
            "batch_size": fields["batch_size"], "restore_faces": false, "face_restoration_model": null,
            "sd_model_name": self.checkpoint.stem(), "sd_model_hash": self.checkpoint.sha256[..10],
            "sd_vae_name": null, "sd_vae_hash": null,
            "seed_resize_from_w": fields["seed_resize_from_w"], "seed_resize_from_h": fields["seed_resize_from_h"],
            "denoising_strength": denoising, "extra_generation_params": extra,
            "index_of_first_image": first, "infotexts": texts, "styles": [], "job_timestamp": self.stamp,
            "clip_skip": self.clip_skip, "is_using_inpainting_conditioning": false, "version": VERSION,
        })
    }
}
