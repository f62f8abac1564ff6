//! Label and field selectors.

use crate::kube_store::{Meta, Object};

/// Which objects a list or watch is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    namespace: Option<String>,
    name: Option<String>,
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTerm {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    field: String,
    value: String,
    equal: bool,
}

/// A selector that cannot be parsed, or asks for a field that cannot be selected by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    #[error("unable to parse requirement: {0:?}")]
    Label(String),
    #[error("invalid selector: {0:?}; can't understand {0:?}")]
    Field(String),
    #[error("field label not supported: {0}")]
    Unsupported(String),
}

impl Selector {
    /// From a request's namespace and name and its `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(
        namespace: Option<&str>,
        name: Option<&str>,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, SelectorError> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            labels: split_terms(labels.unwrap_or_default()).into_iter().map(label_term).collect::<Result<_, _>>()?,
            fields: split_terms(fields.unwrap_or_default()).into_iter().map(field_term).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it selects by labels or fields: then a list cannot say how many items remain.
    pub(crate) fn is_narrow(&self) -> bool {
        !(self.labels.is_empty() && self.fields.is_empty())
    }

    /// Fails for fields this kind cannot be selected by, whatever objects there are.
    pub(crate) fn check_fields(&self, kind: crate::kube_store::Kind) -> Result<(), SelectorError> {
        let unsupported = self.fields.iter().find(|term| !field_names(kind).contains(&term.field.as_str()));
        unsupported.map_or(Ok(()), |term| Err(SelectorError::Unsupported(term.field.clone())))
    }

    /// Whether the object is selected.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_ref().is_none_or(|namespace| **namespace == *meta.namespace)
            && self.name.as_ref().is_none_or(|name| **name == *meta.name)
            && self.labels.iter().all(|term| term.matches(meta))
            && self.fields.iter().all(|term| (field_value(object, &term.field) == term.value) == term.equal)
    }
}

impl LabelTerm {
    fn matches(&self, meta: &Meta) -> bool {
        let number = |key: &str| meta.label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => meta.label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Self::NotIn(key, values) => meta.label(key).is_none_or(|value| values.iter().all(|v| v != value)),
            Self::Exists(key) => meta.label(key).is_some(),
            Self::Absent(key) => meta.label(key).is_none(),
            Self::Greater(key, than) => number(key).is_some_and(|value| value > *than),
            Self::Less(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let comma = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(comma).map(str::trim).filter(|term| !term.is_empty()).collect()
}

fn label_term(term: &str) -> Result<LabelTerm, SelectorError> {
    let broken = || SelectorError::Label(term.to_owned());
    let key = |text: &str| {
        let text = text.trim();
        let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if good { Ok(text.to_owned()) } else { Err(broken()) }
    };
    let value = |text: &str| {
        let text = text.trim();
        let good = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if good { Ok(text.to_owned()) } else { Err(broken()) }
    };
    if let Some(absent) = term.strip_prefix('!') {
        return Ok(LabelTerm::Absent(key(absent)?));
    }
    if let Some(head) = term.strip_suffix(')') {
        let (head, list) = head.split_once('(').ok_or_else(broken)?;
        let values = list.split(',').map(value).collect::<Result<_, _>>()?;
        return match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [name, "in"] => Ok(LabelTerm::In(key(name)?, values)),
            [name, "notin"] => Ok(LabelTerm::NotIn(key(name)?, values)),
            _ => Err(broken()),
        };
    }
    // The longer operators first: "!=" and "==" both contain "=".
    for operator in ["!=", "==", "=", ">", "<"] {
        let Some((name, wanted)) = term.split_once(operator) else { continue };
        let number = || wanted.trim().parse::<i64>().map_err(|_| broken());
        return Ok(match operator {
            "!=" => LabelTerm::NotIn(key(name)?, vec![value(wanted)?]),
            ">" => LabelTerm::Greater(key(name)?, number()?),
            "<" => LabelTerm::Less(key(name)?, number()?),
            _ => LabelTerm::In(key(name)?, vec![value(wanted)?]),
        });
    }
    Ok(LabelTerm::Exists(key(term)?))
}

fn field_term(term: &str) -> Result<FieldTerm, SelectorError> {
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((field, value)) = term.split_once(operator) {
            return Ok(FieldTerm { field: field.trim().to_owned(), value: value.trim().to_owned(), equal });
        }
    }
    Err(SelectorError::Field(term.to_owned()))
}

