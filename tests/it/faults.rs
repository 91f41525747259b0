//! Faults on the wire: what they cost, which is time and never a job.

mod proxy;
mod redis;
mod scene;
