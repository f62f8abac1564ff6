//! What the tests need from the machine: the built control plane, root for a network namespace, a few programs.

use std::path::{Path, PathBuf};

use cni_testkit::needs;

/// The folder with etcd, kube-apiserver and kubectl.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    bin: PathBuf,
}

impl Assets {
    /// The assets.
    ///
    /// # Panics
    /// Where something is missing: a test that needs them is ignored unless it is asked for.
    pub(crate) fn required() -> Self {
        needs::root("a network namespace needs it");
        for (program, package) in [("ip", "iproute2"), ("setpriv", "util-linux"), ("unshare", "util-linux")] {
            needs::program(program, &format!("Debian has it in the package {package}"));
        }
        let programs = ["etcd", "kube-apiserver", "kubectl"].map(|name| needs::program(name, needs::BUILT));
        let folders = programs.each_ref().map(|program| program.parent().unwrap());
        assert!(folders.iter().all(|folder| *folder == folders[0]), "of one build: {folders:?}");
        Self { bin: folders[0].to_owned() }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// The Python with boto3 and moto.
pub(crate) fn python() -> PathBuf {
    needs::program(repository().join(".cache/py/bin/python"), "crates/cni-sim/tests/aws/setup_venv.sh makes it")
}

/// The root of the checkout.
pub(crate) fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
