//! Who is to blame for how a run ended: the engine, one model file, want of memory, or nobody here.
//! In: failures and successes of runs. Out: breakers moved, and the engine out of the offer at once if it is its fault.

use super::breaker::Part;
use super::engine::{Engine, locked};
use crate::telemetry::{Notice, tell};
use connectors::failure::{Failure, FailureType, Reason};
use std::time::Instant;

/// What a run asked of its engine.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Model files, the heaviest first.
    pub models: Vec<String>,
    /// GPU memory that the job states, in MB.
    pub memory_mb: Option<u64>,
    /// The id of its class; empty if unknown.
    pub class: String,
    /// The job's id.
    pub job: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Blame {
    Engine,
    Model(String),
    Memory,
    /// The job or the engine.
    Unclear,
    Nobody,
}

fn blame(failure: &Failure) -> Blame {
    match failure {
        Failure { hosts_fault: false, .. } => match failure.kind() {
            FailureType::ServiceError | FailureType::SystemError | FailureType::ResponseError => Blame::Unclear,
            _ => Blame::Nobody,
        },
        Failure { model: Some(model), .. } => Blame::Model(model.clone()),
        failure if failure.is_out_of_memory() => Blame::Memory,
        // What the engine lacks it lacks for this job alone, and says so before any work.
        Failure { reason: Reason::ModelNotFound | Reason::ComponentError, .. } => Blame::Nobody,
        Failure { no_room: true, .. } => Blame::Nobody,
        // It works, on as much as it takes.
        Failure { reason: Reason::ConcurrentLimit, .. } => Blame::Nobody,
        _ => Blame::Engine,
    }
}

/// A step that takes too long says nothing about files, nor does a door that is locked or a wrong address.
fn may_be_of_a_file(failure: &Failure) -> bool {
    use Reason::{ConfigError, DnsResolution, ProcessingTimeout, ProxyError, SslCertificate};
    let is_of_the_door = matches!(failure.kind(), FailureType::AuthError | FailureType::RateLimit);
    !is_of_the_door
        && !matches!(failure.reason, ProcessingTimeout | ConfigError | DnsResolution | ProxyError | SslCertificate)
}

impl Engine {
    /// A run has failed. Answers whether the engine itself is suspected.
    pub fn failed(&self, failure: &Failure, asked: &Asked) -> bool {
        let blame = blame(failure);
        match &blame {
            Blame::Nobody => {
                locked(&self.breakers).went_on(&Part::Whole);
                return false;
            }
            Blame::Unclear => {
                if failure.ended_engine {
                    // Whoever is why, it is not there.
                    self.doubt(&failure.message);
                }
                locked(&self.breakers).went_on(&Part::Whole);
                self.suspect(Part::Runs, false, asked, failure);
            }
            Blame::Model(model) => self.suspect(Part::Model(model.clone()), true, asked, failure),
            Blame::Memory => match asked.memory_mb {
                Some(mb) => self.suspect(Part::Memory(mb), true, asked, failure),
                None if asked.class.is_empty() => return false,
                None => self.suspect(Part::Class(asked.class.clone()), true, asked, failure),
            },
            Blame::Engine => {
                if failure.reason == Reason::QueueTimeout {
                    self.is_jammed();
                }
                self.doubt(&failure.message);
                self.suspect(Part::Whole, false, asked, failure);
                // A file that brings the engine down time and again is found among good ones, too.
                if let Some(heaviest) = asked.models.first().filter(|_| may_be_of_a_file(failure)) {
                    self.suspect(Part::Model(heaviest.clone()), false, asked, failure);
                }
            }
        }
        self.offer_changed();
        blame == Blame::Engine
    }

    /// A run has ended well.
    pub fn succeeded(&self, asked: &Asked) {
        let mut breakers = locked(&self.breakers);
        let mut cleared = Vec::new();
        let models = asked.models.iter().map(|model| Part::Model(model.clone()));
        let class = (!asked.class.is_empty()).then(|| Part::Class(asked.class.clone()));
        for part in models.chain(class).chain([Part::Whole, Part::Runs]) {
            if breakers.succeeded(&part) {
                cleared.push(part);
            }
        }
        if let Some(mb) = asked.memory_mb.filter(|mb| breakers.memory_sufficed(*mb)) {
            cleared.push(Part::Memory(mb));
        }
        drop(breakers);
        for part in cleared {
            tell(Notice::TrustedAgain { engine: &self.label, part: part.describe() });
        }
    }

    /// Why this engine does not even try a job that loads these models, if it does not.
    pub fn refuses(&self, models: &[String]) -> Option<Failure> {
        let (breakers, now) = (locked(&self.breakers), Instant::now());
        let rests = |model: &String| breakers.rests(&Part::Model(model.clone()), now);
        let (model, (why, left)) = models.iter().find_map(|model| Some((model, rests(model)?)))?;
        let what = format!("this worker leaves out the model `{model}` for now: {why}");
        let failure = Failure::of_host(Reason::DependencyError, what).about_model(Some(model.clone()));
        Some(Failure { retry_after: Some(left), ..failure })
    }

    /// Whether anything is or was left out, so that a success is news.
    pub fn is_suspected(&self) -> bool {
        !locked(&self.breakers).snapshot().is_empty()
    }

