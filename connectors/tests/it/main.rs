//! The crate's integration tests, one binary.
//! In: the connectors and engines that answer on loopback. Out: proof by name.

mod comfyui;
mod conformance;
mod replay;
mod replayed;
mod simulation;
