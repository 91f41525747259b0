//! The integration tests: one binary, because each debug binary of this stack costs a link of its own.
//! In: the built library and programs, a real redis-server. Out: verdicts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that unwraps says where it broke; clippy.toml covers test functions, not what they call"
)]

mod agent;
mod end_to_end;
mod engine_files;
mod hardware;
mod hostile;
mod imports;
mod panicking;
mod protocol;
mod returning;
mod storm;
mod support;
