//! The program `custody`. See `cli` for its commands.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A call makes some hundred short-lived allocations, which the system's allocator takes a fifth of its time for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("custody: {error:#}");
            ExitCode::FAILURE
        }
    }
}
