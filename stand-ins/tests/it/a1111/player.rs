//! Plays a recording against a stand-in: sends what was sent, in order and side by side as it was, and compares the answers.
//! In: one recording. Out: the list of differences.
//!
//! Time is taken out: runs step by hand. A recorded progress tells which steps have to be allowed before it is asked for;
//! a request that is waited for gets all that it still wants.

use super::expect::Rule;
use crate::client;
use serde_json::Value;
use stand_ins::a1111::StandIn;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A run has two steps before its first one of sampling.
const BEFORE_SAMPLING: u64 = 2;

type Answer = Result<(u16, Value), reqwest::Error>;

/// A request whose answer came after others were sent.
struct Open {
    step: Value,
    answer: JoinHandle<Answer>,
}

/// A generation in the order of the queue.
struct Run {
    id: String,
    steps: u64,
    batches: u64,
    /// Steps that it wants in all.
    total: u64,
}

pub struct Player<'a> {
    server: &'a StandIn,
    client: reqwest::Client,
    open: Vec<Open>,
    runs: Vec<Run>,
    allowed: u64,
    /// What had been allowed when the first of `runs` began.
    base: u64,
    active: usize,
    /// User name and password where the recording says that they were right; headers were left out of it.
    pub login: Option<(&'static str, &'static str)>,
    /// Paths that are not compared.
    pub except: Vec<&'static str>,
    pub differences: Vec<String>,
}

fn ms(step: &Value, name: &str) -> f64 {
    step[name].as_f64().unwrap_or_default()
}

