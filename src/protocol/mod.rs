//! What agents, hubs and clients agree on in Redis.
//! In: nothing of ours. Out: orders, classes.

pub mod class;
pub mod order;