fn field_names(kind: crate::kube_store::Kind) -> &'static [&'static str] {
    use crate::kube_store::Kind;
    match kind {
        Kind::Pod => &[
            "metadata.name",
            "metadata.namespace",
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
        ],
        Kind::Node => &["metadata.name", "spec.unschedulable"],
        Kind::Namespace => &["metadata.name", "status.phase"],
        Kind::DaemonSet | Kind::Lease => &["metadata.name", "metadata.namespace"],
        Kind::EniConfig | Kind::CniNode => &["metadata.name"],
    }
}

fn field_value(object: &Object, field: &str) -> String {
    match (field, object) {
        ("metadata.name", _) => object.meta().name.to_string(),
        ("metadata.namespace", _) => object.meta().namespace.to_string(),
        ("spec.hostNetwork", Object::Pod(pod)) => pod.template.host_network.to_string(),
        ("spec.nodeName", Object::Pod(pod)) => pod.node_name.as_deref().unwrap_or_default().to_owned(),
        ("spec.restartPolicy", Object::Pod(_)) => "Always".to_owned(),
        ("spec.schedulerName", Object::Pod(_)) => "default-scheduler".to_owned(),
        ("spec.serviceAccountName", Object::Pod(pod)) => pod.template.service_account.clone(),
        ("status.phase", Object::Pod(pod)) => pod.phase.as_str().to_owned(),
        ("status.phase", Object::Namespace(namespace)) => {
            if namespace.meta.deletion_ms.is_some() { "Terminating" } else { "Active" }.to_owned()
        }
        ("status.podIP", Object::Pod(pod)) => pod.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        ("spec.unschedulable", Object::Node(node)) => node.unschedulable.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube_store::{Kind, NamespaceObject, pairs};
    use std::sync::Arc;

    fn labelled(labels: &[(&str, &str)]) -> Object {
        let meta = Meta { labels: pairs(labels.iter().copied()), ..Meta::new("", "x", 0) };
        Object::Namespace(Arc::new(NamespaceObject { meta }))
    }

    #[test]
    fn label_selectors_of_every_form() {
        let object = labelled(&[("app", "web"), ("tier", "2"), ("k8s.io/zone", "a")]);
        for (selector, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("missing!=db", true),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("app notin (db),tier=2", true),
            ("app notin (web)", false),
            ("missing notin (web)", true),
            ("k8s.io/zone", true),
            ("missing", false),
            ("!missing", true),
            ("!app", false),
            ("tier>1,tier<3", true),
            ("tier>2", false),
            ("", true),
        ] {
            let parsed = Selector::parse(None, None, Some(selector), None).unwrap();
            assert_eq!(parsed.matches(&object), expected, "{selector}");
        }
        for broken in ["app in web", "a b", "app like (x)", "tier>x", "a=b=c d"] {
            assert!(Selector::parse(None, None, Some(broken), None).is_err(), "{broken}");
        }
    }

    #[test]
    fn field_selectors_know_their_kind() {
        let object = labelled(&[]);
        let parse = |fields| Selector::parse(None, None, None, Some(fields)).unwrap();
        assert!(parse("metadata.name=x").matches(&object));
        assert!(!parse("metadata.name!=x").matches(&object));
        assert!(parse("status.phase==Active").matches(&object));
        assert!(parse("spec.nodeName=n").check_fields(Kind::Pod).is_ok());
        let refused = parse("spec.nodeName=n").check_fields(Kind::Node).unwrap_err();
        assert_eq!(refused.to_string(), "field label not supported: spec.nodeName");
        assert!(Selector::parse(None, None, None, Some("spec.nodeName")).is_err());
    }
}
