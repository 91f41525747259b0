//! The agent of a GPU server, its queue protocol and its commands.

#![forbid(unsafe_code)]
// They panic when the reader has gone: see `cli::out`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod capabilities;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod hardware;
pub mod input;
pub mod output;
pub mod protocol;
pub mod queue;
pub mod runner;
pub mod service;
pub mod telemetry;
