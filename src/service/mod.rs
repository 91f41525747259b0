//! The process as the operating system sees it: signals, systemd, named loops.
//! In: signals. Out: a shutdown in two steps, a watchdog fed by progress.

pub mod loops;
pub mod shutdown;
pub mod systemd;
