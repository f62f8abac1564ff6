//! The chart on a real kube-apiserver: over the original's objects, in every form, within the restricted Pod Security
//! level, and with rights that are enough and no more.
//!
//! Needs what `e2e_cluster.rs` needs, and helm: `.ci/run` has both, plain `cargo test` ignores these tests.

mod install;
mod rights;

use std::path::PathBuf;

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;

use crate::helm::{CHART, Helm, IMAGE_VALUES};

const UPSTREAM_VALUES: &str = "charts/cni-metrics-helper/ci/upstream-values.yaml";
const ALL_ON_VALUES: &str = "charts/cni-metrics-helper/ci/all-on-values.yaml";
const SHARDED_VALUES: &str = "charts/cni-metrics-helper/ci/sharded-values.yaml";

/// A cluster with this number of nodes, and helm beside it.
struct Stand {
    cluster: Cluster,
    helm: Helm,
}

impl Stand {
    fn start(nodes: usize) -> Self {
        let (assets, helm) = (Assets::required(), Helm::required());
        let pages = (0..nodes).map(|_| Page::settled(5));
        Self { cluster: Cluster::start(&assets, pages), helm }
    }

    /// `helm upgrade --install` of this chart, taking over objects that were not helm's.
    fn install(&self, arguments: &[&str]) {
        self.upgrade(CHART, &[&["--take-ownership", "--values", IMAGE_VALUES], arguments].concat());
    }

    /// `helm upgrade --install` of a chart under the one release's name.
    fn upgrade(&self, chart: &str, arguments: &[&str]) {
        let kubeconfig = self.kubeconfig();
        // Without --reset-values, an upgrade without values keeps those of the one before.
        let fixed = ["upgrade", "--install", "cni-metrics-helper", chart, "--namespace=kube-system", "--reset-values"];
        let all = fixed.iter().chain(arguments).copied().chain([kubeconfig.as_str()]);
        self.helm.run(all).unwrap_or_else(|said| panic!("helm upgrade --install {chart} {arguments:?}: {said}"));
    }

    /// helm's flag for the administrator's way in.
    fn kubeconfig(&self) -> String {
        format!("--kubeconfig={}", self.cluster.plane.folder().join("admin.kubeconfig").display())
    }

    fn get(&self, what: &[&str]) -> serde_json::Value {
        let words = [&["get", "--output=json"], what].concat();
        serde_json::from_str(&self.cluster.kubectl().run(&words)).unwrap()
    }

    /// A manifest as a file, as a person has it.
    fn file(&self, name: &str, manifest: &str) -> PathBuf {
        let path = self.cluster.plane.folder().join(name);
        std::fs::write(&path, manifest).unwrap();
        path
    }

    fn kubectl_file(&self, arguments: &[&str], name: &str, manifest: &str) -> Result<String, String> {
        let path = self.file(name, manifest);
        self.cluster.kubectl().try_run(&[arguments, &["--filename", path.to_str().unwrap()]].concat())
    }
}
