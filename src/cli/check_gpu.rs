//! `check-gpu`: the check of one GPU before it may work again. The agent starts it; it is not listed.
//! In: the card in `CUDA_VISIBLE_DEVICES`. Out: how it went, as JSON on stdout.

use super::{Exit, Failed};
use crate::hardware::check_allocation;

#[allow(clippy::unnecessary_wraps, reason = "all commands answer alike")]
pub(super) fn run() -> Result<Exit, Failed> {
    say!("{}", serde_json::json!(check_allocation()));
    Ok(Exit::Done)
}
