//! Indexing: foreign jobs get their class and order, or are refused with a clear error.
//! In: ids of waiting jobs. Out: how many became claimable.

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::class::{Class, MAX_REQUIREMENTS_BYTES};
use crate::protocol::foreign::{Indexed, ToIndex};
use crate::protocol::ids::is_legal_job_id;
use crate::protocol::order::{OrderFields, order};
use crate::protocol::submit::QueueLimits;
use crate::telemetry::{Notice, tell};
use failpoints::{Point, reach};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Jobs looked at in one go: keeps the script under a few milliseconds.
pub const PAGE: usize = 200;

/// What a hash says of itself, as far as indexing needs it; `created_at` first.
const READ: [&str; 7] =
    ["created_at", "service_required", "requirements", "priority", "workflow_priority", "workflow_datetime", "status"];

/// What one page of indexing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexedPage {
    /// Jobs looked at.
    pub seen: usize,
    /// Jobs that became claimable, or that left the queue.
    pub settled: usize,
}

/// Indexes the first jobs of `jobs:pending` that are not.
pub async fn index_front(link: &Link, space: &Space) -> RedisResult<IndexedPage> {
    let ids: Vec<Vec<u8>> = link
        .call(async |con| {
            redis::cmd("ZREVRANGE").arg(space.key("jobs:pending")).arg(0).arg(PAGE - 1).query_async(con).await
        })
        .await?;
    index(link, space, &ids).await
}

/// Makes the class of up to [`PAGE`] jobs of this class anew, because more job fields matter than it was made with.
pub async fn reclassify(link: &Link, space: &Space, class: &str) -> RedisResult<IndexedPage> {
    let ids: Vec<Vec<u8>> = link
        .call(async |con| {
            redis::cmd("ZRANGE").arg(space.key("jobs:class:") + class).arg(0).arg(PAGE - 1).query_async(con).await
        })
        .await?;
    index(link, space, &ids).await
}

/// Indexes these jobs.
pub async fn index(link: &Link, space: &Space, ids: &[Vec<u8>]) -> RedisResult<IndexedPage> {
    let mut page = IndexedPage::default();
    for ids in ids.chunks(PAGE) {
        let found = index_page(link, space, ids).await?;
        page.seen += found.seen;
        page.settled += found.settled;
    }
    Ok(page)
}

async fn index_page(link: &Link, space: &Space, ids: &[Vec<u8>]) -> RedisResult<IndexedPage> {
    if ids.is_empty() {
        return Ok(IndexedPage::default());
    }
    link.call(async |con| {
        let extra: BTreeSet<String> =
            redis::cmd("SMEMBERS").arg(space.key("jobs:class:fields")).query_async(con).await?;
        let now: (i64, i64) = redis::cmd("TIME").query_async(con).await?;
        let now_ms = now.0 * 1000 + now.1 / 1000;
        let hashes = read(con, space, ids, &extra).await?;
        let mut batch = Vec::with_capacity(ids.len());
        let mut settled = 0;
        for (id, fields) in ids.iter().zip(hashes) {
            match prepare(id, fields.as_ref(), &extra, now_ms) {
                Ok(job) => batch.push(job),
                Err(why) => {
                    let life = fields.as_ref().map(|read| read.life.as_slice()).unwrap_or_default();
                    let name = String::from_utf8_lossy(id);
                    if space.reject(con, &name, life, "invalid_payload", &why).await? {
                        reach(Point::Rejected);
                        tell(Notice::Rejected { job: &name, why: &why });
                        settled += 1;
                    }
                }
            }
        }
        let mut left_out = 0;
        let answers =
            if batch.is_empty() { Vec::new() } else { space.index(con, &batch, QueueLimits::default()).await? };
        if !answers.is_empty() {
            reach(Point::Indexed);
        }
        for (job, answer) in batch.iter().zip(&answers) {
            match answer {
                Indexed::Indexed | Indexed::Gone | Indexed::Ended => settled += 1,
                Indexed::Expelled => {
                    settled += 1;
                    tell(Notice::Expelled { id: job.id.escape_ascii().to_string() });
                }
                Indexed::TooManyClasses => left_out += 1,
                Indexed::Kept | Indexed::Changed => {}
            }
        }
        if left_out > 0 {
            tell_once_a_minute(left_out);
        }
        Ok(IndexedPage { seen: ids.len(), settled })
    })
    .await
}

