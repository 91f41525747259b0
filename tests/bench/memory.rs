//! What a waiting job costs in Redis.
//! In: many submissions that nobody claims. Out: bytes a job.

use crate::indexing;
use crate::stage::{Stage, quick};
use crate::table::Table;

const JOBS: usize = 20_000;

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let empty = stage.memory().await;
    indexing::put_foreign(&stage, JOBS, 1).await;
    let bare = (stage.memory().await - empty) / JOBS as f64;
    let bare = table.yardstick("a hash and its entry in one sorted set", "bytes", &[bare]);
    indexing::index_all(&stage).await;
    let indexed = (stage.memory().await - empty) / JOBS as f64;
    table.single("a foreign job, indexed", "bytes", JOBS, indexed, Some(&bare));

    let stage = Stage::set().await;
    let empty = stage.memory().await;
    for _ in 0..JOBS {
        stage.submit(quick()).await;
    }
    let submitted = (stage.memory().await - empty) / JOBS as f64;
    table.single("a submitted job, with its event stream", "bytes", JOBS, submitted, Some(&bare));
}
