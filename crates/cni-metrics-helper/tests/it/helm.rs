//! The real helm on this project's chart.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// helm, as `tools/envtest/build.sh` builds it.
#[derive(Debug, Clone)]
pub(crate) struct Helm {
    program: PathBuf,
}

impl Helm {
    /// helm.
    ///
    /// # Panics
    /// Where it is missing: a test that needs it is ignored unless it is asked for.
    pub(crate) fn required() -> Self {
        Self { program: cni_testkit::needs::program("helm", cni_testkit::needs::BUILT) }
    }

    /// Its standard output, or what it says against it.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
        let home = cni_testkit::temporary_folder();
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .current_dir(repository())
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The chart rendered with an image that can exist and more arguments, which win.
    pub(crate) fn template(&self, arguments: &[&str]) -> Result<String, String> {
        self.template_without_image(&[&["--values", IMAGE_VALUES], arguments].concat())
    }

    /// The chart rendered with nothing but these arguments.
    pub(crate) fn template_without_image(&self, arguments: &[&str]) -> Result<String, String> {
        let fixed = ["template", "cni-metrics-helper", CHART, "--namespace=kube-system"];
        self.run(fixed.iter().chain(arguments))
    }

    /// The chart's objects.
    pub(crate) fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        parsed(&self.template(arguments).unwrap_or_else(|said| panic!("helm template {arguments:?}: {said}")))
    }
}

/// The chart, from the repository's root.
pub(crate) const CHART: &str = "charts/cni-metrics-helper";

/// The one value without which the chart refuses to render: an image that is not in AWS's registry.
pub(crate) const IMAGE_VALUES: &str = "crates/cni-metrics-helper/tests/data/chart/image-values.yaml";

/// The objects of a manifest.
pub(crate) fn parsed(manifest: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The root of the checkout.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
