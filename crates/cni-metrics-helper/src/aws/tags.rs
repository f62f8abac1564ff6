//! `ec2:DescribeTags`, signed by hand: one call at start does not justify an SDK crate that takes minutes and gigabytes
//! to compile.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};

use super::endpoint::{self, Variant};
use super::http::AwsHttp;
use super::metadata::CLUSTER_TAGS;

/// Credentials and answer together. Start-up waits for this only where the cluster's name is not known otherwise.
const BUDGET: Duration = Duration::from_secs(3);
/// Three tags are a few hundred bytes.
const MOST_BYTES: usize = 64 << 10;

/// Why there are no tags from EC2. None of them is an error of the helper: the next source is asked.
#[derive(Debug, thiserror::Error)]
pub enum TagsError {
    /// IAM says no, which is a usual and safe configuration.
    #[error("not allowed to call ec2:DescribeTags")]
    Denied,
    /// The region has no answering endpoint, the credentials none to give, or it took too long.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The request was refused.
    #[error("HTTP {status}: {code}")]
    Refused {
        /// Its status.
        status: u16,
        /// EC2's error code.
        code: String,
    },
    /// The answer is not EC2's.
    #[error("not an EC2 answer: {0}")]
    Answer(String),
}

/// The first of [`CLUSTER_TAGS`] that the instance has, with its value.
pub async fn cluster_tag(
    http: &AwsHttp,
    sdk: &SdkConfig,
    instance_id: &str,
) -> Result<Option<(&'static str, String)>, TagsError> {
    let call = call(http, sdk, instance_id);
    let answer = tokio::time::timeout(BUDGET, call).await;
    answer.unwrap_or_else(|_| Err(TagsError::Unreachable(format!("nothing within {} s", BUDGET.as_secs()))))
}

async fn call(http: &AwsHttp, sdk: &SdkConfig, instance_id: &str) -> Result<Option<(&'static str, String)>, TagsError> {
    let request = signed_request(sdk, instance_id).await?;
    let request = request.try_into().map_err(unreachable)?;
    let response = http.connector().call(request).await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(unreachable)?.to_bytes();
    read(status, &body)
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TagsError {
    let error = error.into();
    let causes = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source());
    TagsError::Unreachable(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

async fn signed_request(sdk: &SdkConfig, instance_id: &str) -> Result<::http::Request<SdkBody>, TagsError> {
    let missing = |what: &str| TagsError::Unreachable(what.to_owned());
    let region = sdk.region().ok_or_else(|| missing("no region"))?.as_ref();
    let credentials = sdk.credentials_provider().ok_or_else(|| missing("no credentials"))?;
    let identity: Identity = credentials.provide_credentials().await.map_err(unreachable)?.into();

    let url = endpoint_url(sdk, region);
    let body = body(instance_id);
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ec2")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(unreachable)?
        .into();
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
        .map_err(unreachable)?;
    let (instructions, _signature) = sign(signable, &params).map_err(unreachable)?.into_parts();
    let [(name, value)] = headers;
    let request = ::http::Request::post(&url).header(name, value);
    let mut request = request.body(SdkBody::from(body)).map_err(unreachable)?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// `AWS_ENDPOINT_URL_EC2`, then the general override, then the region's own.
fn endpoint_url(sdk: &SdkConfig, region: &str) -> String {
    let variable = std::env::var("AWS_ENDPOINT_URL_EC2").ok().filter(|url| !url.is_empty());
    let ignored = std::env::var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_ok_and(|value| value == "true");
    let overridden = variable.filter(|_| !ignored).or_else(|| sdk.endpoint_url().map(str::to_owned));
    let url = overridden.unwrap_or_else(|| {
        let variant =
            Variant { fips: sdk.use_fips().unwrap_or(false), dual_stack: sdk.use_dual_stack().unwrap_or(false) };
        endpoint::ec2(region, variant)
    });
    format!("{}/", url.trim_end_matches('/'))
}

/// The form. Instance ids and tag names have no character that needs escaping but the colon.
fn body(instance_id: &str) -> String {
    let safe: String = instance_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let value = |(index, tag): (usize, &&str)| format!("Filter.2.Value.{}={}", index + 1, tag.replace(':', "%3A"));
    let values: Vec<String> = CLUSTER_TAGS.iter().enumerate().map(value).collect();
    format!(
        "Action=DescribeTags&Version=2016-11-15&Filter.1.Name=resource-id&Filter.1.Value.1={safe}&Filter.2.Name=key&{}",
        values.join("&")
    )
}

fn read(status: u16, body: &[u8]) -> Result<Option<(&'static str, String)>, TagsError> {
    let text = String::from_utf8_lossy(body);
    let document = roxmltree::Document::parse(&text);
    if status != 200 {
        let code = document.ok().and_then(|document| text_of(document.root(), "Code")).unwrap_or_default();
        let denied = matches!(code.as_str(), "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException");
        return Err(if denied { TagsError::Denied } else { TagsError::Refused { status, code } });
    }
    let document = document.map_err(|error| TagsError::Answer(error.to_string()))?;
    let tags: Vec<(String, String)> = document
        .descendants()
        .filter(|node| is(*node, "item"))
        .filter_map(|item| Some((text_of(item, "key")?, text_of(item, "value")?)))
        .collect();
    let value = |wanted: &str| tags.iter().find(|(key, value)| key == wanted && !value.trim().is_empty());
    Ok(CLUSTER_TAGS.iter().find_map(|name| Some((*name, value(name)?.1.trim().to_owned()))))
}

fn text_of(node: roxmltree::Node<'_, '_>, name: &str) -> Option<String> {
    let found = node.descendants().find(|node| is(*node, name))?;
    found.text().map(str::to_owned)
}

/// An element of this name, in whatever namespace: that changes with the API's version.
fn is(node: roxmltree::Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(tags: &[(&str, &str)]) -> String {
        let item = |(key, value): &(&str, &str)| format!("<item><key>{key}</key><value>{value}</value></item>");
        let items: Vec<String> = tags.iter().map(item).collect();
        let items = items.concat();
        format!(
            "<DescribeTagsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><tagSet>{items}</tagSet></DescribeTagsResponse>"
        )
    }

    #[test]
    fn the_best_tag_with_a_value_wins() {
        let tags = [("Name", "node-7"), ("eks:cluster-name", " "), ("CLUSTER_ID", "prod")];
        assert_eq!(read(200, answer(&tags).as_bytes()).unwrap(), Some(("CLUSTER_ID", "prod".to_owned())));
        assert_eq!(read(200, answer(&[]).as_bytes()).unwrap(), None);
    }

    #[test]
    fn refusals_and_garbage_are_told_apart() {
        let denied = b"<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>";
        assert!(matches!(read(403, denied), Err(TagsError::Denied)));
        let busy = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>";
        assert!(
            matches!(read(503, busy), Err(TagsError::Refused { status: 503, code }) if code == "RequestLimitExceeded")
        );
        assert!(matches!(read(200, b"<html>"), Err(TagsError::Answer(_))));
        assert!(matches!(read(502, b"\xff\xfe"), Err(TagsError::Refused { status: 502, .. })));
    }
}
