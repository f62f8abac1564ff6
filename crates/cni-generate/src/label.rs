//! A Kubernetes label as given on the command line.

use std::str::FromStr;

/// `KEY=VALUE`, both as Kubernetes allows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) key: String,
    pub(super) value: String,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LabelError {
    /// See the text.
    #[error("must be KEY=VALUE, such as release=kube-prometheus-stack")]
    Form,
    /// See the text.
    #[error(
        "the key must be 1 to 63 letters, digits, '-', '_' and '.', a letter or digit at both ends; before it there may be a \
         lower-case domain name and '/'"
    )]
    Key,
    /// See the text.
    #[error("the value must be at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends, or empty")]
    Value,
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) = text.split_once('=').ok_or(LabelError::Form)?;
        let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
        if !is_name(name) || !prefix.is_none_or(is_domain) {
            return Err(LabelError::Key);
        }
        if !value.is_empty() && !is_name(value) {
            return Err(LabelError::Value);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(cni_types::names::is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_kubernetes_allows() {
        let long = "x".repeat(63);
        for (text, key, value) in [
            ("release=kube-prometheus-stack", "release", "kube-prometheus-stack"),
            ("example.com/Team_1.x=", "example.com/Team_1.x", ""),
            (&format!("{long}={long}"), long.as_str(), long.as_str()),
        ] {
            assert_eq!(text.parse(), Ok(Label { key: key.to_owned(), value: value.to_owned() }), "{text}");
        }
        for (text, error) in [
            ("release", LabelError::Form),
            ("=x", LabelError::Key),
            ("-a=x", LabelError::Key),
            ("a b=x", LabelError::Key),
            ("Example.com/a=x", LabelError::Key),
            ("/a=x", LabelError::Key),
            ("a/b/c=x", LabelError::Key),
            (&format!("x{long}=x"), LabelError::Key),
            ("a=b=c", LabelError::Value),
            ("a=b c", LabelError::Value),
            ("a=b\n", LabelError::Value),
            ("a=-", LabelError::Value),
            (&format!("a=x{long}"), LabelError::Value),
        ] {
            assert_eq!(text.parse::<Label>(), Err(error), "{text:?}");
        }
    }
}
