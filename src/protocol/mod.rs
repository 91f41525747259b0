//! The Redis protocol: keys, order, classes, and every transition as one script and one typed function.
//! In: values. Out: calls on a connection that somebody else holds. Imports nothing of ours.

pub mod claim;
pub mod class;
pub mod control;
pub mod event;
pub mod foreign;
pub mod hold;
pub mod ids;
pub mod operate;
pub mod order;
pub mod outcome;
mod script;
pub mod submit;
pub mod tokens;

pub use script::Space;
