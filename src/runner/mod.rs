//! One job's life on this machine, and the slots that live it again and again.
//! In: claimed jobs, engines, orders to stop. Out: progress, outputs, settled jobs.

mod at_work;
mod attempt;
mod avoided;
mod blame;
pub mod board;
pub mod breaker;
mod end;
pub mod engine;
pub mod expected;
pub mod failures_page;
pub mod fence;
mod fetch;
mod idle;
mod job;
mod ledger;
mod likeness;
mod onward;
pub mod pace;
pub mod previews;
mod progress;
mod recover;
mod reference;
pub mod retry;
mod shape;
pub mod shared;
pub mod slot;
mod steady;
mod stuck;
mod tokens;
mod untold;
mod work;
