//! One server, as all runs on it know it: how it is reached, which one it is, what it makes in the background.
//! In: settings, questions. Out: its flavour, and responses that are no longer made.

use super::flavour::Flavour;
use super::http::{self, Http, JobKey, Tree};
use super::probe::Known;
use super::responses;
use super::settings::Settings;
use crate::contract::Interrupted;
use crate::failure::Failure;
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, sleep};

pub(super) struct Server {
    pub settings: Settings,
    pub http: Http,
    pub known: Known,
    /// It has refused `stream_options` once.
    pub no_stream_options: AtomicBool,
    flavour: AtomicU8,
    /// Responses in the background that runs of this process wait for: the run's id and the job's key.
    remote: Mutex<HashMap<String, (String, JobKey)>>,
}

const FLAVOURS: [Flavour; 5] = [Flavour::OpenAi, Flavour::Vllm, Flavour::LlamaCpp, Flavour::Ollama, Flavour::LmStudio];

impl Server {
    /// # Errors
    /// `system_error/config_error` if no HTTP client can be set up.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self {
            http: Http::new(&settings)?,
            settings,
            known: Known::default(),
            no_stream_options: AtomicBool::default(),
            flavour: AtomicU8::default(),
            remote: Mutex::default(),
        })
    }

    /// Which server it was when it was asked.
    pub fn flavour(&self) -> Flavour {
        FLAVOURS[usize::from(self.flavour.load(Ordering::Relaxed)) % FLAVOURS.len()]
    }

    pub async fn ask_flavour(&self) -> Result<Flavour, Failure> {
        let asked = self.known.flavour(&self.http, &self.settings).await;
        let flavour = asked.map_err(|trouble| http::failure(&trouble, "asking which server it is"))?;
        let at = FLAVOURS.iter().position(|one| *one == flavour).unwrap_or_default();
        self.flavour.store(at as u8, Ordering::Relaxed);
        Ok(flavour)
    }

    pub fn remote(&self) -> MutexGuard<'_, HashMap<String, (String, JobKey)>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels a response and sees that it is no longer made.
    pub async fn cancel_response(&self, id: &str, key: &JobKey) -> Result<Interrupted, Failure> {
        let timing = &self.settings.timing;
        let doing = "cancelling a response";
        let until = Instant::now() + timing.stop;
        let path = format!("responses/{id}/cancel");
        let mut asked = self.http.post(Tree::Api, &path, &json!({}), key, timing.request).await;
        let mut was_at_work = false;
        loop {
            let answer = asked.map_err(|trouble| http::failure(&trouble, doing))?;
            let said = http::said(&answer).unwrap_or_default();
            if answer.status == 404 {
                return Ok(Interrupted::NothingToStop);
            }
            if said["status"] == "cancelled" {
                return Ok(Interrupted::Stopped);
            }
            if (200..300).contains(&answer.status) && !responses::goes_on(&said) {
                return Ok(if was_at_work { Interrupted::Stopped } else { Interrupted::NothingToStop });
            }
            was_at_work = true;
            if Instant::now() >= until {
                return Ok(Interrupted::StillRunning);
            }
            sleep(timing.poll).await;
            asked = self.http.response(id, key, timing.request).await;
        }
    }
}
