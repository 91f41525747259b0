//! Claiming for one worker: keeps its picture of the classes up to date and asks for the best job that fits.
//! In: a judge that tells whether a class fits. Out: held jobs.

use super::control::Control;
use super::index::{index_front, reclassify};
use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::{ClaimReply, ClaimRequest, ClaimedJob};
use crate::protocol::ids::new_token;
use failpoints::{Point, reach};
use redis::RedisResult;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a worker makes of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It can run these jobs.
    Fits,
    /// It cannot.
    Misfit,
    /// The class was made without a job field that this worker must know: its jobs are to be indexed again.
    Incomplete,
}

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
    /// Nothing fits now; the next delayed job is due after this long.
    Nothing(Option<Duration>),
    /// A newer process has this worker id.
    Superseded,
    /// Somebody wants this worker to claim no more; its control has heard so.
    Paused,
}

/// One worker's claims.
pub struct Claimer {
    worker: String,
    lease: Duration,
    version: String,
    verdicts: BTreeMap<String, bool>,
    fitting: BTreeSet<String>,
    packed: String,
    /// Classes made without a job field that this worker must know. Jobs that come back still land in them.
    incomplete: BTreeSet<String>,
    /// A job at the front of the queue that cannot be indexed: it must not stop those behind it.
    stuck: Option<String>,
    /// A claim whose answer was lost: asked again with the same token, it answers the same job.
    unanswered: Option<String>,
}

impl Claimer {
    /// Claims for this worker, each held for `lease` unless renewed.
    pub fn new(worker: &str, lease: Duration) -> Self {
        Self {
            worker: worker.to_owned(),
            lease,
            version: String::new(),
            verdicts: BTreeMap::new(),
            fitting: BTreeSet::new(),
            packed: String::new(),
            incomplete: BTreeSet::new(),
            stuck: None,
            unanswered: None,
        }
    }

    /// Forgets every judgement: what the worker can do has changed.
    pub fn forget(&mut self) {
        self.version.clear();
        self.verdicts.clear();
        self.fitting.clear();
        self.packed.clear();
        self.incomplete.clear();
    }

    /// The classes that fit, as far as is known.
    pub fn fitting(&self) -> &BTreeSet<String> {
        &self.fitting
    }

    /// Hears of a birth. Who knew all classes before it knows all of them with it.
    pub fn learn_birth(&mut self, birth: &Birth, judgement: Judgement) {
        self.learn(&birth.class, judgement);
        if self.version == birth.previous && judgement != Judgement::Incomplete {
            self.version.clone_from(&birth.version);
        }
    }

    /// Hears of a new class. True if it fits and was not known to.
    pub fn learn(&mut self, class: &str, judgement: Judgement) -> bool {
        let fits = judgement == Judgement::Fits;
        let news = self.verdicts.insert(class.to_owned(), fits) != Some(fits);
        if !news {
            return false;
        }
        if fits {
            self.fitting.insert(class.to_owned());
        } else {
            self.fitting.remove(class);
        }
        self.packed = self.fitting.iter().map(String::as_str).collect();
        fits
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
                version: &self.version,
                force,
                fitting: &self.packed,
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
                ClaimReply::Nothing { next_due_ms } => {
                    self.unanswered = None;
                    return Ok(Asked::Nothing(next_due_ms.map(Duration::from_millis)));
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
        Ok(Asked::Nothing(Some(Duration::ZERO)))
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
        self.verdicts.retain(|class, _| present.contains(class.as_str()));
        self.fitting.retain(|class| present.contains(class.as_str()));
        self.incomplete.retain(|class| present.contains(class.as_str()));
        self.packed = self.fitting.iter().map(String::as_str).collect();
        for (class, definition) in &definitions {
            if self.verdicts.contains_key(class) {
                continue;
            }
            let judgement = judge(definition);
            if judgement == Judgement::Incomplete {
                self.incomplete.insert(class.clone());
            }
            self.learn(class, judgement);
        }
        self.complete(link, space).await?;
        self.version = version;
        Ok(())
    }

    /// Has the jobs of incomplete classes indexed anew; true if there were any.
    async fn complete(&self, link: &Link, space: &Space) -> RedisResult<bool> {
        let mut any = false;
        for class in &self.incomplete {
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
