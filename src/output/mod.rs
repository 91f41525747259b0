//! Where outputs go: streamed to a folder of this box, never whole in memory.
//! In: chunks from a connector. Out: a stored file with size, hash and sniffed media type.

mod local;
mod media_type;
mod name;
mod preview;

pub use local::{LocalStore, try_storing};
pub use preview::{PreviewFolder, forget_previews};
