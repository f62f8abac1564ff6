//! What the tests need from the machine: the built control plane, root for a network namespace, a few programs.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder with etcd, kube-apiserver and kubectl.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    bin: PathBuf,
}

impl Assets {
    /// The assets, or `None` with the reason on stderr. Where `CI=true` an absence is a failure: a test that is
    /// silently skipped there would say something worked that nobody saw.
    pub(crate) fn or_skip() -> Option<Self> {
        required(Self::find())
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn find() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root, and a network namespace needs root".to_owned());
        }
        for (program, package) in [("ip", "iproute2"), ("setpriv", "util-linux"), ("unshare", "util-linux")] {
            on_path(program).ok_or_else(|| format!("`{program}` is not installed (package {package})"))?;
        }
        let bin = std::env::var_os("KUBEBUILDER_ASSETS")
            .map_or_else(|| repository().join(".cache/envtest/bin"), PathBuf::from);
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            if !bin.join(name).is_file() {
                return Err(format!("{} is absent; tools/envtest/build.sh builds it", bin.join(name).display()));
            }
        }
        Ok(Self { bin })
    }
}

/// A program of the system's, or `None` with the reason on stderr (a failure where `CI=true`).
pub(crate) fn program_or_skip(program: &str, package: &str) -> Option<PathBuf> {
    required(on_path(program).ok_or_else(|| format!("`{program}` is not installed (package {package})")))
}

/// The Python with boto3 and moto, or `None` with the reason on stderr (a failure where `CI=true`).
pub(crate) fn python_or_skip() -> Option<PathBuf> {
    let python = repository().join(".cache/py/bin/python");
    let reason = || format!("{} is absent; crates/cni-sim/tests/aws/setup_venv.sh makes it", python.display());
    required(python.is_file().then(|| python.clone()).ok_or_else(reason))
}

/// The root of the checkout.
pub(crate) fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps `ip` in a folder that is not on every user's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn required<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "needed where CI=true: {reason}");
            // Not by a macro: the test runner would hide what a passing test prints so.
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            None
        }
    }
}
