//! Asks a card to do something: memory is taken on it, written, copied on the card, read back and compared.
//! In: `libcuda.so.1`, the card that `CUDA_VISIBLE_DEVICES` names. Out: `Checked`.
//!
//! For a process of its own: what CUDA does to a process on a sick card (hang, crash) must not happen to the agent. It shows that
//! the driver gives the card to a new program and that memory and copies work; it runs no kernel and tests a few
//! megabytes only, so it is no burn-in.

use super::Checked;
use cudarc::driver::{CudaContext, DriverError, sys::CUresult};
use std::panic::{catch_unwind, set_hook};

/// Little enough to find room beside an engine that holds most of the card.
const WORDS: usize = 4 << 20;

/// Asks the first card that this process may see. Takes seconds; may hang.
pub fn check() -> Checked {
    // The library is looked for at the first call, and not finding it is a panic.
    set_hook(Box::new(|_| {}));
    match catch_unwind(write_and_read) {
        Ok(Ok(true)) => Checked::Passed,
        Ok(Ok(false)) => Checked::Failed("memory gave back something else than was written".into()),
        Ok(Err(error)) => judge(&error),
        Err(_) => Checked::CannotTell("CUDA's library cannot be used here".into()),
    }
}

fn write_and_read() -> Result<bool, DriverError> {
    let context = CudaContext::new(0)?;
    let stream = context.default_stream();
    let written: Vec<u64> = (0..WORDS as u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let there = stream.clone_htod(&written)?;
    let copied = stream.clone_dtod(&there)?;
    let read = stream.clone_dtoh(&copied)?;
    stream.synchronize()?;
    Ok(read == written)
}

/// What is no card's fault must not keep a card out.
fn judge(error: &DriverError) -> Checked {
    let words = format!("CUDA says {:?}", error.0);
    match error.0 {
        // Another program has the memory or the card to itself.
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
        | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUresult::CUDA_ERROR_MPS_CONNECTION_FAILED
        // This process may not, or its sandbox hides what CUDA needs.
        | CUresult::CUDA_ERROR_NO_DEVICE
        | CUresult::CUDA_ERROR_INVALID_DEVICE
        | CUresult::CUDA_ERROR_NOT_PERMITTED
        | CUresult::CUDA_ERROR_OPERATING_SYSTEM
        | CUresult::CUDA_ERROR_UNKNOWN
        | CUresult::CUDA_ERROR_STUB_LIBRARY
        | CUresult::CUDA_ERROR_NOT_INITIALIZED => Checked::CannotTell(words),
        _ => Checked::Failed(words),
    }
}
