//! The guard of an engine process as a program of its own, for the tests of this crate.
//! In: the guard's arguments. Out: the exit code of what it guarded.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let arguments = std::env::args_os().skip(1);
    match connectors::process::guard::Args::parse(arguments) {
        Some(args) => ExitCode::from(runtime.block_on(connectors::process::guard::run(args))),
        None => ExitCode::from(64),
    }
}
