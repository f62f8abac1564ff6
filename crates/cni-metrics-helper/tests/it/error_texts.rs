//! What the program says of what the system, a file or another program refuses: in words, with what it is about, and once.

use std::path::Path;
use std::process::Command;

/// The only line that a command writes before it fails, without the program's name.
fn error(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(args).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    let output = command.env("PATH", "/usr/bin:/bin").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    // Rust's debug format: a struct, a tuple, or a text in quotation marks within others.
    for sign in ["Error {", "Error(", "Os {", "'\"", "Output {", "client error"] {
        assert!(!text.contains(sign), "{sign} in {text}");
    }
    assert!(text.matches("(os error").count() <= 1, "a cause is told twice: {text}");
    text.strip_prefix("cni-metrics-helper: ").unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
}

/// A kubeconfig whose user or cluster has these keys.
fn kubeconfig(folder: &Path, user: &str, cluster: &str) -> String {
    let path = folder.join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{ name: c, cluster: {{ server: 'https://127.0.0.1:1', {cluster} }} }}]\n\
         users: [{{ name: u, user: {{ {user} }} }}]\ncontexts: [{{ name: c, context: {{ cluster: c, user: u }} }}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn exec(command: &str, args: &str) -> String {
    format!(
        "exec: {{ apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {command}, args: [{args}] }}"
    )
}

#[test]
fn a_missing_kubeconfig_is_named_once() {
    assert_eq!(
        error(&["once", "--kubeconfig", "/nope"]),
        "kubeconfig /nope cannot be used: No such file or directory (os error 2)"
    );
}

#[test]
fn a_missing_file_that_the_kubeconfig_names_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig(folder.path(), "token: t", "certificate-authority: /nope/ca.crt");
    let text = error(&["once", "--kubeconfig", &path]);
    assert!(text.contains("cannot read /nope/ca.crt: No such file or directory (os error 2)"), "{text}");
}

#[test]
fn a_program_for_credentials_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig(folder.path(), &exec("no-such-authenticator", ""), "");
    assert_eq!(
        error(&["once", "--kubeconfig", &path]),
        "the program no-such-authenticator, which the kubeconfig names for credentials (users[].user.exec.command), cannot \
         be run: No such file or directory (os error 2); install it, or correct its name or PATH"
    );
}

#[test]
fn what_a_program_for_credentials_printed_is_not_shown_but_its_error_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig(folder.path(), &exec("sh", "-c, 'echo secret; echo session expired >&2; exit 3'"), "");
    assert_eq!(
        error(&["once", "--kubeconfig", &path]),
        "the program sh, which the kubeconfig names for credentials (users[].user.exec.command), failed (exit status: 3): \
         session expired"
    );
}

#[test]
fn a_missing_scenario_is_named_once() {
    assert_eq!(error(&["demo", "--scenario", "nosuch.yaml"]), "nosuch.yaml: No such file or directory (os error 2)");
}
