//! The program: argv to a command, an error to one message, an outcome to an exit code.

use std::process::ExitCode;

use clap::Parser;
use cni_metrics_helper::cli::Cli;

fn main() -> ExitCode {
    // One provider for the whole process; a second installation could only be ourselves again.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().execute() {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where an error leaves the program")]
fn report(error: &anyhow::Error) -> ExitCode {
    // A reader that went away (`| head`) is no failure of ours.
    if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("cni-metrics-helper: {error:#}");
    ExitCode::FAILURE
}