    fn suspect(&self, part: Part, decisive: bool, asked: &Asked, failure: &Failure) {
        let now = Instant::now();
        let opened = locked(&self.breakers).failed(part.clone(), decisive, &asked.job, &failure.message, now);
        if let Some(pause) = opened {
            let (engine, why, remedy) = (&*self.label, &*failure.message, part.remedy());
            tell(Notice::LeftOut { engine, part: part.describe(), pause, why, remedy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connectors::simulation::Simulation;
    use std::sync::Arc;
    use std::time::Duration;

    fn engine() -> Engine {
        Engine::new("sim".to_owned(), Arc::new(Simulation::new([])), Duration::ZERO)
    }

    fn asked(memory_mb: Option<u64>) -> Asked {
        Asked { models: vec!["big.safetensors".to_owned()], memory_mb, class: "0011".to_owned(), job: "j".to_owned() }
    }

    #[tokio::test]
    async fn three_faults_of_the_engine_close_it_although_it_answers_and_its_model_with_it() {
        let engine = engine();
        engine.probe().await;
        assert!(engine.is_healthy());
        let fault = Failure::of_host(Reason::GpuError, "the GPU failed");
        for _ in 0..3 {
            assert!(engine.failed(&fault, &asked(None)));
            assert!(!engine.is_healthy(), "out of the offer at once");
            engine.probe().await;
        }
        assert!(!engine.is_healthy(), "a good probe alone does not bring it back");
        assert!(engine.refuses(&["small".to_owned(), "big.safetensors".to_owned()]).is_some());
        assert!(engine.refuses(&["small".to_owned()]).is_none());
    }

    #[tokio::test]
    async fn a_locked_door_and_a_wrong_address_close_the_engine_and_no_model_with_it() {
        for reason in [Reason::InvalidApiKey, Reason::ConfigError, Reason::SslCertificate, Reason::RequestsPerMinute] {
            let engine = engine();
            engine.probe().await;
            (0..3).for_each(|_| assert!(engine.failed(&Failure::of_host(reason, "no"), &asked(None))));
            assert!(!engine.is_healthy(), "{reason:?}");
            assert!(engine.refuses(&["big.safetensors".to_owned()]).is_none(), "{reason:?}");
        }
    }

    #[tokio::test]
    async fn jobs_faults_and_lacks_are_nobodys_here() {
        let engine = engine();
        engine.probe().await;
        for failure in [
            Failure::new(Reason::InvalidPayload, "node 3 lacks an input"),
            Failure::new(Reason::GpuMemoryFull, "as asked"),
            Failure::of_host(Reason::ModelNotFound, "lacks it"),
            Failure::of_host(Reason::ComponentError, "no such node class"),
            Failure::of_host(Reason::ConcurrentLimit, "as many wait as may"),
        ] {
            (0..4).for_each(|_| assert!(!engine.failed(&failure, &asked(Some(1000)))));
        }
        assert!(engine.is_healthy() && !engine.is_suspected());
    }

    #[tokio::test]
    async fn a_job_that_fails_for_nobody_knows_what_is_not_the_engine_but_three_different_ones_are() {
        let engine = engine();
        engine.probe().await;
        let unclear = Failure::new(Reason::InternalError, "node 3 failed");
        let of = |job: &str| Asked { job: job.to_owned(), ..asked(None) };
        (0..9).for_each(|_| assert!(!engine.failed(&unclear, &of("a")), "nothing says that the engine is down"));
        engine.failed(&unclear, &of("b"));
        engine.succeeded(&of("good"));
        for job in ["a", "b", "a"] {
            engine.failed(&unclear, &of(job));
        }
        assert!(engine.is_healthy(), "a success between begins the count anew");
        engine.failed(&unclear, &of("c"));
        assert!(!engine.is_healthy());
        assert!(engine.refuses(&["big.safetensors".to_owned()]).is_none(), "its models are not suspected");
    }

    #[tokio::test]
    async fn a_model_that_brings_the_engine_down_is_found_among_good_ones() {
        let engine = engine();
        let fault = Failure::of_host(Reason::ServiceDown, "refuses connections");
        let good = Asked { models: vec!["good.safetensors".to_owned()], ..Asked::default() };
        for _ in 0..3 {
            engine.failed(&fault, &asked(None));
            engine.probe().await;
            engine.succeeded(&good);
        }
        assert!(engine.is_healthy(), "it was never three in a row");
        assert!(engine.refuses(&["big.safetensors".to_owned()]).is_some());
        assert!(engine.refuses(&good.models).is_none());
    }

    #[test]
    fn a_damaged_model_is_left_out_alone_and_want_of_memory_by_what_was_asked() {
        let engine = engine();
        let damaged = Failure::of_host(Reason::DependencyError, "x").about_model(Some("vae.pt".to_owned()));
        assert!(!engine.failed(&damaged, &asked(None)), "the engine is not suspected");
        assert!(engine.refuses(&["vae.pt".to_owned()]).is_some());
        let full = Failure::of_host(Reason::GpuMemoryFull, "full");
        engine.failed(&full, &asked(Some(16_000)));
        assert_eq!((engine.memory_limit_gb(), engine.classes_left_out().len()), (Some(16.0), 0));
        engine.failed(&full, &asked(None));
        assert_eq!(engine.classes_left_out().into_iter().collect::<Vec<_>>(), ["0011"]);
    }
}
