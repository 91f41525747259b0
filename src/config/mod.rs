//! Configuration: one table of variables, read from flags, environment, env file and defaults.
//! In: `Sources`. Out: `Loaded` with the typed `Config`, or a `Report` of every fault; texts for `config show`, `config check` and the documentation.
//!
//! ```text
//! source (env_file) -> names -> resolve (address, value, nearest, mask) -> build (reader, engines, traits) -> settings
//! ```

mod address;
mod address_parts;
mod allowed_host;
mod build;
mod dashboard;
mod document;
mod engine_folder;
mod engines;
mod env_file;
mod former;
mod load;
mod mask;
mod names;
mod nearest;
mod outputs;
mod reader;
mod redis_address;
mod report;
mod resolve;
mod settings;
mod show;
mod source;
mod table;
mod traits;
mod value;
mod variable;

#[cfg(test)]
mod tests;

pub use allowed_host::AllowedHost;
pub use document::{example, page};
pub use load::{Effective, Loaded, load};
pub use redis_address::{Guides, Place, RedisAddress, hash_tag};
pub use report::{Finding, Origin, Report};
pub use settings::*;
pub use show::{check_text, show_json, show_text};
pub use source::Sources;
pub use variable::Group;
