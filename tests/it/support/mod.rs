//! What the tests stand on: a redis-server and agents of their own, and waiting for signals with a deadline.

pub mod agent;
pub mod cluster;
pub mod proxy;
pub mod queue;
pub mod redis_server;
pub mod s3;
pub mod sentinels;
pub mod until;

pub use agent::{Agent, cli, cli_at, command};
pub use cluster::Cluster;
pub use queue::Queue;
pub use redis_server::{RedisServer, free_port};
pub use sentinels::Sentinels;
pub use until::{PATIENCE, until};
