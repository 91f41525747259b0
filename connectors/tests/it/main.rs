//! The crate's integration tests, one binary.
//! In: the connectors and engines that answer on loopback. Out: proof by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that unwraps says where it broke; clippy.toml covers test functions, not what they call"
)]

mod a1111;
mod comfyui;
mod comfyui_cancel;
mod comfyui_inputs;
mod comfyui_probe;
mod comfyui_refusals;
mod comfyui_trouble;
mod comfyui_wire;
mod conformance;
mod conformance_files;
mod ended;
mod given;
mod hazards;
mod leftovers;
mod openai;
mod points;
mod process;
mod process_hostile;
#[path = "../../../tests/it/support/proxy.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod proxy;
mod recordings;
mod replay;
mod replayed;
mod rest;
mod rest_engine;
mod rest_outputs;
mod simulation;
mod storing;
