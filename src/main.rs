//! The program `custody`. See `cli` for its commands.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("custody: {error:#}");
            ExitCode::FAILURE
        }
    }
}
