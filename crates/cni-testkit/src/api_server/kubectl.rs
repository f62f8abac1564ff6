//! The real command line client.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// kubectl with one identity.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// A client with the identity of this kubeconfig.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// The same client as somebody else.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: PathBuf) -> Self {
        Self { program: self.program.clone(), kubeconfig }
    }

    /// Its standard output; a failure ends the test with what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|said| panic!("kubectl {}: {said}", arguments.join(" ")))
    }

    /// Its standard output; on failure what it wrote to standard error.
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        self.feed(arguments, "")
    }

    /// Makes the objects of a list what they are here, their status too: both halves are written, because the API
    /// server ignores a status in an ordinary write.
    pub fn apply(&self, objects: &[Value]) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.apply_text(&list);
        if objects.iter().any(|object| object.get("status").is_some()) {
            let arguments = ["apply", "--server-side", "--subresource=status", "-f", "-"];
            self.feed(&arguments, &list).unwrap_or_else(|said| panic!("kubectl apply (status): {said}"));
        }
    }

    /// Applies a manifest as it stands.
    pub fn apply_text(&self, manifest: &str) {
        let arguments = ["apply", "--server-side", "-f", "-"];
        self.feed(&arguments, manifest).unwrap_or_else(|said| panic!("kubectl apply: {said}"));
    }

    fn feed(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let home = self.kubeconfig.parent().unwrap();
        let mut child = Command::new(&self.program)
            .args(arguments)
            // The API server's own schema, which is read before an object is applied, can take a busy machine long.
            .arg("--request-timeout=3m")
            .env_clear()
            .env("HOME", home)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
