//! The crate's integration tests, one binary.
//! In: the connectors and engines that answer on loopback. Out: proof by name.

mod comfyui;
mod comfyui_cancel;
mod comfyui_probe;
mod comfyui_refusals;
mod comfyui_trouble;
mod conformance;
mod points;
mod replay;
mod replayed;
mod simulation;
