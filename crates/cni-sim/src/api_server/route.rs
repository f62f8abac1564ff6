//! From a request's method and path to what it asks for.

use http::Method;

use crate::kube_store::Kind;

impl Kind {
    /// The API group; empty for the core group.
    pub(crate) fn group(self) -> &'static str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The resource's name in paths and rules.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Node => "nodes",
            Self::Namespace => "namespaces",
            Self::DaemonSet => "daemonsets",
            Self::Lease => "leases",
            Self::EniConfig => "eniconfigs",
            Self::CniNode => "cninodes",
        }
    }

    /// Whether objects of the kind live in namespaces.
    pub(crate) fn namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::Namespace | Self::EniConfig | Self::CniNode)
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    /// `/version`.
    Version,
    /// Discovery and schema documents, by path.
    Document(String),
    /// `selfsubjectaccessreviews` and its like, by resource.
    Review(String),
    /// A collection of objects or one of them.
    Objects { kind: Kind, namespace: Option<String>, name: Option<String> },
    /// `pods/[scheme:]name[:port]/proxy/path`.
    Proxy { namespace: String, target: String, path: String },
    /// Nothing.
    Unknown,
}

impl Route {
    /// Parses the path (not the query).
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["version"] => Self::Version,
            ["api" | "apis"] | ["api", "v1"] | ["apis", _] | ["apis", _, _] | ["openapi", ..] => {
                Self::Document(segments.join("/"))
            }
            ["apis", "authorization.k8s.io" | "authentication.k8s.io", "v1", resource] => {
                Self::Review((*resource).to_owned())
            }
            ["api", "v1", "namespaces", namespace, "pods", target, "proxy", rest @ ..] => {
                // The page's own path may have empty segments; only the way to it is parsed.
                Self::Proxy {
                    namespace: percent_decoded(namespace),
                    target: percent_decoded(target),
                    path: format!("/{}", rest.join("/")),
                }
            }
            ["api", "v1", rest @ ..] => Self::objects("v1", rest),
            ["apis", group, version, rest @ ..] => Self::objects(&format!("{group}/{version}"), rest),
            _ => Self::Unknown,
        }
    }

    fn objects(api_version: &str, segments: &[&str]) -> Self {
        let (namespace, resource, name) = match segments {
            ["namespaces", namespace, resource] => (Some(*namespace), *resource, None),
            ["namespaces", namespace, resource, name] => (Some(*namespace), *resource, Some(*name)),
            [resource] => (None, *resource, None),
            [resource, name] => (None, *resource, Some(*name)),
            _ => return Self::Unknown,
        };
        let is_it = |kind: &Kind| kind.plural() == resource && kind.api_version() == api_version;
        let Some(kind) = Kind::ALL.into_iter().find(is_it) else { return Self::Unknown };
        // `/api/v1/pods/x` and `/api/v1/namespaces/a/nodes` are not paths of the API.
        let one_without_its_namespace = kind.namespaced() && namespace.is_none() && name.is_some();
        if one_without_its_namespace || (!kind.namespaced() && namespace.is_some()) {
            return Self::Unknown;
        }
        Self::Objects { kind, namespace: namespace.map(percent_decoded), name: name.map(percent_decoded) }
    }
}

/// The RBAC verb of a request for objects.
pub(crate) fn verb(method: &Method, one_object: bool, watch: bool) -> Option<&'static str> {
    Some(match (method.as_str(), one_object) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", false) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        _ => return None,
    })
}

/// A request's query parameters, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let fields = query.unwrap_or_default().split('&').filter(|field| !field.is_empty());
        Self(
            fields
                .map(|field| field.split_once('=').unwrap_or((field, "")))
                .map(|(key, value)| {
                    (percent_decoded(&key.replace('+', " ")), percent_decoded(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// The parameter's value; an empty one counts as absent, as it does to the API server.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A boolean parameter.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value, "1" | "true" | "True" | "TRUE"))
    }
}

/// Decodes `%XX`; an invalid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_api_server_has_them() {
        let pods = |namespace: Option<&str>, name: Option<&str>| Route::Objects {
            kind: Kind::Pod,
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        assert_eq!(Route::parse("/api/v1/pods"), pods(None, None));
        assert_eq!(Route::parse("/api/v1/namespaces/kube-system/pods"), pods(Some("kube-system"), None));
        assert_eq!(Route::parse("/api/v1/namespaces/a/pods/b"), pods(Some("a"), Some("b")));
        assert_eq!(Route::parse("/api/v1/pods/b"), Route::Unknown);
        assert_eq!(Route::parse("/api/v1/namespaces/a/nodes"), Route::Unknown);
        assert_eq!(Route::parse("/apis/apps/v1/pods"), Route::Unknown);
        assert_eq!(
            Route::parse("/api/v1/namespaces/a"),
            Route::Objects { kind: Kind::Namespace, namespace: None, name: Some("a".to_owned()) }
        );
        assert_eq!(
            Route::parse("/apis/coordination.k8s.io/v1/namespaces/a/leases/l"),
            Route::Objects { kind: Kind::Lease, namespace: Some("a".to_owned()), name: Some("l".to_owned()) }
        );
        assert_eq!(Route::parse("/apis/apps/v1"), Route::Document("apis/apps/v1".to_owned()));
        assert_eq!(
            Route::parse("/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs/zone-a"),
            Route::Objects { kind: Kind::EniConfig, namespace: None, name: Some("zone-a".to_owned()) }
        );
        assert_eq!(Route::parse("/apis/crd.k8s.amazonaws.com/v1/eniconfigs"), Route::Unknown);
        assert_eq!(Route::parse("/apis/vpcresources.k8s.aws/v1alpha1/namespaces/a/cninodes"), Route::Unknown);
    }

    #[test]
    fn proxy_paths_keep_scheme_port_and_rest() {
        let expected = Route::Proxy {
            namespace: "kube-system".to_owned(),
            target: "http:aws-node-x:61678".to_owned(),
            path: "/metrics".to_owned(),
        };
        assert_eq!(Route::parse("/api/v1/namespaces/kube-system/pods/http:aws-node-x:61678/proxy/metrics"), expected);
        assert_eq!(
            Route::parse("/api/v1/namespaces/kube-system/pods/http%3Aaws-node-x%3a61678/proxy/metrics"),
            expected
        );
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("labelSelector=a%20in+%28x%2Cy%29&watch=1&limit=&odd=%zz"));
        assert_eq!(query.get("labelSelector"), Some("a in (x,y)"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("limit"), None);
        assert_eq!(query.get("odd"), Some("%zz"));
    }
}
