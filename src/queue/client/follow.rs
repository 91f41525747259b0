//! Reading a job's event log, at once or as it grows.
//! In: a job's id. Out: its events, oldest first.

use super::lossy;
use crate::protocol::Space;
use crate::protocol::event::Event;
use crate::queue::link::{Dedicated, Link};
use redis::streams::{StreamRangeReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, RedisResult};
use std::time::Duration;

const BLOCK: Duration = Duration::from_secs(2);

/// Events of a job, from its first or from behind the last one seen.
pub struct Follower {
    stream: String,
    last: String,
    connection: Option<Dedicated>,
}

impl Follower {
    /// Follows this job from the beginning of its log.
    pub fn new(space: &Space, id: &str) -> Self {
        Self { stream: space.key("job:events:") + id, last: "0".to_owned(), connection: None }
    }

    /// The next events; empty if none came for a while.
    pub async fn next(&mut self, link: &Link) -> RedisResult<Vec<Event>> {
        let options = StreamReadOptions::default().block(BLOCK.as_millis() as usize).count(200);
        let (stream, last) = (&self.stream, &self.last);
        // The server answers by then; a connection that does not is dead.
        let reading = link.blocking(&mut self.connection, BLOCK * 2, async |con| {
            con.xread_options(&[stream], &[last], &options).await
        });
        let reply: Option<StreamReadReply> = reading.await?;
        let reply = reply.unwrap_or_default();
        let events: Vec<Event> = reply.keys.into_iter().flat_map(|key| key.ids).map(event).collect();
        if let Some(newest) = events.last() {
            self.last = newest.id.clone();
        }
        Ok(events)
    }
}

fn event(entry: redis::streams::StreamId) -> Event {
    let text = |value: &redis::Value| redis::from_redis_value_ref(value).map(lossy).unwrap_or_default();
    // The map has no order of its own: by name, with `type` first.
    let mut fields: Vec<(String, String)> = entry.map.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    fields.sort_by(|a, b| (a.0 != "type", &a.0).cmp(&(b.0 != "type", &b.0)));
    Event { id: entry.id, fields }
}

/// All events of a job so far.
pub async fn events(link: &Link, space: &Space, id: &str) -> RedisResult<Vec<Event>> {
    let stream = space.key("job:events:") + id;
    let reply: StreamRangeReply = link.call(async |con| con.xrange_all(&stream).await).await?;
    Ok(reply.ids.into_iter().map(event).collect())
}
