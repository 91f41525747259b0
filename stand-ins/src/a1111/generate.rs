//! txt2img and img2img: one request from the queue through the one lock to its pictures.
//! In: a request. Out: an answer of 200, which proves nothing, or a Python error of 500.
//!
//! ```text
//!   waits for the lock ─▶ begun ─▶ model loaded ─▶ steps of each batch ─▶ pictures ─▶ finished
//!         │ init picture    └──── raised: the task stays "active" ─┘ interrupt: no further batch, 200 all the same
//!         └─ damaged: the task stays "queued"                        skip: this batch is cut short
//! ```

use super::info::Facts;
use super::options::{Checkpoint, Difference, Fork};
use super::routes::{http_error, raised};
use super::server::{Execution, Server};
use super::settings::Raised;
use super::{base64, lists, request, sampler};
use axum::response::Response;
use serde_json::{Map, Value, json};

/// All that an unfinished picture has to tell itself from a finished one.
pub(super) const UNFINISHED: u32 = 0x80_8080;

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
    pub kind: &'static str,
    pub fields: Map<String, Value>,
    at: usize,
    /// Options that are put back afterwards.
    kept: Map<String, Value>,
}

impl Run<'_> {
    pub fn whole(&self, name: &str) -> i64 {
        self.fields[name].as_i64().unwrap_or_default()
    }

    pub fn is(&self, name: &str) -> bool {
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
        let random = uuid::Uuid::new_v4().as_u128();
        let seed = self.fields["seed"].as_i64().filter(|seed| *seed >= 0).unwrap_or(i64::from(random as u32));
        let (count, runs) = (self.whole("batch_size") as usize, self.whole("n_iter"));
        let mut finished = Vec::new();
        server.progress().job_count = runs;
        // The number of steps is still that of the job before.
        self.step().await;
        if self.is_plot() {
            return self.plot(seed, (random >> 64) as u32).await;
        }
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
        let facts = self.facts(&checkpoint, seed, (random >> 64) as u32, count * runs as usize);
        Ok((outcome, self.answer(&facts, &finished)))
    }

    pub fn facts<'a>(&'a self, checkpoint: &'a Checkpoint, seed: i64, subseed: u32, asked: usize) -> Facts<'a> {
        let text = |name: &str| self.fields[name].as_str();
        let (sampler, scheduler) = sampler::resolve(text("sampler_name").or(text("sampler_index")), text("scheduler"));
        let differs = self.server.quirks().differs;
        Facts {
            fields: &self.fields,
            checkpoint,
            sampler: if differs == Some(Difference::Sampler) { "PLMS".to_owned() } else { sampler },
            scheduler,
            seed: seed + i64::from(differs == Some(Difference::Seed)),
            subseed,
            asked,
            stamp: self.server.progress().stamp.clone().unwrap_or_default(),
            clip_skip: self.server.settings().values["CLIP_stop_at_last_layers"].clone(),
            is_img2img: self.kind == "img2img",
        }
    }

    async fn step(&self) {
        self.server.pace.step(self.server.options.step_time).await;
        self.server.wire.thawed().await;
    }

    /// The checkpoint that is set is loaded, if another one is; an interrupt does nothing here.
    pub async fn load(&mut self) -> Result<Checkpoint, Raised> {
        let server = self.server;
        let wrong = server.quirks().wrong_checkpoint;
        let chosen = if wrong { server.settings().checkpoints.first().cloned() } else { server.settings().current() };
        self.load_weights(chosen).await
    }

    /// One that a script names, for its own run alone.
    pub async fn load_named(&mut self, name: &str) -> Result<Checkpoint, Raised> {
        let named = self.server.settings().resolve(name).cloned();
        self.load_weights(named).await
    }

    async fn load_weights(&mut self, chosen: Option<Checkpoint>) -> Result<Checkpoint, Raised> {
        let server = self.server;
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
    pub async fn sample(&self) -> bool {
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
}
