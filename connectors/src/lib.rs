//! How gpu-worker talks to engines: one small contract, one explicit list of connectors, one folder per engine.
//! In: a job and a context from the runner. Out: progress, outputs, an outcome or a typed failure.
//! This crate sees neither Redis nor the agent's configuration.

#![forbid(unsafe_code)]

pub mod a1111;
mod address;
pub mod comfyui;
pub mod conformance;
pub mod contract;
pub mod failure;
pub mod files;
pub mod folder;
mod http;
mod live;
#[path = "../../src/config/nearest.rs"]
mod nearest;
pub mod openai;
pub mod process;
mod python;
mod reference;
pub mod registry;
pub mod rest;
pub mod simulation;
mod stamp;
