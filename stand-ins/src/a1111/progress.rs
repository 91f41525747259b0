//! The one global state, and the ids of tasks: what `/sdapi/v1/progress` and `/internal/progress` tell.
//! In: beginnings, steps and ends of whatever runs. Out: the two answers, with what goes stale in them.
//!
//! ```text
//!  task: pending ─▶ current ─▶ finished (the last sixteen)
//!           │          └─ failed: stays current until another one starts
//!           └─ failed before its start: stays pending for good
//! ```

use super::base64;
use super::clock;
use crate::picture;
use serde_json::{Value, json};
use std::collections::VecDeque;

const FINISHED_KEPT: usize = 16;

#[derive(Default)]
pub(crate) struct Progress {
    pub job: String,
    pub job_count: i64,
    pub job_no: i64,
    pub stamp: Option<String>,
    pub step: i64,
    pub steps: i64,
    pub interrupted: bool,
    pub skipped: bool,
    preview: i64,
    preview_step: i64,
    has_preview: bool,
    pending: Vec<String>,
    current: Option<String>,
    finished: VecDeque<String>,
}

impl Progress {
    pub(crate) fn wait(&mut self, task: &str) {
        self.pending.push(task.to_owned());
    }

    /// Resets what the job before left, but for its number of steps.
    pub(crate) fn begin(&mut self, job: &str, task: Option<&str>) {
        self.job = job.to_owned();
        self.job_count = -1;
        self.job_no = 0;
        self.stamp = Some(clock::stamp());
        self.step = 0;
        (self.interrupted, self.skipped) = (false, false);
        (self.preview, self.preview_step, self.has_preview) = (0, 0, false);
        if let Some(task) = task {
            self.pending.retain(|known| known != task);
            self.current = Some(task.to_owned());
        }
    }

    pub(crate) fn next_job(&mut self) {
        self.job_no += 1;
        self.step = 0;
        self.preview_step = 0;
    }

    pub(crate) fn finish(&mut self, task: &str) {
        if self.current.as_deref() == Some(task) {
            self.current = None;
        }
        self.finished.push_back(task.to_owned());
        if self.finished.len() > FINISHED_KEPT {
            self.finished.pop_front();
        }
    }

    pub(crate) fn end(&mut self) {
        self.job.clear();
        self.job_count = 0;
    }

    fn fraction(&self) -> f64 {
        let mut fraction = 0.0;
        if self.job_count > 0 {
            fraction += self.job_no as f64 / self.job_count as f64;
            if self.steps > 0 {
                fraction += 1.0 / self.job_count as f64 * self.step as f64 / self.steps as f64;
            }
        }
        fraction
    }

    /// A new one is made only so often, and only when somebody asks.
    fn preview(&mut self, every: i64) -> Option<String> {
        if every > 0 && self.job_count > 0 && self.step - self.preview_step >= every {
            self.preview += 1;
            self.preview_step = self.step;
            self.has_preview = true;
        }
        self.has_preview.then(|| base64::encode(&picture::png(32, 32, 0x40_5060 + self.step as u32, &[])))
    }

    pub(crate) fn global(&mut self, with_picture: bool, every: i64) -> Value {
        let picture = if with_picture { self.preview(every) } else { None };
        let (progress, eta) = match self.job_count {
            0 => (0.0, 0.0),
            _ => ((0.01 + self.fraction()).min(1.0), 1.0),
        };
        json!({
            "progress": progress, "eta_relative": eta,
            "state": {
                "skipped": self.skipped, "interrupted": self.interrupted, "stopping_generation": false,
                "job": self.job, "job_count": self.job_count, "job_timestamp": self.stamp.as_deref().unwrap_or("0"),
                "job_no": self.job_no, "sampling_step": self.step, "sampling_steps": self.steps,
            },
            "current_image": picture, "textinfo": null,
        })
    }

    pub(crate) fn of_task(&mut self, id: &str, known_preview: i64, with_picture: bool, every: i64) -> Value {
        let active = self.current.as_deref() == Some(id);
        let place = self.pending.iter().position(|task| task == id);
        let completed = self.finished.iter().any(|task| task == id);
        if !active {
            let text = match place {
                Some(place) => format!("In queue: {}/{}", place + 1, self.pending.len()),
                None => "Waiting...".to_owned(),
            };
            return json!({
                "active": false, "queued": place.is_some(), "completed": completed, "progress": null, "eta": null,
                "live_preview": null, "id_live_preview": -1, "textinfo": text,
            });
        }
        let fraction = self.fraction().min(1.0);
        let mut preview = None;
        let mut number = known_preview;
        if with_picture && let Some(picture) = self.preview(every) {
            preview = (self.preview != known_preview).then(|| format!("data:image/png;base64,{picture}"));
            number = self.preview;
        }
        json!({
            "active": true, "queued": place.is_some(), "completed": completed, "progress": fraction,
            "eta": if fraction > 0.0 { json!(1.0) } else { Value::Null },
            "live_preview": preview, "id_live_preview": number, "textinfo": null,
        })
    }

    pub(crate) fn pending(&self) -> Value {
        json!({"size": self.pending.len(), "tasks": self.pending})
    }
}
