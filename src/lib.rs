//! The agent of a GPU server, its queue protocol and its commands.

#![forbid(unsafe_code)]

pub mod config;
pub mod hardware;
