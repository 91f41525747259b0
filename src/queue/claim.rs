//! Claiming for one worker: keeps its picture of the classes up to date and asks for the best job that fits.
//! In: a judge that tells whether a class fits. Out: held jobs.

mod picture;

pub use picture::{Judgement, LeftOut};

use super::control::Control;
use super::index::{index_front, reclassify};
use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::{ClaimReply, ClaimRequest, ClaimedJob};
use crate::protocol::ids::new_token;
use failpoints::{Point, reach};
use picture::Picture;
use redis::RedisResult;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A class that was born.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Birth {
    /// Its id.
    pub class: String,
    /// Its definition.
    pub definition: String,
    /// The version of the classes before.
    pub previous: String,
    /// And since.
    pub version: String,
}

/// Rounds that one claim may take while the queue changes under it.
const ROUNDS: usize = 12;

/// What came of asking for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Held under this token.
    Job(ClaimedJob, String),
    /// Nothing fits now.
    Nothing {
        /// When the next delayed job is due.
        due: Option<Duration>,
        /// Classes whose waiting jobs avoid this worker, and for how long they still do.
        avoiding: Vec<(String, Duration)>,
    },
    /// A newer process has this worker id.
    Superseded,
    /// Somebody wants this worker to claim no more; its control has heard so.
    Paused,
}

/// One worker's claims.
pub struct Claimer {
    worker: String,
    lease: Duration,
    picture: Picture,
    /// A job at the front of the queue that cannot be indexed: it must not stop those behind it.
    stuck: Option<String>,
    /// A claim whose answer was lost: asked again with the same token, it answers the same job.
    unanswered: Option<String>,
}

impl Claimer {
    /// Claims for this worker, each held for `lease` unless renewed.
    pub fn new(worker: &str, lease: Duration) -> Self {
        Self { worker: worker.to_owned(), lease, picture: Picture::default(), stuck: None, unanswered: None }
    }

    /// Forgets every judgement: what the worker can do has changed.
    pub fn forget(&mut self) {
        self.picture.forget();
    }

    /// The classes to claim from and to wait for, as far as is known: those that fit and are not left out.
    pub fn open(&self) -> &BTreeSet<String> {
        self.picture.open()
    }

    /// Whether a claim was sent whose answer has not come: the next one must go, since that may have been a job.
    pub fn is_owed_an_answer(&self) -> bool {
        self.unanswered.is_some()
    }

    /// From now on claims from no class of these services, until told otherwise.
    pub fn leave_out(&mut self, left_out: LeftOut) {
        self.picture.leave_out(left_out);
    }

    /// Whether anything that fits may be left out.
    pub fn leaves_out(&self) -> bool {
        self.picture.leaves_out()
    }

    /// Whether this class fits, and is left out.
    pub fn leaves_out_class(&self, class: &str) -> bool {
        self.service_of(class).is_some() && !self.open().contains(class)
    }

    /// The service of a class that fits, if it names one; `None`: the class is not known to fit.
    pub fn service_of(&self, class: &str) -> Option<Option<&str>> {
        self.picture.service_of(class)
    }

    /// Hears of a birth. Who knew all classes before it knows all of them with it.
    pub fn learn_birth(&mut self, birth: &Birth, judgement: Judgement) {
        if self.picture.version == birth.previous && judgement != Judgement::Incomplete {
            self.picture.version.clone_from(&birth.version);
        }
        self.picture.learn(&birth.class, judgement);
    }

    /// Asks for the best job that fits, as this instance of the worker. What is wanted of the worker is heard on the way.
    pub async fn ask(
        &mut self,
        link: &Link,
        space: &Space,
        (instance, control): (&str, &Control),
        judge: &(dyn Fn(&str) -> Judgement + Sync),
    ) -> RedisResult<Asked> {
        let token = self.unanswered.get_or_insert_with(|| new_token(&self.worker)).clone();
        let mut learned = 0;
        let mut force = false;
        for _ in 0..ROUNDS {
            let request = ClaimRequest {
                token: &token,
                worker: &self.worker,
                lease_ms: self.lease.as_millis() as u64,
                version: &self.picture.version,
                force,
                fitting: self.picture.packed(),
                instance,
            };
            let history = link.history();
            let claiming = link.call(async |con| match link.may_claim() {
                true => space.claim(con, &request).await.map(Some),
                false => Ok(None),
            });
            let Some(reply) = claiming.await? else {
                link.until_claims_may_go().await;
                continue;
            };
            match reply {
                ClaimReply::Job(job) => {
                    reach(Point::ClaimAnswered);
                    self.unanswered = None;
                    return Ok(Asked::Job(job, token));
                }
                ClaimReply::Nothing { .. } if self.complete(link, space).await? => force = false,
                ClaimReply::Nothing { next_due_ms, avoiding } => {
                    self.unanswered = None;
                    let due = next_due_ms.map(Duration::from_millis);
                    let avoiding = avoiding.into_iter().map(|(class, ms)| (class, Duration::from_millis(ms)));
                    return Ok(Asked::Nothing { due, avoiding: avoiding.collect() });
                }
                ClaimReply::Classes { version, definitions } => {
                    let definitions = match definitions {
                        Some(definitions) => definitions,
                        None => read_classes(link, space).await?,
                    };
                    self.take_in(link, space, version, definitions, judge).await?;
                    learned += 1;
                    // It changes faster than it can be read: what is known must do for now.
                    force = learned >= 2;
                }
                ClaimReply::Index { id } => {
                    if self.stuck.as_ref() != Some(&id) {
                        let settled = index_front(link, space).await?.settled;
                        self.stuck = (settled == 0).then_some(id);
                    }
                    force = self.stuck.is_some();
                }
                ClaimReply::More => {}
                ClaimReply::Superseded => {
                    self.unanswered = None;
                    return Ok(Asked::Superseded);
                }
                ClaimReply::Paused(wanted) => {
                    self.unanswered = None;
                    control.hear(link, history, wanted);
                    return Ok(Asked::Paused);
                }
            }
        }
        self.unanswered = None;
        Ok(Asked::Nothing { due: Some(Duration::ZERO), avoiding: Vec::new() })
    }

    async fn take_in(
        &mut self,
        link: &Link,
        space: &Space,
        version: String,
        definitions: Vec<(String, String)>,
        judge: &(dyn Fn(&str) -> Judgement + Sync),
    ) -> RedisResult<()> {
        let present: BTreeSet<&str> = definitions.iter().map(|(class, _)| class.as_str()).collect();
        self.picture.retain(&present);
        for (class, definition) in &definitions {
            if self.picture.knows(class) {
                continue;
            }
            let judgement = judge(definition);
            if judgement == Judgement::Incomplete {
                self.picture.incomplete.insert(class.clone());
            }
            self.picture.learn(class, judgement);
        }
        self.complete(link, space).await?;
        self.picture.version = version;
        Ok(())
    }

    /// Has the jobs of incomplete classes indexed anew; true if there were any.
    async fn complete(&self, link: &Link, space: &Space) -> RedisResult<bool> {
        let mut any = false;
        for class in &self.picture.incomplete {
            loop {
                let settled = reclassify(link, space, class).await?.settled;
                any |= settled > 0;
                if settled < super::index::PAGE {
                    break;
                }
            }
        }
        Ok(any)
    }
}

async fn read_classes(link: &Link, space: &Space) -> RedisResult<Vec<(String, String)>> {
    let all: BTreeMap<String, String> =
        link.call(async |con| redis::cmd("HGETALL").arg(space.key("jobs:classes")).query_async(con).await).await?;
    Ok(all.into_iter().filter(|(class, _)| class != "_v").collect())
}
