//! What representation a client asked for. Clients that would rather have protobuf get JSON, which they all read.

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The objects themselves.
    Full,
    /// Rows and columns, as `kubectl get` prints them; the version of `meta.k8s.io`.
    Table(&'static str),
    /// Metadata only; the version of `meta.k8s.io`.
    Partial(&'static str),
}

impl Format {
    /// From an `Accept` header: the first alternative that can be served.
    pub(crate) fn negotiate(accept: Option<&str>) -> Self {
        accept.unwrap_or_default().split(',').find_map(Self::alternative).unwrap_or(Self::Full)
    }

    fn alternative(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next()?;
        if !matches!(media_type, "application/json" | "application/*" | "*/*") {
            return None;
        }
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |wanted: &str| parameters.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let version = match parameter("v") {
            Some("v1") => Some("v1"),
            Some("v1beta1") => Some("v1beta1"),
            _ => None,
        };
        match (parameter("as"), version) {
            (None, _) => Some(Self::Full),
            (Some("Table"), Some(version)) => Some(Self::Table(version)),
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some(version)) => {
                Some(Self::Partial(version))
            }
            _ => None,
        }
    }
}

/// Whether a client takes gzip (`Accept-Encoding`), `gzip;q=0` being a refusal.
pub(crate) fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    accept_encoding.unwrap_or_default().split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (accept, expected) in [
            (None, Format::Full),
            (Some("*/*"), Format::Full),
            (Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Format::Table("v1")),
            (Some("application/json;as=Table;v=v2;g=meta.k8s.io,application/json"), Format::Full),
            (Some("application/vnd.kubernetes.protobuf,application/json"), Format::Full),
            (Some("application/vnd.kubernetes.protobuf"), Format::Full),
            (
                Some(
                    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
                ),
                Format::Partial("v1"),
            ),
            (Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Format::Partial("v1")),
        ] {
            assert_eq!(Format::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn gzip_only_when_asked_for() {
        assert!(accepts_gzip(Some("gzip")));
        assert!(accepts_gzip(Some("deflate, GZIP;q=0.5")));
        assert!(!accepts_gzip(Some("gzip;q=0, identity")));
        assert!(!accepts_gzip(Some("identity")));
        assert!(!accepts_gzip(None));
    }
}
