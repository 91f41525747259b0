//! What commands say: a reader that has gone is no fault, and a disk that is full is one.
//! In: text. Out: the same on standard output or error; at the end, whether an answer was lost.
//!
//! The macros of the standard library panic in both cases.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// One line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::answer(format_args!("{}\n", format_args!($($text)*))) };
}

/// The same without an end of the line.
macro_rules! put {
    ($($text:tt)*) => { $crate::cli::out::answer(format_args!($($text)*)) };
}

/// One line on standard error.
macro_rules! remark {
    ($($text:tt)*) => { $crate::cli::out::note(format_args!($($text)*)) };
}

static UNREAD: AtomicBool = AtomicBool::new(false);
static LOST: Mutex<Option<ErrorKind>> = Mutex::new(None);

/// Writes a part of the answer.
pub(super) fn answer(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => UNREAD.store(true, Ordering::Relaxed),
        Err(error) => *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.kind()),
    }
}

/// Writes a line for a person; where nobody reads those there is nobody to tell.
pub fn note(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Nobody reads the answers any more, as behind `| head`.
pub(super) fn is_unread() -> bool {
    UNREAD.load(Ordering::Relaxed)
}

/// Why a part of the answer could not be written, though somebody may wait for it.
pub fn lost() -> Option<String> {
    let kind = (*LOST.lock().unwrap_or_else(PoisonError::into_inner))?;
    Some(format!("the answer cannot be written: {kind}"))
}
