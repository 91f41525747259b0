//! One job's life on this machine, and the slots that live it again and again.
//! In: claimed jobs, engines, orders to stop. Out: progress, outputs, settled jobs.

mod avoided;
pub mod engine;
pub mod fence;
mod fetch;
mod idle;
mod job;
mod ledger;
mod progress;
mod reference;
pub mod retry;
mod shape;
pub mod shared;
pub mod slot;
mod work;
