//! All of the queue at one moment, by one script.
//! In: a connection. Out: a picture; a mark of it stands in MONITOR where it was taken.

use super::picture::{FIELDS, Job, Picture, claim_in};
use redis::{Connection, RedisResult};
use std::collections::BTreeMap;

const SCRIPT: &str = "-- theirs: a picture of the queue, marked by its last argument
local prefix, fields = ARGV[1], {}
for i = 2, #ARGV - 1 do fields[#fields + 1] = ARGV[i] end
local jobs, classes, active = {}, {}, {}
local function bare(key) return string.sub(key, #prefix + 1) end
for _, key in ipairs(redis.call('KEYS', prefix .. 'job*')) do
  local name = bare(key)
  local id = string.match(name, '^job:([^:]+)$')
  if id and redis.call('TYPE', key).ok == 'hash' then
    local row = { id }
    for i, value in ipairs(redis.call('HMGET', key, unpack(fields))) do
      if value then row[#row + 1] = fields[i]; row[#row + 1] = value end
    end
    jobs[#jobs + 1] = row
  elseif string.match(name, '^jobs:class:%x+$') and redis.call('TYPE', key).ok == 'zset' then
    classes[#classes + 1] = { string.sub(name, 12), unpack(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')) }
  elseif string.match(name, '^jobs:active:') then
    active[#active + 1] = { string.sub(name, 13), unpack(redis.call('HGETALL', key)) }
  end
end
local function all(name) return redis.call('ZRANGE', prefix .. name, 0, -1, 'WITHSCORES') end
return { jobs, classes, active, { all('jobs:leases'), all('jobs:pending'), all('jobs:delayed'), all('jobs:heads') } }";

type Rows = Vec<Vec<String>>;

/// Takes one. `mark` tells it in MONITOR from others.
pub fn take(con: &mut Connection, prefix: &str, mark: &str) -> RedisResult<Picture> {
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(0).arg(prefix).arg(&FIELDS[..]).arg(mark);
    let (jobs, classes, active, sets): (Rows, Rows, Rows, Rows) = command.query(con)?;
    let mut picture = Picture::default();
    prefix.clone_into(&mut picture.prefix);
    for row in jobs {
        let Some((id, pairs)) = row.split_first() else { continue };
        let fields = pairs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        picture.jobs.insert(id.clone(), Job { fields, ..Job::default() });
    }
    let score = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    for row in classes {
        let Some((class, pairs)) = row.split_first() else { continue };
        for pair in pairs.chunks_exact(2) {
            picture.jobs.entry(pair[0].clone()).or_default();
            picture.place(class, &pair[0], Some(score(&pair[1])));
        }
    }
    for row in active {
        let Some((worker, pairs)) = row.split_first() else { continue };
        for pair in pairs.chunks_exact(2) {
            picture.jobs.entry(pair[0].clone()).or_default().active.insert(worker.clone(), claim_in(&pair[1]));
        }
    }
    let pairs = |at: usize| -> BTreeMap<String, f64> {
        let row = sets.get(at).map_or(&[][..], Vec::as_slice);
        row.chunks_exact(2).map(|pair| (pair[0].clone(), score(&pair[1]))).collect()
    };
    for (id, at) in pairs(0) {
        picture.jobs.entry(id).or_default().lease = Some(at);
    }
    for (id, _) in pairs(1) {
        picture.jobs.entry(id).or_default().pending = true;
    }
    for (id, _) in pairs(2) {
        picture.jobs.entry(id).or_default().delayed = true;
    }
    picture.heads = pairs(3);
    Ok(picture)
}
