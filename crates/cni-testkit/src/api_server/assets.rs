//! What the tests need from the machine: the built control plane, root for a network namespace, a few programs.

use std::path::PathBuf;

use crate::needs;

/// The folder with etcd, kube-apiserver and kubectl.
#[derive(Debug, Clone)]
pub struct Assets {
    bin: PathBuf,
}

impl Assets {
    /// The assets.
    ///
    /// # Panics
    /// Where something is missing: a test that needs them is ignored unless it is asked for.
    pub fn required() -> Self {
        needs::root("a network namespace needs it");
        for (program, package) in [("ip", "iproute2"), ("setpriv", "util-linux"), ("unshare", "util-linux")] {
            needs::program(program, &format!("Debian has it in the package {package}"));
        }
        let programs = ["etcd", "kube-apiserver", "kubectl"].map(|name| needs::program(name, needs::BUILT));
        let folders = programs.each_ref().map(|program| program.parent().unwrap());
        assert!(folders.iter().all(|folder| *folder == folders[0]), "of one build: {folders:?}");
        Self { bin: folders[0].to_owned() }
    }

    /// A program of these.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// The Python with boto3 and moto.
pub fn python() -> PathBuf {
    needs::program(needs::repository().join(".cache/py/bin/python"), "crates/cni-sim/tests/aws/setup_venv.sh makes it")
}
