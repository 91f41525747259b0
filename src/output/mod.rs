//! Where outputs go: streamed to a folder of this box or into a bucket, never whole in memory.
//! In: chunks from a connector. Out: a stored file or object with size, hash, sniffed media type and URL.

mod bucket;
mod clean;
mod cloud;
mod described;
mod largest;
mod local;
mod media_type;
mod name;
mod outputs;
mod passed;
mod place;
mod preview;
mod refusal;
mod transfer;
mod upload;
mod wire;

pub use described::without_credentials;
pub use outputs::Outputs;
pub use preview::{PreviewFolder, forget_previews};
pub use wire::Patience;
