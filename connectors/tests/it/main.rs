//! The crate's integration tests, one binary.
//! In: the connectors and engines that answer on loopback. Out: proof by name.

mod conformance;
mod simulation;
