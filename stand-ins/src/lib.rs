//! Stand-ins for engines: servers that answer as the real ones were recorded to, without a GPU, for demos, tests and fault runs.
//! In: requests on a loopback port. Out: the engine's answers and events, and files that say what they are.
#![forbid(unsafe_code)]

pub mod a1111;
pub mod comfyui;
pub mod openai;

mod handle;
mod pace;
mod picture;
mod wire;
