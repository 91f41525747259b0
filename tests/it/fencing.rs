//! A sick GPU under a real agent: that GPU alone is fenced, its job goes back, the remedy is told, and it works again when it can.
//! In: a stand-in NVML and CUDA that the test breaks and mends. Out: what the queue and its readers see.

pub mod bench;
mod returning;
mod sick;
mod starting;
