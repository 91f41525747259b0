//! Faults on the wire: what they cost, which is time and never a job.

mod ears;
mod proxy;
mod redis;
mod scene;
