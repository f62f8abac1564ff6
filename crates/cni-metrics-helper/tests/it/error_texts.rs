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
    assert!(text.matches("(os error").count() <= 1, "a cause is repeated: {text}");
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
    let text = error(&["once", "--kubeconfig", "/nope"]);
    assert!(text.ends_with(": No such file or directory (os error 2)"), "{text}");
    assert_eq!(text.matches("/nope").count(), 1, "{text}");
}

#[test]
fn a_kubeconfig_that_is_no_yaml_is_named_and_not_the_readers_own_name_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config").display().to_string();
    std::fs::write(&path, "a: [").unwrap();
    let text = error(&["once", "--kubeconfig", &path]);
    assert!(text.contains(&format!("{path}:1:4")) && !text.contains("<input>"), "{text}");
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
fn a_scenario_is_named_once_whatever_is_wrong_with_it() {
    assert_eq!(error(&["demo", "--scenario", "nosuch.yaml"]), "nosuch.yaml: No such file or directory (os error 2)");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml").display().to_string();
    std::fs::write(&path, "name: x\nsubnets: [{ name: a, cidr: 10.0.0.0/16, zone: z }]\nnode_groups: nine\n").unwrap();
    let text = error(&["demo", "--scenario", &path]);
    assert!(text.starts_with(&format!("{path}:3: line 3 column 14: ")), "{text}");
    assert!(!text.contains("<input>"), "{text}");
}

/// The sources of the crates that the long-running program is made of.
fn sources(folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// A value in a log line is shown in words: texts may stand in quotation marks (`{name:?}`), errors and other values may not be
/// in Rust's debug format.
#[test]
fn no_log_line_shows_a_value_in_rusts_debug_format() {
    let mut files = Vec::new();
    for name in ["cni-aws", "cni-collector", "cni-metrics-core", "cni-metrics-helper", "cni-publish", "cni-runtime"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), &mut files);
    }
    let mut lines = 0;
    for (file, text) in &files {
        for level in ["error!(", "warn!(", "info!(", "debug!("] {
            for (start, _) in text.match_indices(level) {
                let call = &text[start + level.len()..];
                let call = &call[..call.find(");").unwrap_or(call.len())];
                let is_debug = |part: &str| {
                    let part = part.trim_start();
                    part.starts_with('?')
                        || part.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with('?'))
                };
                // Fields stand before the text.
                let fields = call.split('"').next().unwrap_or_default();
                assert!(!fields.split(',').any(is_debug), "{file}: {call}");
                assert!(!call.contains("error:?") && !call.contains("error:#?"), "{file}: {call}");
                lines += 1;
            }
        }
    }
    assert!(lines > 100, "{lines} log statements found");
}
