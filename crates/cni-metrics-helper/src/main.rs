//! The program: argv to a command, an error to one message, an outcome to an exit code.

use std::process::ExitCode;
use std::time::Duration;

use cni_metrics_helper::cli::Cli;
use cni_runtime::logging;
use cni_runtime::text::chain;

/// Lines of the log that are not written yet are waited for this long.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // One provider for the whole process; a second installation could only be ourselves again.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let code = match std::panic::catch_unwind(|| Cli::of_process().execute()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => report(&error),
        // The panic hook has said what it was.
        Err(_panic) => ExitCode::FAILURE,
    };
    logging::flush(LAST_LINES);
    code
}

fn report(error: &anyhow::Error) -> ExitCode {
    // A reader that went away (`| head`) is no failure of ours.
    if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    logging::flush(LAST_LINES);
    logging::to_stderr(&format!("cni-metrics-helper: {}", chain(error.as_ref())));
    ExitCode::FAILURE
}
