//! The agent of a GPU server, its queue protocol and its commands.

#![forbid(unsafe_code)]

pub mod capabilities;
pub mod config;
pub mod output;
pub mod protocol;
pub mod queue;
pub mod service;
pub mod telemetry;
