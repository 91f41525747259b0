//! The integration tests: one binary, because each debug binary of this stack costs a link of its own.
//! In: the built library and programs, a real redis-server. Out: verdicts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that unwraps says where it broke; clippy.toml covers test functions, not what they call"
)]

mod agent;
mod crash_points;
mod dashboard;
mod end_to_end;
mod engine_files;
mod faults;
mod fencing;
mod hardware;
mod hostile;
mod imports;
mod inputs;
mod outputs;
mod panicking;
mod poison;
mod protocol;
mod returning;
mod soak;
mod storm;
mod support;
mod top;
mod topology;