/// The same jobs are met in every round of the sweep.
fn tell_once_a_minute(left_out: usize) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if last.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
        *last = Some(Instant::now());
        tell(Notice::TooManyClasses { left_out });
    }
}

/// What was read of one job's hash.
struct Fields {
    texts: BTreeMap<String, String>,
    /// Length of requirements that are too long to be read.
    too_long: Option<usize>,
    /// `created_at` to the byte: the script compares it.
    life: Vec<u8>,
}

/// The fields of each job; `None` where there is no hash of that name.
async fn read(
    con: &mut MultiplexedConnection,
    space: &Space,
    ids: &[Vec<u8>],
    extra: &BTreeSet<String>,
) -> RedisResult<Vec<Option<Fields>>> {
    let names: Vec<&str> = READ.into_iter().chain(extra.iter().map(String::as_str)).collect();
    let mut asking = redis::pipe();
    asking.ignore_errors();
    for id in ids {
        asking.cmd("HSTRLEN").arg([space.key("job:").as_bytes(), id].concat()).arg("requirements");
    }
    let lengths: Vec<RedisResult<usize>> = asking.query_async(con).await?;
    let too_long: Vec<Option<usize>> =
        lengths.into_iter().map(|length| length.ok().filter(|bytes| *bytes > MAX_REQUIREMENTS_BYTES)).collect();
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    for (id, too_long) in ids.iter().zip(&too_long) {
        let key = [space.key("job:").as_bytes(), id].concat();
        let asked = names.iter().map(|name| match (*name, too_long) {
            ("requirements", Some(_)) => "status",
            (name, _) => name,
        });
        pipe.cmd("HMGET").arg(key).arg(asked.collect::<Vec<&str>>());
    }
    let answers: Vec<RedisResult<Vec<Option<Vec<u8>>>>> = pipe.query_async(con).await?;
    Ok(answers
        .into_iter()
        .zip(too_long)
        .map(|(answer, too_long)| {
            // Not a hash at all, or no such key: nothing there to run.
            let values = answer.ok().filter(|values| values.iter().any(Option::is_some))?;
            let life = values[0].clone().unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let texts = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), text(value?))));
            Some(Fields { texts: texts.collect(), too_long, life })
        })
        .collect())
}

fn prepare(id: &[u8], fields: Option<&Fields>, extra: &BTreeSet<String>, now_ms: i64) -> Result<ToIndex, String> {
    // An id that no key can be named by is expelled, whatever stands in its hash.
    let Some(fields) = fields.filter(|_| std::str::from_utf8(id).is_ok_and(is_legal_job_id)) else {
        return Ok(ToIndex {
            id: id.to_vec(),
            class: Default::default(),
            order: String::new(),
            life: Vec::new(),
            exists: false,
        });
    };
    if let Some(bytes) = fields.too_long {
        return Err(format!("requirements is {bytes} bytes long, more than the {MAX_REQUIREMENTS_BYTES} allowed"));
    }
    let get = |name: &str| fields.texts.get(name).map(String::as_str);
    let class = Class::of(get, extra).map_err(|error| error.to_string())?;
    Ok(ToIndex {
        id: id.to_vec(),
        class: (class.id().to_string(), class.definition().to_owned()),
        order: order(&OrderFields::of(get), now_ms).to_string(),
        life: fields.life.clone(),
        exists: true,
    })
}
