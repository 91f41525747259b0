//! txt2img and img2img: one request from the queue through the one lock to its pictures.
//! In: a request. Out: an answer of 200, which proves nothing, or a Python error of 500.
//!
//! ```text
//!   waits for the lock ─▶ begun ─▶ model loaded ─▶ steps of each batch ─▶ pictures ─▶ finished
//!         │ init picture    └──── raised: the task stays "active" ─┘ interrupt: no further batch, 200 all the same
//!         └─ damaged: the task stays "queued"                        skip: this batch is cut short
//! ```

use super::info::Facts;
use super::options::{Checkpoint, Fork};
use super::routes::{http_error, raised};
use super::server::{Execution, Server};
use super::settings::Raised;
use super::{base64, lists, request, sampler};
use crate::picture;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// All that an unfinished picture has to tell itself from a finished one.
const UNFINISHED: u32 = 0x80_8080;

pub(crate) async fn generate(server: &Server, kind: &'static str, body: &[u8]) -> Response {
    let fields = match request::object(body).and_then(|sent| request::read(kind, &sent)) {
        Ok(fields) => fields,
        Err(refused) => return *refused,
    };
    if let Some(name) = unknown_script(server, kind, &fields) {
        return http_error(422, &format!("Script '{name}' not found"));
    }
    if kind == "img2img" && fields["init_images"].is_null() {
        return http_error(404, "Init image not found");
    }
    let named = fields["force_task_id"].as_str().filter(|_| server.options.fork != Fork::SdNext);
    let made_up = || format!("task({kind}-{})", &uuid::Uuid::new_v4().simple().to_string()[..7].to_uppercase());
    let task = named.map_or_else(made_up, str::to_owned);
    server.progress().wait(&task);
    let _turn = server.lock.lock().await;
    for picture in fields.get("init_images").and_then(Value::as_array).into_iter().flatten() {
        if let Err(why) = init_picture(picture) {
            return http_error(500, why);
        }
    }
    server.progress().begin(&format!("scripts_{kind}"), Some(&task));
    let request = Value::Object(fields.clone());
    let at = {
        let mut executions = server.executions();
        executions.push(Execution {
            task: task.clone(),
            request,
            checkpoint: String::new(),
            steps: 0,
            outcome: "running",
        });
        executions.len() - 1
    };
    let mut run = Run { server, kind, fields, at, kept: Map::new() };
    let done = run.carry_out().await;
    server.settings().put_back(std::mem::take(&mut run.kept));
    server.progress().end();
    let (outcome, answer) = match done {
        Ok((outcome, answer)) => {
            server.progress().finish(&task);
            (outcome, answer)
        }
        Err(error) => ("error", raised(&error)),
    };
    server.executions()[at].outcome = outcome;
    answer
}

fn unknown_script(server: &Server, kind: &str, fields: &Map<String, Value>) -> Option<String> {
    let known = scripts(server, kind);
    let chosen = fields["script_name"].as_str().filter(|name| !name.is_empty());
    let always = fields["alwayson_scripts"].as_object().into_iter().flat_map(|all| all.keys().map(String::as_str));
    let mut wanted = chosen.into_iter().chain(always);
    wanted.find(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name))).map(str::to_owned)
}

/// The recorded ones, and those of extensions.
pub(crate) fn scripts(server: &Server, kind: &str) -> Vec<String> {
    let recorded = lists::list("scripts")[kind].as_array().into_iter().flatten().filter_map(Value::as_str);
    recorded.map(str::to_owned).chain(server.options.extensions.iter().cloned()).collect()
}

fn init_picture(picture: &Value) -> Result<(), &'static str> {
    let text = picture.as_str().unwrap_or_default();
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err("Request to local resource not allowed");
    }
    let known: [&[u8]; 4] = [b"\x89PNG", b"\xFF\xD8", b"RIFF", b"GIF8"];
    let good = base64::decode(text).is_some_and(|bytes| known.iter().any(|magic| bytes.starts_with(magic)));
    if good { Ok(()) } else { Err("Invalid encoded image") }
}

pub(super) struct Run<'a> {
    pub server: &'a Server,
    kind: &'static str,
    pub fields: Map<String, Value>,
    at: usize,
    /// Options that are put back afterwards.
    kept: Map<String, Value>,
}

