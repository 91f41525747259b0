//! Jobs that other programs put into Redis by hand, and how fast they become claimable.
//! In: HSET and ZADD for each. Out: jobs a second, and the longest time that the server was busy with one script.

use crate::stage::Stage;
use crate::table::{Table, us};
use gpu_worker::queue::sweep;
use std::time::Instant;

const JOBS: usize = 100_000;

pub async fn run(table: &mut Table) {
    for classes in [1, 1000] {
        let stage = Stage::set().await;
        let began = Instant::now();
        put_foreign(&stage, JOBS, classes).await;
        let rate = JOBS as f64 / began.elapsed().as_secs_f64();
        let bare = table.yardstick("HSET and ZADD alone, pipelined", "jobs/s", &[rate]);
        let () = stage.ask(redis::cmd("CONFIG").arg(&["SET", "slowlog-log-slower-than", "500"])).await;
        let () = stage.ask(redis::cmd("CONFIG").arg(&["SET", "slowlog-max-len", "10000"])).await;
        let began = Instant::now();
        let (pages, longest_page) = index_all(&stage).await;
        let rate = JOBS as f64 / began.elapsed().as_secs_f64();
        table.single(&format!("indexing, {classes} classes"), "jobs/s", JOBS, rate, Some(&bare));
        table.single("  longest page, with its round trips", "us", pages, longest_page, None);
        let slow: Vec<(u64, u64, f64, Vec<redis::Value>, String, String)> =
            stage.ask(redis::cmd("SLOWLOG").arg(&["GET", "-1"])).await;
        let is_script = |words: &[redis::Value]| words.first() == Some(&redis::Value::BulkString(b"EVALSHA".to_vec()));
        let scripts: Vec<f64> = slow.iter().filter(|entry| is_script(&entry.3)).map(|entry| entry.2).collect();
        table.spread("  scripts above 0.5 ms, server time", "us", &scripts, None);
    }
}

/// Puts waiting jobs of so many classes into the queue as a foreign producer does.
pub async fn put_foreign(stage: &Stage, jobs: usize, classes: usize) {
    let now = gpu_worker::queue::announce::now_ms();
    let payload = "x".repeat(200);
    for page in 0..jobs.div_ceil(1000) {
        let mut pipe = redis::pipe();
        for at in page * 1000..((page + 1) * 1000).min(jobs) {
            let id = format!("foreign-{at:07}");
            let requirements = format!("{{\"positive\":{{\"shelf\":\"{}\"}}}}", at % classes);
            pipe.cmd("HSET").arg(format!("job:{id}")).arg(&[
                ("id", id.as_str()),
                ("service_required", "elsewhere"),
                ("priority", "50"),
                ("payload", &format!("{{\"text\":\"{payload}\"}}")),
                ("requirements", &requirements),
                ("created_at", "2026-01-01T00:00:00.000Z"),
                ("status", "pending"),
                ("retry_count", "0"),
                ("max_retries", "3"),
            ]);
            pipe.ignore();
            pipe.cmd("ZADD").arg("jobs:pending").arg(50e15 - (now / 1000) as f64).arg(&id).ignore();
        }
        pipe.exec_async(&mut stage.con.clone()).await.expect("foreign jobs");
    }
}

/// Indexes everything as the sweeper does; answers how many pages it took and the longest of them in microseconds.
pub async fn index_all(stage: &Stage) -> (usize, f64) {
    let (mut cursor, mut pages, mut longest) = (Some(String::new()), 0, 0.0_f64);
    while let Some(at) = cursor {
        let began = Instant::now();
        (cursor, _) = sweep::page(&stage.link, &stage.space, &at).await.expect("a page");
        longest = longest.max(us(began.elapsed()));
        pages += 1;
    }
    (pages, longest)
}
