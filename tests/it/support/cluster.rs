//! A Redis Cluster of the test's own: real nodes on free ports.

use super::{RedisServer, free_port, until};

const SLOTS: u16 = 16384;
/// A node that is silent for so long, in ms, is replaced by its replica.
const NODE_TIMEOUT: &str = "1000";

/// Three masters, which share the slots, and the replicas that were asked for.
pub struct Cluster {
    pub nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts three masters and waits until they serve every slot.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node().await);
        }
        for (at, node) in nodes.iter().enumerate() {
            let slots = (0..SLOTS).filter(|slot| usize::from(*slot) * 3 / usize::from(SLOTS) == at);
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            let _: () = node.run(&words).await;
            let _: () = node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
            meet(node, &nodes[0]).await;
        }
        let cluster = Self { nodes };
        cluster.agrees().await;
        cluster
    }

    /// Adds a replica of this node and waits until it has everything.
    pub async fn add_replica_of(&mut self, master: usize) {
        let replica = node().await;
        meet(&replica, &self.nodes[0]).await;
        self.nodes.push(replica);
        self.agrees().await;
        let (replica, id) = (&self.nodes[self.nodes.len() - 1], self.id(master).await);
        let _: () = replica.run(&["CLUSTER", "REPLICATE", &id]).await;
        until("the replica is in step", || async {
            let info: String = replica.run(&["INFO", "replication"]).await;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        // A node that does not know of the replica would not vote for it.
        for node in &self.nodes {
            until("everybody knows the replica", || async {
                let known: String = node.run(&["CLUSTER", "NODES"]).await;
                known.lines().any(|line| line.contains("slave") && line.contains(&id)).then_some(())
            })
            .await;
        }
    }

    /// Moves the slot of this key, and everything in it, to another node.
    pub async fn move_slot_of(&self, key: &str, to: usize) {
        let from = self.owner_of(key).await;
        let slot: u16 = self.nodes[from].run(&["CLUSTER", "KEYSLOT", key]).await;
        let (slot, source, target) = (slot.to_string(), self.id(from).await, self.id(to).await);
        let port = self.nodes[to].port.to_string();
        let _: () = self.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
        let _: () = self.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
        let keys: Vec<String> = self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"]).await;
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let words: Vec<&str> = words.into_iter().chain(keys.iter().map(String::as_str)).collect();
        let _: () = self.nodes[from].run(&words).await;
        for at in [to, from] {
            let _: () = self.nodes[at].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
        }
        until("the slot has moved", || async { (self.owner_of(key).await == to).then_some(()) }).await;
    }

    /// The node that serves this key.
    pub async fn owner_of(&self, key: &str) -> usize {
        until("a node serves the key", || async {
            for (at, node) in self.nodes.iter().enumerate() {
                let served: redis::RedisResult<bool> =
                    redis::cmd("EXISTS").arg(key).query_async(&mut node.con.clone()).await;
                if served.is_ok() {
                    return Some(at);
                }
            }
            None
        })
        .await
    }

    /// The address by way of all nodes.
    pub fn url(&self) -> String {
        let places: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", places.join(","))
    }

    async fn id(&self, at: usize) -> String {
        self.nodes[at].run(&["CLUSTER", "MYID"]).await
    }

    async fn agrees(&self) {
        for node in &self.nodes {
            until("the nodes know each other and serve every slot", || async {
                let info: String = node.run(&["CLUSTER", "INFO"]).await;
                let all = format!("cluster_known_nodes:{}\r", self.nodes.len());
                (info.contains("cluster_state:ok") && info.contains(&all)).then_some(())
            })
            .await;
        }
    }
}

async fn meet(node: &RedisServer, other: &RedisServer) {
    if node.port != other.port {
        let _: () = node.run(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]).await;
    }
}

/// A node that knows nobody yet. Nodes speak to each other on a second port, 10,000 above the first.
async fn node() -> RedisServer {
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT, "--appendonly", "no"];
    let settings =
        [&settings[..], &["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]].concat();
    for _ in 0..100 {
        let port = free_port();
        if port < 55_000
            && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
            && let Some(server) = RedisServer::start_on(port, &settings).await
        {
            return server;
        }
    }
    panic!("no two ports stay free");
}
