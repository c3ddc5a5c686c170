//! The program: arguments → command → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mediagate::cli::run(std::env::args_os())
}
