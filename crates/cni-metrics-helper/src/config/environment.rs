//! The process's variables that have no flag, read once. Nothing outside `config` reads the environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use cni_aws::Environment;
use cni_collector::discover::connect::ConnectSettings;

/// The variables without a flag.
#[derive(Debug, Clone)]
pub(super) struct ProcessEnvironment {
    /// AWS's own variables.
    pub(super) aws: Arc<Environment>,
    /// The pod's name: `POD_NAME`, else `HOSTNAME`.
    pub(super) pod_name: Option<Arc<str>>,
    /// In a pod, without a kubeconfig of its own: `KUBERNETES_SERVICE_HOST` is set and `KUBECONFIG` is not.
    pub(super) is_in_pod: bool,
    /// `KUBECONFIG`: one file or several.
    pub(super) kubeconfig: Option<String>,
    /// `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub(super) no_color: bool,
}

impl ProcessEnvironment {
    /// The variables of this process.
    pub(super) fn of_process() -> Self {
        Self::read(|name| std::env::var_os(name))
    }

    /// How the API server is reached from here, with this kubeconfig if one is given.
    pub(super) fn connect(&self, kubeconfig: Option<PathBuf>) -> ConnectSettings {
        ConnectSettings {
            kubeconfig,
            context: None,
            is_in_pod: self.is_in_pod,
            is_named_by_variable: self.kubeconfig.is_some(),
            usual_kubeconfig: self.kubeconfig.clone().unwrap_or_else(|| "~/.kube/config".to_owned()),
        }
    }

    /// Reads the variables; `variable` returns the value of one, `None` where it is not set.
    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
        Self {
            pod_name: text("POD_NAME").or_else(|| text("HOSTNAME")).map(Arc::from),
            is_in_pod: variable("KUBERNETES_SERVICE_HOST").is_some() && variable("KUBECONFIG").is_none(),
            kubeconfig: text("KUBECONFIG"),
            no_color: variable("NO_COLOR").is_some_and(|value| !value.is_empty()),
            aws: Arc::new(Environment::read(variable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> ProcessEnvironment {
        ProcessEnvironment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn each_variable_has_its_effect() {
        let nothing = of(&[("POD_NAME", ""), ("NO_COLOR", "")]);
        assert!(nothing.pod_name.is_none() && !nothing.no_color && !nothing.is_in_pod);
        assert_eq!(of(&[("POD_NAME", ""), ("HOSTNAME", "h")]).pod_name.as_deref(), Some("h"));
        assert_eq!(of(&[("POD_NAME", "p"), ("HOSTNAME", "h")]).pod_name.as_deref(), Some("p"));
        assert!(of(&[("NO_COLOR", "1")]).no_color);
        assert_eq!(of(&[("KUBECONFIG", "a:b")]).kubeconfig.as_deref(), Some("a:b"));
        let service = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert!(of(&[service]).is_in_pod);
        assert!(!of(&[service, ("KUBECONFIG", "")]).is_in_pod);
        assert!(of(&[("AWS_EC2_METADATA_DISABLED", "true")]).aws.is_metadata_disabled);
    }
}
