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

use super::http::AwsHttp;
use super::metadata::CLUSTER_TAGS;
use super::{Environment, Verdict, refused};
use cni_runtime::text::{causes, excerpt};
use cni_types::partition::{EndpointVariant, ec2_endpoint};

/// Three tags are a few hundred bytes.
const MOST_BYTES: usize = 64 << 10;

/// The tags of [`CLUSTER_TAGS`] that the instance has, best first, with their values. Credentials and answer together
/// take at most `limit`.
pub async fn cluster_tags(
    http: &AwsHttp,
    environment: &Environment,
    sdk: &SdkConfig,
    instance_id: &str,
    limit: Duration,
) -> Verdict<Tags> {
    let answer = tokio::time::timeout(limit, call(http, environment, sdk, instance_id)).await;
    match answer {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(why)) => Verdict::Unavailable(why),
        Err(_) => Verdict::Unavailable(format!("no answer within {:.1} s", limit.as_secs_f64())),
    }
}

/// Names and values.
pub type Tags = Vec<(&'static str, String)>;

/// An error is a request that was not answered.
async fn call(
    http: &AwsHttp,
    environment: &Environment,
    sdk: &SdkConfig,
    instance_id: &str,
) -> Result<Verdict<Tags>, String> {
    let request = signed_request(environment, sdk, instance_id).await?;
    let request = request.try_into().map_err(unanswered)?;
    let response = http.connector().call(request).await.map_err(unanswered)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(unanswered)?.to_bytes();
    Ok(read(status, &body))
}

fn unanswered(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> String {
    causes(&*error.into())
}

async fn signed_request(
    environment: &Environment,
    sdk: &SdkConfig,
    instance_id: &str,
) -> Result<::http::Request<SdkBody>, String> {
    let missing = |what: &str| what.to_owned();
    let region = sdk.region().ok_or_else(|| missing("no region"))?.as_ref();
    let credentials = sdk.credentials_provider().ok_or_else(|| missing("no credentials"))?;
    let identity: Identity = credentials.provide_credentials().await.map_err(unanswered)?.into();

    let url = endpoint_url(environment, sdk, region);
    let body = body(instance_id);
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ec2")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(unanswered)?
        .into();
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
        .map_err(unanswered)?;
    let (instructions, _signature) = sign(signable, &params).map_err(unanswered)?.into_parts();
    let [(name, value)] = headers;
    let request = ::http::Request::post(&url).header(name, value);
    let mut request = request.body(SdkBody::from(body)).map_err(unanswered)?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// `AWS_ENDPOINT_URL_EC2`, then the general override, then the region's own.
fn endpoint_url(environment: &Environment, sdk: &SdkConfig, region: &str) -> String {
    let overridden = environment.ec2_endpoint_url.clone().or_else(|| sdk.endpoint_url().map(str::to_owned));
    let url = overridden.unwrap_or_else(|| {
        let variant = EndpointVariant {
            fips: sdk.use_fips().unwrap_or(false),
            dual_stack: sdk.use_dual_stack().unwrap_or(false),
        };
        ec2_endpoint(region, variant)
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

fn read(status: u16, body: &[u8]) -> Verdict<Tags> {
    let text = String::from_utf8_lossy(body);
    let document = roxmltree::Document::parse(&text);
    if status != 200 {
        let code = document.ok().and_then(|document| text_of(document.root(), "Code")).unwrap_or_default();
        return match code.as_str() {
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
                Verdict::SaysNo("not allowed to call ec2:DescribeTags".to_owned())
            }
            code => refused(status, format!("HTTP status {status}: {}", excerpt(code))),
        };
    }
    let document = match document {
        Ok(document) => document,
        Err(error) => return Verdict::Unavailable(format!("not an EC2 answer: {}", excerpt(&error.to_string()))),
    };
    let items: Vec<(String, String)> = document
        .descendants()
        .filter(|node| is(*node, "item"))
        .filter_map(|item| Some((text_of(item, "key")?, text_of(item, "value")?)))
        .collect();
    let value = |wanted: &str| items.iter().find(|(key, value)| key == wanted && !value.trim().is_empty());
    let tags: Tags = CLUSTER_TAGS.iter().filter_map(|name| Some((*name, value(name)?.1.trim().to_owned()))).collect();
    if tags.is_empty() {
        Verdict::SaysNo("the instance has none of these tags".to_owned())
    } else {
        Verdict::Says(tags)
    }
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
    fn tags_with_a_value_come_best_first() {
        let tags = [("Name", "node-7"), ("eks:cluster-name", " "), ("CLUSTER_ID", " prod "), ("other", "x")];
        let expected = vec![("CLUSTER_ID", "prod".to_owned()), ("Name", "node-7".to_owned())];
        assert_eq!(read(200, answer(&tags).as_bytes()), Verdict::Says(expected));
        assert!(matches!(read(200, answer(&[]).as_bytes()), Verdict::SaysNo(_)));
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_fault_of_the_service_is_none() {
        let error = |code: &str| format!("<Response><Errors><Error><Code>{code}</Code></Error></Errors></Response>");
        for (status, code) in [(403, "UnauthorizedOperation"), (400, "AccessDenied"), (401, "AuthFailure"), (404, "x")]
        {
            assert!(matches!(read(status, error(code).as_bytes()), Verdict::SaysNo(_)), "{status} {code}");
        }
        for (status, code) in
            [(503, "RequestLimitExceeded"), (500, "InternalError"), (400, "RequestExpired"), (429, "")]
        {
            assert!(read(status, error(code).as_bytes()).is_open(), "{status} {code}");
        }
        assert!(read(200, b"<html>").is_open() && read(502, b"\xff\xfe").is_open());
        let Verdict::Unavailable(text) = read(500, error(&"\u{9b}31m&#10;".repeat(10_000)).as_bytes()) else {
            panic!()
        };
        assert!(text.len() < 4000 && !text.contains(['\u{9b}', '\n']), "{text}");
    }
}
