//! What the tests stand on: a redis-server and agents of their own, and waiting for signals with a deadline.

pub mod agent;
pub mod proxy;
pub mod queue;
pub mod redis_server;
pub mod until;

pub use agent::{Agent, cli};
pub use queue::Queue;
pub use redis_server::{RedisServer, free_port};
pub use until::{PATIENCE, until};
