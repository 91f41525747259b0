//! The dashboards of this machine: each agent says where its own is, and hears of the others.
//! In: our URL once there is one. Out: a field of `machine:{id}:dashboards`; the others' URLs for whoever shows them.

use crate::dashboard::Sibling;
use crate::queue::announce::now_ms;
use crate::queue::link::unless;
use crate::runner::shared::Shared;
use redis::RedisResult;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(10);
/// One that has not been heard of for so long is gone. The clock is the machine's, the same for all of them.
const FRESH_MS: i64 = 35_000;
/// The hash goes when the last agent has gone.
const TTL_SECONDS: u64 = 3600;

#[derive(Serialize, Deserialize)]
struct Entry {
    url: String,
    at: i64,
}

/// What is known of them.
#[derive(Default)]
pub struct Siblings {
    own_url: watch::Sender<Option<String>>,
    /// Each with the time that it was last heard of.
    known: Mutex<Vec<(Sibling, i64)>>,
}

impl Siblings {
    /// Where our URL is to be put once there is one.
    pub fn own_url(&self) -> watch::Sender<Option<String>> {
        self.own_url.clone()
    }

    /// The others, by worker id.
    pub fn known(&self) -> Vec<Sibling> {
        self.fresh(now_ms())
    }

    /// While Redis is away nobody is heard of, and all grow old.
    fn fresh(&self, now: i64) -> Vec<Sibling> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, at)| is_fresh(*at, now)).map(|(one, _)| one.clone()).collect()
    }

    fn learn(&self, fields: BTreeMap<String, String>, me: &str, now: i64) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = read(fields, me, now);
    }

    /// Says and hears until told to stop. What fails is done again.
    pub async fn keep(&self, shared: &Shared, me: &str, beat: impl Fn(), stop: CancellationToken) {
        let key = shared.space.key(&format!("machine:{}:dashboards", shared.machine));
        let mut own_url = self.own_url.subscribe();
        loop {
            beat();
            let own = own_url.borrow_and_update().clone();
            if let Ok(fields) = exchange(shared, &key, me, own.as_deref()).await {
                self.learn(fields, me, now_ms());
            }
            let waiting = async {
                tokio::select! {
                    _ = own_url.changed() => {}
                    () = tokio::time::sleep(PERIOD) => {}
                }
            };
            if unless(&stop, waiting).await.is_none() {
                break;
            }
        }
        let leaving = shared.link.call(async |con| redis::cmd("HDEL").arg(&key).arg(me).exec_async(con).await);
        let _ = tokio::time::timeout(Duration::from_secs(1), leaving).await;
    }
}

async fn exchange(shared: &Shared, key: &str, me: &str, own: Option<&str>) -> RedisResult<BTreeMap<String, String>> {
    let mut pipe = redis::pipe();
    if let Some(url) = own {
        let entry = Entry { url: url.to_owned(), at: now_ms() };
        let entry = serde_json::to_string(&entry).unwrap_or_default();
        pipe.cmd("HSET").arg(key).arg(me).arg(entry).ignore().cmd("EXPIRE").arg(key).arg(TTL_SECONDS).ignore();
    }
    pipe.cmd("HGETALL").arg(key);
    let (fields,) = shared.link.call(async |con| pipe.query_async(con).await).await?;
    Ok(fields)
}

fn is_fresh(at: i64, now: i64) -> bool {
    (now - FRESH_MS..=now + FRESH_MS).contains(&at)
}

/// Anybody can write into Redis: what the page makes a link of is held to the form that agents give it.
fn read(fields: BTreeMap<String, String>, me: &str, now: i64) -> Vec<(Sibling, i64)> {
    let own_form = |text: &str| {
        let url = url::Url::parse(text).ok()?;
        let is_address = matches!(url.host()?, url::Host::Ipv4(_) | url::Host::Ipv6(_));
        (is_address && url.scheme() == "http" && format!("http://{}:{}/", url.host()?, url.port()?) == text)
            .then_some(())
    };
    fields
        .into_iter()
        .filter(|(worker, _)| worker != me)
        .filter_map(|(worker, text)| {
            let Entry { url, at } = serde_json::from_str(&text).ok()?;
            own_form(&url)?;
            is_fresh(at, now).then_some((Sibling { worker, url }, at))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fresh_urls_of_the_agents_own_form_become_links() {
        let entry = |url: &str, at: i64| serde_json::to_string(&Entry { url: url.to_owned(), at }).unwrap_or_default();
        let fields = [
            ("me", entry("http://127.0.0.1:1511/", 1_000_000)),
            ("good", entry("http://127.0.0.1:1512/", 1_000_000)),
            ("six", entry("http://[::1]:1513/", 990_000)),
            ("old", entry("http://127.0.0.1:1514/", 900_000)),
            ("script", entry("javascript:alert(1)", 1_000_000)),
            ("named", entry("http://evil.example.com:1512/", 1_000_000)),
            ("path", entry("http://127.0.0.1:1512/x?y", 1_000_000)),
            ("secret", entry("http://a:b@127.0.0.1:1512/", 1_000_000)),
            ("garbage", "{".to_owned()),
        ];
        let known = read(fields.map(|(name, text)| (name.to_owned(), text)).into(), "me", 1_000_000);
        let links: Vec<_> = known.iter().map(|(one, _)| (one.worker.as_str(), one.url.as_str())).collect();
        assert_eq!(links, [("good", "http://127.0.0.1:1512/"), ("six", "http://[::1]:1513/")]);
    }

    #[test]
    fn a_link_goes_when_its_agent_was_not_heard_of_for_long_even_while_redis_is_away() {
        let siblings = Siblings::default();
        let entry = Entry { url: "http://127.0.0.1:1512/".to_owned(), at: 1_000_000 };
        let fields = [("other".to_owned(), serde_json::to_string(&entry).unwrap_or_default())];
        siblings.learn(fields.into(), "me", 1_010_000);
        assert_eq!(siblings.fresh(1_000_000 + FRESH_MS).len(), 1);
        assert_eq!(siblings.fresh(1_000_001 + FRESH_MS).len(), 0);
    }
}