impl Run<'_> {
    pub fn whole(&self, name: &str) -> i64 {
        self.fields[name].as_i64().unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.fields[name] == json!(true)
    }

    async fn carry_out(&mut self) -> Result<(&'static str, Response), Raised> {
        let server = self.server;
        let overrides = self.fields["override_settings"].as_object().cloned().unwrap_or_default();
        if server.settings().checkpoints.is_empty() {
            let what = "No checkpoints found. When searching for checkpoints, looked at:\n - file /opt/webui/model.ckpt\n - \
                        directory /opt/webui/models/Stable-diffusionCan't run without a checkpoint. Find and place a .ckpt \
                        or .safetensors file into any of those locations.";
            return Err(("FileNotFoundError", what.to_owned()));
        }
        let kept = server.settings().override_with(&overrides)?;
        if self.is("override_settings_restore_afterwards") {
            self.kept = kept;
        }
        self.faults_before_loading()?;
        let checkpoint = self.load().await?;
        self.faults_after_loading()?;
        let (sampler, scheduler) = self.sampler();
        let random = uuid::Uuid::new_v4().as_u128();
        let seed = self.fields["seed"].as_i64().filter(|seed| *seed >= 0).unwrap_or(i64::from(random as u32));
        let (count, runs) = (self.whole("batch_size") as usize, self.whole("n_iter"));
        let mut finished = Vec::new();
        server.progress().job_count = runs;
        // The number of steps is still that of the job before.
        self.step().await;
        for batch in 0..runs {
            {
                let mut progress = server.progress();
                progress.steps = self.whole("steps");
                progress.skipped = false;
                if progress.interrupted {
                    break;
                }
                if runs > 1 {
                    progress.job = format!("Batch {} out of {runs}", batch + 1);
                }
            }
            let whole = self.sample().await;
            finished.extend(std::iter::repeat_n(whole, count));
            server.progress().next_job();
        }
        if finished.is_empty() {
            // Interrupted before it sampled: there is no first infotext to take (read off the source).
            return Err(("IndexError", "list index out of range".to_owned()));
        }
        let outcome = {
            let progress = server.progress();
            match () {
                () if progress.interrupted => "interrupted",
                () if finished.contains(&false) => "skipped",
                () => "success",
            }
        };
        let facts = Facts {
            fields: &self.fields,
            checkpoint: &checkpoint,
            sampler,
            scheduler,
            seed,
            subseed: (random >> 64) as u32,
            asked: count * runs as usize,
            stamp: server.progress().stamp.clone().unwrap_or_default(),
            clip_skip: server.settings().values["CLIP_stop_at_last_layers"].clone(),
            is_img2img: self.kind == "img2img",
        };
        Ok((outcome, self.answer(&facts, &finished)))
    }

    fn sampler(&self) -> (String, String) {
        let text = |name: &str| self.fields[name].as_str();
        sampler::resolve(text("sampler_name").or(text("sampler_index")), text("scheduler"))
    }

    async fn step(&self) {
        self.server.pace.step(self.server.options.step_time).await;
        self.server.wire.thawed().await;
    }

    /// The checkpoint that is set is loaded, if another one is; an interrupt does nothing here.
    async fn load(&mut self) -> Result<Checkpoint, Raised> {
        let server = self.server;
        let wrong = server.quirks().wrong_checkpoint;
        let chosen = if wrong { server.settings().checkpoints.first().cloned() } else { server.settings().current() };
        let mut chosen = chosen.ok_or(("AttributeError", "'NoneType' object has no attribute 'lowvram'".to_owned()))?;
        if server.quirks().stays_unloaded && server.settings().loaded.is_none() {
            let what = "Expected all tensors to be on the same device, but found at least two devices, cpu and cuda:0!";
            return Err(("RuntimeError", what.to_owned()));
        }
        let loads = server.settings().load(&chosen.name);
        server.pace.step(if loads { server.options.load_time } else { std::time::Duration::ZERO }).await;
        server.wire.thawed().await;
        chosen.used = true;
        server.executions()[self.at].checkpoint = chosen.name.clone();
        Ok(chosen)
    }

    /// One batch; `false` if it was cut short.
    async fn sample(&self) -> bool {
        let steps = self.whole("steps");
        for step in 1..=steps {
            self.step().await;
            self.server.executions()[self.at].steps += 1;
            let deaf = self.server.quirks().deaf_to_interrupts;
            let mut progress = self.server.progress();
            if (progress.interrupted || progress.skipped) && !deaf {
                return step == steps;
            }
            // The last step is told as begun only: decoding follows.
            progress.step = step.min(steps - 1);
        }
        true
    }

    fn answer(&self, facts: &Facts<'_>, finished: &[bool]) -> Response {
        let (width, height) = (self.whole("width") as u32 / 8 * 8, self.whole("height") as u32 / 8 * 8);
        let hires = self.fields.get("enable_hr") == Some(&json!(true));
        let scale = if hires { self.fields["hr_scale"].as_f64().unwrap_or(2.0) } else { 1.0 };
        let (width, height) = ((f64::from(width) * scale) as u32, (f64::from(height) * scale) as u32);
        let words = self.fields["prompt"].as_str().unwrap_or_default().bytes();
        let mix =
            words.chain(facts.checkpoint.name.bytes()).fold(7_u64, |mix, byte| mix * 31 % 0xff_fff1 + u64::from(byte));
        let mut pictures = Vec::new();
        for (number, whole) in finished.iter().enumerate() {
            let spread = (mix + facts.seed as u64 + number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let tint = if *whole { spread as u32 } else { UNFINISHED };
            let texts = [("parameters", facts.infotext(number))];
            pictures.push(base64::encode(&picture::png(width, height, tint, &texts)));
        }
        let grid = self.is("save_images") && pictures.len() > 1;
        let info = facts.info(pictures.len(), usize::from(grid));
        if grid {
            let count = pictures.len() as u32;
            let rows = (1..=count.isqrt()).rev().find(|rows| count.is_multiple_of(*rows)).unwrap_or(1);
            let (columns, texts) = (count / rows, [("parameters", facts.infotext(0))]);
            pictures.insert(0, base64::encode(&picture::png(width * columns, height * rows, 0x10_2030, &texts)));
        }
        // The extension shows what it made of its input, behind the pictures.
        let always = self.fields["alwayson_scripts"].as_object();
        if always.is_some_and(|all| all.keys().any(|name| name.eq_ignore_ascii_case("controlnet"))) {
            pictures.push(base64::encode(&picture::png(width, height, 0x0a_0b0c, &[])));
        }
        if self.server.quirks().garble_pictures {
            pictures.iter_mut().for_each(|picture| picture.insert(40, '?'));
        }
        if !self.is("send_images") {
            pictures.clear();
        }
        let mut echo = self.fields.clone();
        if self.kind == "img2img" && !self.is("include_init_images") {
            echo.insert("init_images".to_owned(), Value::Null);
            echo.insert("mask".to_owned(), Value::Null);
        }
        Json(json!({"images": pictures, "parameters": echo, "info": info.to_string()})).into_response()
    }
}
