//! Errors of the Kubernetes client in words. Its own texts have parts in Rust's debug format, and do not always name what they
//! are about.

use std::error::Error as StdError;
use std::iter::successors;
use std::process::Output;

use cni_runtime::text::{chain, excerpt, plain};
use kube::client::AuthError;
use kube::config::{KubeconfigError, LoadDataError};

/// An error and its causes as one excerpt, each text once.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    // No chain of causes is this long; a chain that leads back to itself ends here.
    const MOST_CAUSES: usize = 32;
    let mut text = chain(error);
    for cause in successors(Some(error), next).take(MOST_CAUSES) {
        if let Some(words) = words(cause) {
            text = text.replace(&plain(cause.to_string()), &plain(words));
        }
    }
    excerpt(&text)
}

fn next<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    (*error).source()
}

/// What a program for credentials did that failed. Its arguments, environment and standard output may hold credentials.
pub(crate) fn exec_failure(out: &Output) -> String {
    format!("failed ({}): {}", out.status, excerpt(&String::from_utf8_lossy(&out.stderr)))
}

/// The same in words, where the client's text is not.
fn words(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<kube::Error>() {
        return match error {
            kube::Error::Api(status) if status.message.trim().is_empty() => {
                Some(format!("HTTP status {}", status.code))
            }
            kube::Error::Api(status) => Some(status.message.clone()),
            kube::Error::Service(error) => Some(error.to_string()),
            kube::Error::HyperError(error) => Some(error.to_string()),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<AuthError>() {
        return match error {
            AuthError::AuthExecStart(error) => {
                Some(format!("the program that the kubeconfig names for credentials (exec) cannot be run: {error}"))
            }
            AuthError::AuthExecRun { out, .. } => {
                Some(format!("the program that the kubeconfig names for credentials (exec) {}", exec_failure(out)))
            }
            AuthError::ReadTokenFile(error, path) => {
                Some(format!("cannot read the token in {}: {error}", path.display()))
            }
            _ => None,
        };
    }
    if let Some(KubeconfigError::ReadConfig(error, path)) = error.downcast_ref() {
        return Some(format!("cannot read {}: {error}", path.display()));
    }
    match error.downcast_ref() {
        Some(LoadDataError::ReadFile(error, path)) => Some(format!("cannot read {}: {error}", path.display())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn no_text_is_in_rusts_debug_format_or_without_its_object() {
        let missing = || io::Error::from_raw_os_error(2);
        let status = kube::core::Status::failure("leases is forbidden", "Forbidden").with_code(403);
        assert_eq!(causes(&kube::Error::Api(Box::new(status))), "leases is forbidden");
        let unsaid = kube::core::Status::failure("", "").with_code(500);
        assert_eq!(causes(&kube::Error::Api(Box::new(unsaid))), "HTTP status 500");
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(causes(&kube::Error::Service(Box::new(refused))), "Connection refused (os error 111)");
        assert_eq!(
            causes(&KubeconfigError::ReadConfig(missing(), "/nope".into())),
            "cannot read /nope: No such file or directory (os error 2)"
        );
        assert_eq!(
            causes(&KubeconfigError::LoadCertificateAuthority(LoadDataError::ReadFile(missing(), "/ca.crt".into()))),
            "failed to load certificate authority: cannot read /ca.crt: No such file or directory (os error 2)"
        );
        assert_eq!(
            causes(&AuthError::ReadTokenFile(missing(), "/token".into())),
            "cannot read the token in /token: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn what_a_program_for_credentials_printed_is_not_shown() {
        let out =
            std::process::Command::new("sh").args(["-c", "echo secret; echo no session >&2; exit 3"]).output().unwrap();
        let text = causes(&AuthError::AuthExecRun { cmd: "\"sh\"".to_owned(), out: Box::new(out) });
        assert_eq!(
            text,
            "the program that the kubeconfig names for credentials (exec) failed (exit status: 3): no session"
        );
    }
}
