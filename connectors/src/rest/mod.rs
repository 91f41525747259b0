//! An engine that speaks HTTP, as a TOML file describes it: one call, or a call and then polls.
//! In: jobs. Out: requests made of templates; progress, files and facts from where the definition says they are.

mod aftermath;
mod definition;
mod faults;
mod follow;
mod http;
mod outputs;
mod reading;
mod run;
mod sections;
mod server;
mod table;
mod template;

pub use definition::Definition;
pub use faults::Fault;
pub use template::{SECRET_PREFIX, Secrets};

use crate::contract::{Connector, Freed, Health, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::{Failure, Reason};
use crate::live::Live;
use async_trait::async_trait;
use http::{Http, of_status};
use run::Run;
use serde_json::Value;
use server::Server;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use template::Fill;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// From a cancel to the end of the work.
const STOP: Duration = Duration::from_secs(15);

/// One server of one definition.
pub struct Rest {
    name: &'static str,
    server: Arc<Server>,
    /// What is left of the defined services once other engines have theirs.
    services: OnceLock<Vec<String>>,
    places: Arc<Semaphore>,
    live: Arc<Live>,
}

impl Rest {
    /// A connector for one address of a definition; [`Rest::offer`] says which services it offers.
    ///
    /// # Errors
    /// `system_error/config_error` if there is no such address.
    pub fn new(name: &'static str, definition: Definition, address: usize) -> Result<Self, Failure> {
        Self::stopping_within(STOP, name, definition, address)
    }

    /// The same, waiting this long for the end of cancelled work.
    ///
    /// # Errors
    /// As above.
    pub fn stopping_within(
        stop: Duration,
        name: &'static str,
        definition: Definition,
        address: usize,
    ) -> Result<Self, Failure> {
        let places = Arc::new(Semaphore::new(definition.concurrency));
        let server = Arc::new(Server::at(definition, address, stop)?);
        Ok(Self { name, server, services: OnceLock::new(), places, live: Arc::default() })
    }

    /// Offers these services from now on. The first call counts.
    pub fn offer(&self, services: Vec<String>) {
        let _ = self.services.set(services);
    }

    /// How many runs were handed to the engine.
    pub fn jobs_taken(&self) -> u64 {
        self.live.handed()
    }

    /// Whether the run of this id is at work or waits for its place.
    pub fn is_at_work(&self, service_job_id: &str) -> bool {
        self.ours(service_job_id).is_some_and(|id| self.live.knows(&id.whole))
    }

    fn run_of(&self, id: &Id, job: &Job, ctx: &RunContext) -> Run {
        Run {
            server: self.server.clone(),
            places: self.places.clone(),
            live: self.live.clone(),
            job: job.clone(),
            run_id: id.run.clone(),
            id: id.whole.clone(),
            progress: ctx.progress.clone(),
            outputs: ctx.outputs.clone(),
            ledger: ctx.ledger.clone(),
        }
    }

    /// `NAME/RUN`, and `NAME/RUN/ENGINE'S` once the engine has told its own: ids of other servers are not ours to stop.
    fn ours(&self, service_job_id: &str) -> Option<Id> {
        let rest = service_job_id.strip_prefix(self.name)?.strip_prefix('/')?;
        let (run, engine) = rest.split_once('/').map_or((rest, None), |(run, engine)| (run, Some(engine.to_owned())));
        uuid::Uuid::parse_str(run).ok()?;
        Some(Id { whole: format!("{}/{run}", self.name), run: run.to_owned(), engine })
    }
}

struct Id {
    whole: String,
    run: String,
    engine: Option<String>,
}

impl Id {
    /// What the engine calls the run; `None` if it chose a name that we never heard.
    fn at(&self, definition: &Definition) -> Option<String> {
        if definition.server_names_runs() { self.engine.clone() } else { Some(self.run.clone()) }
    }
}

impl Server {
    fn at(definition: Definition, address: usize, stop: Duration) -> Result<Self, Failure> {
        let Some(url) = definition.urls.get(address) else {
            return Err(Failure::of_host(Reason::ConfigError, format!("there is no address number {}", address + 1)));
        };
        Ok(Self { http: Http::new(url, definition.secrets.clone())?, definition, stop })
    }
}

fn nobody() -> Job {
    Job { id: String::new(), attempt: 0, service: String::new(), payload: Value::Null, ctx: Value::Null }
}

#[async_trait]
impl Connector for Rest {
    fn name(&self) -> &'static str {
        self.name
    }

    fn services(&self) -> &[String] {
        self.services.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn concurrency(&self) -> usize {
        self.server.definition.concurrency
    }

    fn seats(&self) -> Option<usize> {
        Some(self.concurrency())
    }

    async fn probe(&self) -> Probe {
        let server = &self.server;
        let queue_remaining = Some(self.live.count() as u64);
        let healthy = Probe { health: Health::Healthy, version: None, models: BTreeMap::new(), queue_remaining };
        let Some(health) = &server.definition.health else { return healthy };
        let (job, headers) = (nobody(), &server.definition.headers);
        let fill = Fill { job: &job, run_id: "", engine_id: "" };
        match server.http.call(health, headers, None, &fill).await {
            Ok(answer) if answer.is_success() => healthy,
            Ok(answer) => {
                Probe::unhealthy(of_status(&answer, &server.definition.failure, "asking for its health").message)
            }
            Err(trouble) => Probe::unhealthy(trouble.failure("asking for its health").message),
        }
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        if ctx.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let run = uuid::Uuid::now_v7().to_string();
        let id = Id { whole: format!("{}/{run}", self.name), run, engine: None };
        ctx.ledger.record_service_job(&id.whole).await?;
        let run = self.run_of(&id, job, ctx);
        self.live.attend(&id.whole, ctx, |asked| run.run(asked)).await
    }

    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        let server = &self.server;
        let Some(id) = self.ours(service_job_id) else { return Ok(Reattached::Unknown) };
        let Some(engine_id) = id.at(&server.definition) else { return Ok(Reattached::Unknown) };
        let run = self.run_of(&id, job, ctx);
        let found = self.live.attend(&id.whole, ctx, |asked| run.reattach(engine_id, asked)).await?;
        Ok(found.map_or(Reattached::Unknown, Reattached::Done))
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        let Some(id) = self.ours(service_job_id) else { return Ok(Interrupted::NothingToStop) };
        if self.live.knows(&id.whole) {
            return Ok(self.live.stop(&id.whole, self.server.stop).await);
        }
        let server = &self.server;
        let Some(engine_id) = id.at(&server.definition) else { return Ok(Interrupted::NothingToStop) };
        let job = nobody();
        let fill = Fill { job: &job, run_id: &id.run, engine_id: &engine_id };
        timeout(server.stop, server.stop(&fill)).await.unwrap_or(Ok(Interrupted::StillRunning))
    }

    fn can_free_memory(&self) -> bool {
        self.server.definition.free.is_some()
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        let Some(free) = &self.server.definition.free else { return Ok(Freed::NotSupported) };
        let (job, definition) = (nobody(), &self.server.definition);
        let fill = Fill { job: &job, run_id: "", engine_id: "" };
        let answer = self.server.http.call(free, &definition.headers, None, &fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("asking it to free memory"))?;
        if answer.is_success() {
            return Ok(Freed::Requested);
        }
        Err(of_status(&answer, &definition.failure, "asking it to free memory"))
    }
}