impl<'a> Player<'a> {
    pub fn new(server: &'a StandIn) -> Player<'a> {
        server.step_by_hand(true);
        Player {
            server,
            client: client::http(),
            open: vec![],
            runs: vec![],
            allowed: 0,
            base: 0,
            active: 0,
            login: None,
            except: vec![],
            differences: vec![],
        }
    }

    pub async fn play(&mut self, recording: &Value) {
        let mut steps: Vec<Value> = recording["steps"].as_array().expect("steps").clone();
        steps.sort_by(|one, other| ms(one, "t_ms").total_cmp(&ms(other, "t_ms")));
        for (at, step) in steps.iter().enumerate() {
            let now = ms(step, "t_ms");
            self.close_before(now).await;
            let known = self.differences.len();
            if step["kind"] == "marker" {
                if step["text"].as_str().is_some_and(|text| text.starts_with("SIG")) {
                    self.server.kill().await;
                }
                continue;
            }
            let path = step["request"]["path"].as_str().expect("a path");
            if self.except.contains(&path) {
                continue;
            }
            let overlaps = steps.get(at + 1).is_some_and(|next| ms(next, "t_ms") < ms(step, "done_ms"));
            if overlaps
                && path != "/sdapi/v1/interrupt"
                && step["request"]["method"] == "POST"
                && !path.starts_with("/internal")
            {
                self.begin(step).await;
                continue;
            }
            if path.contains("progress") && step["response"]["status"] == 200 {
                self.reach(step).await;
            }
            if path.ends_with("/interrupt") || path.ends_with("/skip") {
                self.cut_short(path.ends_with("/skip")).await;
            }
            let answer = tokio::spawn(send(
                self.client.clone(),
                self.server.url(),
                step["request"].clone(),
                self.login_for(step),
            ));
            self.wait_for(step, answer).await;
            for difference in &mut self.differences[known..] {
                *difference = format!("step {at} at {now} ms ({path}): {difference}");
            }
        }
        self.close_before(f64::MAX).await;
    }

    /// Sends a request that others overtake, and sees that it has arrived.
    async fn begin(&mut self, step: &Value) {
        if self.open.is_empty() {
            (self.base, self.active) = (self.allowed, 0);
            self.runs.clear();
        }
        let request = &step["request"];
        let route =
            format!("{} {}", request["method"].as_str().expect("a method"), request["path"].as_str().expect("a path"));
        let (before, body) = (self.server.asked(&route), &request["body"]);
        let answer = tokio::spawn(send(self.client.clone(), self.server.url(), request.clone(), None));
        while self.server.asked(&route) == before {
            tokio::task::yield_now().await;
        }
        if let Some(steps) = body["steps"].as_u64() {
            let batches = body["n_iter"].as_u64().unwrap_or(1);
            let id = body["force_task_id"].as_str().unwrap_or_default().to_owned();
            while !id.is_empty() && !self.knows(&id).await {}
            self.runs.push(Run { id, steps, batches, total: BEFORE_SAMPLING + steps * batches });
            self.server.starving().await;
        }
        self.open.push(Open { step: step.clone(), answer });
    }

    fn login_for(&self, step: &Value) -> Option<(&'static str, &'static str)> {
        match step["note"].as_str() {
            Some("no credentials" | "not protected") => None,
            Some("wrong password") => Some(("user", "wrong")),
            _ => self.login,
        }
    }

    async fn knows(&self, id: &str) -> bool {
        let question = serde_json::json!({"id_task": id, "id_live_preview": -1, "live_preview": false});
        let url = format!("{}/internal/progress", self.server.url());
        let said: Value =
            self.client.post(url).json(&question).send().await.expect("an answer").json().await.expect("JSON");
        said["active"] == true || said["queued"] == true
    }

    /// Answers that had come by then; or the patience of a client that had ended.
    async fn close_before(&mut self, now: f64) {
        while let Some(at) = self.open.iter().position(|open| ms(&open.step, "done_ms") < now) {
            let Open { step, answer } = self.open.remove(at);
            if step["response"]["transport_error"].as_str().is_some_and(|error| error.starts_with("TimeoutError")) {
                answer.abort();
                continue;
            }
            let known = self.differences.len();
            self.wait_for(&step, answer).await;
            for difference in &mut self.differences[known..] {
                *difference = format!("the request of {} ms: {difference}", step["t_ms"]);
            }
        }
    }

    /// Brings the runs to where they were when this progress was told.
    async fn reach(&mut self, step: &Value) {
        let said = &step["response"]["body"];
        if let Some(id) = step["request"]["body"]["id_task"].as_str() {
            let Some(at) = self.runs.iter().position(|run| run.id == id) else { return };
            if said["active"] == true {
                self.active = at;
                let run = &self.runs[at];
                let done = said["progress"].as_f64().unwrap_or_default() * (run.steps * run.batches) as f64;
                let done = done.round() as u64;
                self.allow(at, if done > 0 { BEFORE_SAMPLING + done } else { 0 }).await;
            } else if said["completed"] == true {
                self.active = at + 1;
                self.allow(at, self.runs[at].total).await;
            }
            return;
        }
        let state = &said["state"];
        let number = |name: &str| state[name].as_u64().unwrap_or_default();
        let Some(run) = self.runs.get(self.active) else { return };
        let steps_known = number("sampling_steps") == run.steps;
        let offset = match state["job_count"].as_i64() {
            Some(1..) if steps_known => BEFORE_SAMPLING + number("job_no") * run.steps + number("sampling_step"),
            Some(1..) => 1,
            _ => 0,
        };
        self.allow(self.active, offset).await;
    }

    async fn allow(&mut self, run: usize, offset: u64) {
        let target = self.base + self.runs[..run].iter().map(|run| run.total).sum::<u64>() + offset;
        if target > self.allowed {
            self.server.allow_steps((target - self.allowed) as u32);
            self.allowed = target;
            let all = self.base + self.runs.iter().map(|run| run.total).sum::<u64>();
            if target < all {
                self.server.starving().await;
            } else {
                while self.server.executions().iter().any(|run| run.outcome == "running") {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// The run at work looks up after the step that it is in.
    async fn cut_short(&mut self, only_this_batch: bool) {
        if self.active < self.runs.len() {
            self.allow(self.active, BEFORE_SAMPLING).await;
        }
        let before = self.base + self.runs.iter().take(self.active).map(|run| run.total).sum::<u64>();
        let Some(run) = self.runs.get_mut(self.active) else { return };
        let done = self.allowed - before;
        let batch = done.saturating_sub(BEFORE_SAMPLING) / run.steps;
        let left = if only_this_batch { (run.batches - batch - 1) * run.steps } else { 0 };
        run.total = done.max(BEFORE_SAMPLING) + 1 + left;
    }

    async fn wait_for(&mut self, step: &Value, mut answer: JoinHandle<Answer>) {
        let path = step["request"]["path"].as_str().unwrap_or_default();
        let hungry = ["2img", "image", "images", "options"].iter().any(|end| path.ends_with(end));
        let waiting = async {
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => return answer.expect("a task"),
                    // A question wants no steps: those are for the run beside it.
                    () = self.server.starving(), if hungry => {
                        self.server.allow_steps(1);
                        self.allowed += 1;
                    }
                }
            }
        };
        let answer = tokio::time::timeout(client::PATIENCE, waiting).await;
        let recorded = &step["response"];
        match answer {
            Err(_) => self.differences.push("no answer".to_owned()),
            Ok(Err(_)) if recorded["transport_error"].is_string() => {}
            Ok(Err(error)) => self.differences.push(format!("no answer: {error}")),
            Ok(Ok((status, _))) if recorded["transport_error"].is_string() => {
                self.differences.push(format!("an answer of {status} where the connection ended"));
            }
            Ok(Ok((status, body))) => {
                if recorded["status"] != status {
                    self.differences.push(format!("status: recorded {} but got {status}: {body}", recorded["status"]));
                }
                let request = &step["request"]["body"];
                let state = &recorded["body"]["state"];
                let stale = self.runs.get(self.active).is_none_or(|run| state["sampling_steps"] != run.steps);
                let chosen =
                    path.ends_with("/options") || (state.is_object() && recorded["body"].get("textinfo").is_none());
                let rule = Rule { chosen, random_seed: !request["seed"].is_i64(), stale_steps: stale };
                self.differences.extend(rule.compare(&recorded["body"], &body));
            }
        }
    }
}

async fn send(client: reqwest::Client, url: String, request: Value, login: Option<(&str, &str)>) -> Answer {
    let (method, path) = (request["method"].as_str().expect("a method"), request["path"].as_str().expect("a path"));
    let mut call = client.request(method.parse().expect("a method"), format!("{url}{path}"));
    if let Some((name, password)) = login {
        call = call.basic_auth(name, Some(password));
    }
    if let Some(body) = request.get("raw_body").and_then(Value::as_str) {
        call = call.header("content-type", "application/json").body(body.to_owned());
    } else if !request["body"].is_null() {
        call = call.json(&request["body"]);
    }
    let answer = call.timeout(Duration::from_secs(60)).send().await?;
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await?;
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
}
