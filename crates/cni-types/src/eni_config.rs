//! Which `ENIConfig` is a node's: with custom networking the agent makes ENIs by the object of this name.

/// Group, version and resource of the kind.
pub const GROUP: &str = "crd.k8s.amazonaws.com";
/// The version that agents read.
pub const VERSION: &str = "v1alpha1";
/// Its resource.
pub const PLURAL: &str = "eniconfigs";

/// A node's label that names it before all others: something outside of the agent manages it.
pub const EXTERNAL_LABEL: &str = "vpc.amazonaws.com/externalEniConfig";
/// The key of the annotation, and of the label, that name it where no variable says otherwise.
pub const USUAL_KEY: &str = "k8s.amazonaws.com/eniConfig";
/// The agent's variable with the key of the annotation.
pub const ANNOTATION_VARIABLE: &str = "ENI_CONFIG_ANNOTATION_DEF";
/// The agent's variable with the key of the label.
pub const LABEL_VARIABLE: &str = "ENI_CONFIG_LABEL_DEF";
/// The labels with a node's zone, of which one is mostly the key.
pub const ZONE_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// The name where the node has none of these.
pub const USUAL_NAME: &str = "default";

/// What a node has that can name its `ENIConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeMarks<'a> {
    /// The label [`EXTERNAL_LABEL`].
    pub external: Option<&'a str>,
    /// The annotation [`USUAL_KEY`].
    pub annotation: Option<&'a str>,
    /// The label [`USUAL_KEY`].
    pub label: Option<&'a str>,
    /// Its zone.
    pub zone: Option<&'a str>,
}

/// The name, found as the agent finds it; `annotation_key` and `label_key` are the values of its variables, where set. `None`
/// where a variable names a key whose value is not among the marks, so that the name is not known.
pub fn name<'a>(marks: NodeMarks<'a>, annotation_key: Option<&str>, label_key: Option<&str>) -> Option<&'a str> {
    if let Some(external) = marks.external {
        return Some(external);
    }
    let key = |key: Option<&str>| -> String { key.filter(|key| !key.is_empty()).unwrap_or(USUAL_KEY).to_owned() };
    if key(annotation_key) != USUAL_KEY {
        return None;
    }
    if let Some(annotation) = marks.annotation {
        return Some(annotation);
    }
    match key(label_key).as_str() {
        USUAL_KEY => Some(marks.label.unwrap_or(USUAL_NAME)),
        zone if ZONE_LABELS.contains(&zone) => marks.zone,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_in_the_agents_order() {
        let all = NodeMarks { external: Some("e"), annotation: Some("a"), label: Some("l"), zone: Some("z") };
        let zone = Some(ZONE_LABELS[0]);
        for (marks, annotation_key, label_key, expected) in [
            (all, None, zone, Some("e")),
            (all, Some("my/key"), Some("my/key"), Some("e")),
            (NodeMarks { external: None, ..all }, Some(""), zone, Some("a")),
            (NodeMarks { external: None, ..all }, Some("my/key"), zone, None),
            (NodeMarks { external: None, annotation: None, ..all }, None, None, Some("l")),
            (NodeMarks { external: None, annotation: None, ..all }, None, zone, Some("z")),
            (NodeMarks { external: None, annotation: None, ..all }, None, Some(ZONE_LABELS[1]), Some("z")),
            (NodeMarks { external: None, annotation: None, ..all }, None, Some("my/key"), None),
            (NodeMarks::default(), None, Some(""), Some("default")),
            (NodeMarks::default(), None, zone, None),
        ] {
            assert_eq!(name(marks, annotation_key, label_key), expected, "{marks:?} {annotation_key:?} {label_key:?}");
        }
    }
}
