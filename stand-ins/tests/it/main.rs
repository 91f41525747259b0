//! Tests of the stand-ins, in one binary: the recordings of real servers replayed, and faults called for by hand.
//! In: `tests/recordings`. Out: green if the stand-in answers as the real server did.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that unwraps says where it broke; clippy.toml covers test functions, not what they call"
)]

mod a1111;
mod client;
mod expect;
mod faults;
mod frames;
mod oddities;
mod player;
mod requests;
mod table;
