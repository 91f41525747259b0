//! The one integration-test binary: a module for each part.
//! In: the built library and programs. Out: verdicts.

mod hardware;
