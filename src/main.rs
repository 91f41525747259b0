//! gpu-worker: arguments, then the command that they name, then its exit code.

#![forbid(unsafe_code)]
// They panic when the reader has gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use gpu_worker::cli::{self, Cli, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            let wrong = asked.use_stderr();
            let _ = asked.print();
            return ExitCode::from(if wrong { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    // One provider for the whole process; installed before anything builds a client.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread runs everything that waits; drivers and disks have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::note(format_args!("gpu-worker: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli::run(cli));
    // A thread that hangs in a driver or on a disk does not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(exit) => {
            let lost = cli::lost();
            if let Some(why) = &lost {
                cli::note(format_args!("gpu-worker: {why}"));
            }
            ExitCode::from(if lost.is_some() && exit == Exit::Done { Exit::Failed } else { exit } as u8)
        }
        Err(failed) => {
            cli::note(format_args!("gpu-worker: {failed}"));
            ExitCode::from(failed.exit as u8)
        }
    }
}
