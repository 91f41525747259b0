//! The largest output, wherever it goes.
//! In: how long an output is, or will be. Out: nothing, or the failure that names both its length and the limit.

use super::transfer::MOST_PARTS;
use super::upload::PART;
use connectors::failure::{Failure, Reason};

/// What a bucket takes of one object that is sent in parts of one length.
pub const LARGEST: u64 = (PART * MOST_PARTS) as u64;

/// Refuses an output of so many bytes: no other worker and no other day makes it smaller.
///
/// # Errors
/// `validation_error`: it is longer than `largest`.
pub fn admit(name: &str, bytes: u64, largest: u64) -> Result<(), Failure> {
    if bytes <= largest {
        return Ok(());
    }
    let said = format!("the output `{name}` has {bytes} bytes; at most {largest} are stored of one output");
    Err(Failure::new(Reason::UnsupportedOperation, said))
}
