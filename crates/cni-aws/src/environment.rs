//! The variables of AWS that are read here and not by the SDK.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the process's environment says, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `AWS_DEFAULT_REGION`.
    pub default_region: Option<String>,
    /// `AWS_CA_BUNDLE`; `None` where it is empty.
    pub ca_bundle: Option<PathBuf>,
    /// `AWS_EC2_METADATA_DISABLED` is true.
    pub is_metadata_disabled: bool,
    /// `AWS_ENDPOINT_URL_EC2`; `None` where it is empty or `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is true.
    pub ec2_endpoint_url: Option<String>,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are both set.
    pub has_access_key: bool,
    /// Sources of a role's credentials.
    pub roles: RoleVariables,
}

/// Which sources of a role's credentials are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleVariables {
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN` are both set.
    pub web_identity: bool,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` is set.
    pub container: bool,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` is set.
    pub pod_identity: bool,
}

impl Environment {
    /// Reads the variables; `variable` returns the value of one, `None` where it is not set.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let set = |name: &str| given(name).is_some();
        let ignores_urls = text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value == "true");
        Self {
            default_region: text("AWS_DEFAULT_REGION"),
            ca_bundle: given("AWS_CA_BUNDLE").map(PathBuf::from),
            is_metadata_disabled: text("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
            ec2_endpoint_url: text("AWS_ENDPOINT_URL_EC2").filter(|url| !url.is_empty() && !ignores_urls),
            has_access_key: set("AWS_ACCESS_KEY_ID") && set("AWS_SECRET_ACCESS_KEY"),
            roles: RoleVariables {
                web_identity: set("AWS_WEB_IDENTITY_TOKEN_FILE") && set("AWS_ROLE_ARN"),
                container: set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
                pod_identity: set("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let nothing = of(&[]);
        assert!(!nothing.has_access_key && !nothing.is_metadata_disabled);
        let empty = of(&[
            ("AWS_CA_BUNDLE", ""),
            ("AWS_ENDPOINT_URL_EC2", ""),
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
        ]);
        assert_eq!(empty, nothing);
    }

    #[test]
    fn each_variable_has_its_effect() {
        let url = ("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:1");
        assert_eq!(of(&[url]).ec2_endpoint_url.as_deref(), Some(url.1));
        assert_eq!(of(&[url, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]).ec2_endpoint_url, None);
        assert!(of(&[("AWS_EC2_METADATA_DISABLED", " True ")]).is_metadata_disabled);
        assert_eq!(of(&[("AWS_DEFAULT_REGION", "eu-central-1")]).default_region.as_deref(), Some("eu-central-1"));
        assert_eq!(of(&[("AWS_CA_BUNDLE", "/ca.pem")]).ca_bundle, Some(PathBuf::from("/ca.pem")));
        assert!(of(&[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")]).has_access_key);
        let roles = |name| {
            let RoleVariables { web_identity, container, pod_identity } =
                of(&[(name, "a"), ("AWS_ROLE_ARN", "r")]).roles;
            [web_identity, container, pod_identity]
        };
        assert_eq!(roles("AWS_WEB_IDENTITY_TOKEN_FILE"), [true, false, false]);
        assert_eq!(roles("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), [false, true, false]);
        assert_eq!(roles("AWS_CONTAINER_CREDENTIALS_FULL_URI"), [false, false, true]);
        assert!(!of(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]).roles.web_identity, "no role to assume");
    }
}
