//! Configuration: one table of variables, read from flags, environment, env file and defaults.

mod settings;

pub use settings::*;
