//! One gust: an agent is killed, and now and then something else goes wrong.
//! In: what may go wrong, and dice. Out: it has.

use super::fleet::Fleet;
use super::plan::{Dice, Plan, Trouble};
use super::record::NAME as RECORDER;
use crate::support::RedisServer;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of connections that a storm does not touch.
pub const SPARED: &str = "spared";

/// What may go wrong beside kills, and how often in proportion.
const OTHERS: [(Trouble, u64); 5] =
    [(Trouble::Freeze, 5), (Trouble::Disconnect, 3), (Trouble::Flush, 3), (Trouble::Engine, 4), (Trouble::Redis, 1)];

pub struct Gusts<'a> {
    plan: &'a Plan,
    /// Kills; which else; when and how.
    dice: [Dice; 3],
    pub done: u64,
    pub counts: BTreeMap<&'static str, u64>,
}

impl<'a> Gusts<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        let dice = [!plan.seed, plan.seed ^ 0x6057, plan.seed ^ 0x0ff].map(Dice);
        Self { plan, dice, done: 0, counts: BTreeMap::new() }
    }

    /// Waits for it.
    pub async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice[0].between(50, 500))).await;
    }

    pub async fn blow(&mut self, server: &mut RedisServer, fleet: &mut Fleet) {
        fleet.tend();
        if self.plan.has(Trouble::Kill) {
            fleet.kill_one(&mut self.dice[0]);
        }
        self.done += 1;
        let others: Vec<(Trouble, u64)> = OTHERS.into_iter().filter(|(trouble, _)| self.plan.has(*trouble)).collect();
        let sum: u64 = others.iter().map(|(_, weight)| weight).sum();
        // Where nothing is killed, something else happens each time.
        if sum == 0 || self.plan.has(Trouble::Kill) && !self.dice[1].once_in(3) {
            return;
        }
        let mut at = self.dice[1].between(1, sum);
        for (trouble, weight) in others {
            if at <= weight {
                return self.strike(trouble, server, fleet).await;
            }
            at -= weight;
        }
    }

    async fn strike(&mut self, trouble: Trouble, server: &mut RedisServer, fleet: &mut Fleet) {
        let dice = &mut self.dice[2];
        let name = match trouble {
            Trouble::Freeze => {
                fleet.freeze_one(dice);
                return;
            }
            Trouble::Disconnect => {
                disconnect(server).await;
                "times that all connections were cut"
            }
            Trouble::Flush => {
                let _: String = server.run(&["SCRIPT", "FLUSH"]).await;
                "times that Redis forgot all scripts"
            }
            Trouble::Engine => {
                let at = dice.between(0, fleet.engines.len() as u64 - 1);
                fleet.engines[at as usize].restart();
                "engines restarted with nothing in them"
            }
            Trouble::Redis => {
                server.kill();
                tokio::time::sleep(Duration::from_millis(dice.between(0, 400))).await;
                server.revive().await;
                spare(server).await;
                "times that Redis was killed and came back"
            }
            Trouble::Kill | Trouble::Clock | Trouble::Foreign | Trouble::Cancel => return,
        };
        *self.counts.entry(name).or_default() += 1;
    }
}

/// Keeps the connection of the storm itself.
pub async fn spare(server: &RedisServer) {
    let _: String = server.run(&["CLIENT", "SETNAME", SPARED]).await;
}

/// Kills every connection but the storm's own and the recorder's.
async fn disconnect(server: &RedisServer) {
    let list: String = server.run(&["CLIENT", "LIST"]).await;
    for client in list.lines() {
        let of = |name: &str| client.split(' ').find_map(|part| part.strip_prefix(name)).unwrap_or_default();
        if ![SPARED, RECORDER].contains(&of("name=")) {
            let _: u64 = server.run(&["CLIENT", "KILL", "ID", of("id=")]).await;
        }
    }
}
