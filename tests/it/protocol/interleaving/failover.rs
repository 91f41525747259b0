//! A failover: the queue is what a replica had of it, and what was acknowledged since is gone.
//! In: the queue at one moment. Out: the same again, later.

use super::world::World;
use crate::protocol::scene::Scene;
use std::collections::BTreeMap;

/// What a replica has, and what was true then.
pub struct Copy {
    /// Key, time to live in ms (0: none), value as `DUMP` gives it.
    keys: Vec<(String, u64, Vec<u8>)>,
    jobs: Vec<String>,
    accepted: BTreeMap<(String, String), u32>,
}

impl Copy {
    pub async fn take(world: &World<'_>) -> Self {
        let scene = world.scene;
        let names: Vec<String> = scene.run(&["KEYS", "*"]).await;
        let mut keys = Vec::new();
        for name in names {
            let left: i64 = scene.run(&["PTTL", &name]).await;
            let value: Option<Vec<u8>> = scene.run(&["DUMP", &name]).await;
            keys.extend(value.map(|value| (name, u64::try_from(left).unwrap_or(0), value)));
        }
        Self { keys, jobs: world.jobs.clone(), accepted: world.accepted.clone() }
    }

    /// The replica is the master now. Jobs that it has not heard of are gone, and so are results.
    pub async fn put_back(self, world: &mut World<'_>) {
        let scene: &Scene = world.scene;
        let _: String = scene.run(&["FLUSHALL"]).await;
        for (name, left, value) in &self.keys {
            let mut command = redis::cmd("RESTORE");
            command.arg(name).arg(left).arg(value).exec_async(&mut scene.con()).await.unwrap();
        }
        world.jobs = self.jobs;
        world.accepted = self.accepted;
    }
}
