//! The agent of this machine: found by what it leaves in its state folder, asked over its dashboard.
//! In: the configuration. Out: its answers; or that none runs here.

use super::{Exit, Failed};
use crate::config::Config;
use crate::dashboard::Place;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the agent of a package keeps its state: a person's own folder is another one.
pub(super) const OF_SERVICE: &str = "/var/lib/gpu-worker";

/// It asks Redis and engines in turn.
const LONGEST: Duration = Duration::from_secs(30);

/// An agent that lives here.
pub(super) struct LocalAgent {
    /// Its worker id, with `_` for what a file name must not hold.
    pub name: String,
    pub url: String,
    token: SecretString,
}

/// What it says.
pub(super) struct Said {
    pub status: u16,
    pub told: Value,
}

impl Said {
    /// The sentence on what was done, or why not and what to do about it.
    pub(super) fn result(&self) -> Result<String, Failed> {
        let text = |name: &str| self.told[name].as_str().unwrap_or_default();
        if self.status == 200 {
            return Ok(text("message").to_owned());
        }
        let why = match (text("error"), text("remedy")) {
            ("", _) => format!("the agent answered {} and no reason", self.status),
            (error, "") => error.to_owned(),
            (error, remedy) => format!("{error}\n{remedy}"),
        };
        // What it needs for this does not answer it: Redis, as a rule.
        Err(Failed::new(if self.status == 503 { Exit::Unreachable } else { Exit::Failed }, why))
    }
}

impl LocalAgent {
    /// The agent of this configuration, else the only one that there is. `None`: none lives here.
    pub(super) fn find(config: &Config) -> Result<Option<Self>, Failed> {
        let folders: [PathBuf; 2] = [config.state_dir.clone(), OF_SERVICE.into()];
        for folder in &folders {
            let found = Self::find_in(folder, config).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    let why =
                        format!("{} cannot be read: ask as the user of the agent, or with sudo", folder.display());
                    Failed::new(Exit::Failed, why)
                }
                _ => Failed::new(Exit::Failed, format!("{}: {error}", folder.display())),
            })?;
            if let Some(found) = found {
                return found.map(Some);
            }
        }
        Ok(None)
    }

    fn find_in(folder: &Path, config: &Config) -> io::Result<Option<Result<Self, Failed>>> {
        let names = Place::names(folder)?;
        let own = Place::of(folder, &config.identity.worker_id);
        let place = match names.as_slice() {
            [] => return Ok(None),
            all if all.iter().any(|name| name == own.name()) => own,
            [only] => Place::of(folder, only),
            several => return Ok(Some(Err(Failed::usage(choose(folder, several)?)))),
        };
        let Some(found) = place.find()? else { return Ok(None) };
        let Some(token) = found.token.or_else(|| config.dashboard.token.clone()) else {
            let why = format!(
                "the agent at {} was started with a WORKER_DASHBOARD_TOKEN: this command needs it too,\n\
                 from the environment or by --env-file with the agent's configuration",
                found.url
            );
            return Ok(Some(Err(Failed::usage(why))));
        };
        Ok(Some(Ok(Self { name: place.name().to_owned(), url: found.url, token })))
    }

    /// Gives it an order. `None`: it does not run any more.
    pub(super) async fn post(&self, path: &str) -> Result<Option<Said>, Failed> {
        self.ask(Method::POST, path).await
    }

    /// The ids of its workers.
    pub(super) async fn workers(&self) -> Result<Vec<String>, Failed> {
        let gone = || Failed::new(Exit::Unreachable, format!("the agent at {} has gone", self.url));
        let said = self.ask(Method::GET, "api/snapshot").await?.ok_or_else(gone)?;
        let ids = said.told["worker"]["ids"].as_array().into_iter().flatten();
        let ids: Vec<String> = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
        if ids.is_empty() {
            return Err(Failed::new(Exit::Failed, format!("the agent at {} does not name its workers", self.url)));
        }
        Ok(ids)
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Option<Said>, Failed> {
        let failed =
            |error: reqwest::Error| Failed::new(Exit::Unreachable, format!("the agent at {}: {error}", self.url));
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(LONGEST);
        let request = client
            .build()
            .map_err(failed)?
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.token.expose_secret())
            .header("content-length", "0");
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let status = answer.status().as_u16();
        let told = answer.bytes().await.map_err(failed)?;
        Ok(Some(Said { status, told: serde_json::from_slice(&told).unwrap_or_default() }))
    }
}

/// Of several agents one has to be named.
fn choose(folder: &Path, names: &[String]) -> io::Result<String> {
    let mut why = "several agents run here; say which one:".to_owned();
    for name in names {
        if let Some(found) = Place::of(folder, name).find()? {
            why += &format!("\n  --set WORKER_ID={name}   {}", found.url);
        }
    }
    Ok(why)
}
