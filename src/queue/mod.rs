//! The agent's side of the queue: the only holder of Redis connections.
//! In: what workers can do and what became of jobs. Out: claimed jobs, leases kept, news from other processes.

pub mod announce;
pub mod claim;
pub mod client;
pub mod confirmed;
pub mod control;
pub mod heartbeat;
pub mod hints;
pub mod holds;
pub mod index;
pub mod journal;
pub mod lease;
pub mod link;
pub mod reassert;
pub mod recover;
pub mod settle;
pub mod sweep;
pub mod tick;
pub mod waiting;
pub mod wake;
