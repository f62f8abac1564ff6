//! The interface to CloudWatch: what a request is, how it can end, and the AWS SDK behind it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_cloudwatch::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudwatch::error::BoxError;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_runtime_api::client::dns::ResolveDnsError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use cni_types::catalogue::Unit;

use super::settings::CloudWatchSettings;
use crate::delivery::buffer::Point;
use crate::delivery::retry::LONGEST_RETRY_AFTER;
use crate::stats::RequestOutcome;
use cni_runtime::text::{causes, excerpt};

/// The dimension's name, as the Go helper has it.
pub const DIMENSION: &str = "CLUSTER_ID";
/// The second dimension's name, where each of several replicas publishes its share.
pub const SHARD_DIMENSION: &str = "SHARD";
/// Timeout of a connection attempt: packets that a route drops get no answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Where points go. CloudWatch is the only one in the program; tests script their own.
pub trait MetricClient: Send + Sync + 'static {
    /// Sends one request of at most [`super::limits::MAX_DATA`] points, once.
    fn put(&self, points: Vec<Point>) -> impl Future<Output = Result<(), PutError>> + Send;
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PutError {
    /// Too many requests.
    #[error("CloudWatch throttles requests ({detail})")]
    Throttled {
        /// How long, if it said.
        retry_after: Option<Duration>,
        /// In the service's words.
        detail: String,
    },
    /// The service failed, or something between it and the helper answered in its place.
    #[error("CloudWatch is unavailable ({detail})")]
    Unavailable {
        /// How long to wait, if it said.
        retry_after: Option<Duration>,
        /// In the service's words.
        detail: String,
    },
    /// It was not sent.
    #[error("CloudWatch cannot be reached ({0})")]
    Network(String),
    /// It was sent, or nothing proves that it was not, and no answer came: CloudWatch may have taken it.
    #[error("CloudWatch did not answer a request that was sent to it ({0})")]
    NoAnswer(String),
    /// No credentials, or expired, or unknown ones.
    #[error("no usable AWS credentials ({0})")]
    Credentials(String),
    /// The credentials are good, but not for this.
    #[error("not allowed to call cloudwatch:PutMetricData ({0})")]
    AccessDenied(String),
    /// The request is wrong; sending it again would not help.
    #[error("CloudWatch rejected the request ({0})")]
    Rejected(String),
}

impl PutError {
    /// For the counters.
    pub fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Throttled { .. } => RequestOutcome::Throttled,
            Self::Unavailable { .. } => RequestOutcome::Unavailable,
            Self::Network(_) => RequestOutcome::Network,
            Self::NoAnswer(_) => RequestOutcome::NoAnswer,
            Self::Credentials(_) => RequestOutcome::Credentials,
            Self::AccessDenied(_) => RequestOutcome::AccessDenied,
            Self::Rejected(_) => RequestOutcome::Rejected,
        }
    }

    /// CloudWatch answered, be it with a refusal.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::AccessDenied(_) | Self::Rejected(_) => true,
            // The credentials may have been missing before, or refused by the answer: either way it was not taken.
            Self::Credentials(_) | Self::Network(_) | Self::NoAnswer(_) => false,
        }
    }

    /// How long the service asked the caller to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// CloudWatch through the AWS SDK. The SDK's own retries are off: the delivery rules are this module's parent's.
#[derive(Debug, Clone)]
pub struct AwsCloudWatch {
    client: Client,
    namespace: String,
    dimensions: Vec<Dimension>,
    resolution_seconds: i32,
}

impl AwsCloudWatch {
    /// A client for the account and region of `config`.
    pub fn new(config: &SdkConfig, settings: &CloudWatchSettings) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(REQUEST_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let config = aws_sdk_cloudwatch::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        let dimension = |name: &str, value: String| Dimension::builder().name(name).value(value).build();
        let shard = settings.shard.map(|shard| dimension(SHARD_DIMENSION, shard.to_string()));
        Self {
            client: Client::from_conf(config),
            namespace: settings.namespace.clone(),
            dimensions: std::iter::once(dimension(DIMENSION, settings.cluster_id.to_string())).chain(shard).collect(),
            resolution_seconds: if settings.resolution_seconds == 1 { 1 } else { 60 },
        }
    }

    fn datum(&self, point: &Point) -> MetricDatum {
        MetricDatum::builder()
            .metric_name(point.row.name)
            .set_dimensions(Some(self.dimensions.clone()))
            .timestamp(DateTime::from_millis(point.at.0))
            .value(point.value)
            .unit(match point.row.unit {
                Unit::Count => StandardUnit::Count,
                Unit::Milliseconds => StandardUnit::Milliseconds,
            })
            .storage_resolution(self.resolution_seconds)
            .build()
    }
}

impl MetricClient for AwsCloudWatch {
    async fn put(&self, points: Vec<Point>) -> Result<(), PutError> {
        let data = points.iter().map(|point| self.datum(point)).collect();
        let request = self.client.put_metric_data().namespace(&self.namespace).set_metric_data(Some(data));
        let handed_over = HandedOver::default();
        match request.customize().interceptor(handed_over.clone()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(classify(&error, handed_over.is_set())),
        }
    }
}

/// Whether a request came as far as the HTTP client; before that the SDK looks for credentials and signs.
///
/// Its connection is closed after the answer: on one that was kept, a request can cross the server's own end of it, and
/// then no one knows whether it was taken. A handshake a minute is the cheaper price.
#[derive(Debug, Clone, Default)]
struct HandedOver(Arc<AtomicBool>);

impl HandedOver {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[dyn_dispatch_hint]
impl Intercept for HandedOver {
    fn name(&self) -> &'static str {
        "HandedOver"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().try_insert("connection", "close")?;
        self.0.store(true, Ordering::Release);
        Ok(())
    }
}

/// Sorts the SDK's error by what can be done about it. Only what provably was not sent, or was answered, is sent again.
fn classify(error: &SdkError<PutMetricDataError, HttpResponse>, handed_over: bool) -> PutError {
    let detail = || causes(error);
    match error {
        SdkError::ServiceError(service) => {
            let said = service.err();
            let status = service.raw().status().as_u16();
            let code = said.code().unwrap_or("no error code");
            let detail = excerpt(&format!("HTTP {status}, {code}: {}", said.message().unwrap_or("no message")));
            by_answer(status, said.code(), retry_after(service.raw()), detail)
        }
        SdkError::ResponseError(response) => {
            let raw = response.raw();
            let status = raw.status().as_u16();
            if raw.status().is_success() {
                return PutError::NoAnswer(format!(
                    "HTTP {status}, and the rest of the answer is missing or unreadable"
                ));
            }
            by_answer(status, None, retry_after(raw), format!("HTTP {status}, an answer that is not CloudWatch's"))
        }
        _ if has_credentials_error(error) => PutError::Credentials(detail()),
        _ if !handed_over || is_without_connection(error) => PutError::Network(detail()),
        _ => PutError::NoAnswer(detail()),
    }
}

/// There was never a connection (name, route, refusal, handshake, proxy), so nothing was written.
fn is_without_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|error| {
        error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
            || error.is::<ResolveDnsError>()
    })
}

fn by_answer(status: u16, code: Option<&str>, retry_after: Option<Duration>, detail: String) -> PutError {
    match (status, code.unwrap_or_default()) {
        (
            _,
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "SlowDown"
            | "LimitExceededException",
        )
        | (429, _) => PutError::Throttled { retry_after, detail },
        (
            _,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "RequestExpired"
            | "InvalidAccessKeyId"
            | "NotAuthorizedException",
        )
        | (401, _) => PutError::Credentials(detail),
        (_, "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired") | (403, _) => {
            PutError::AccessDenied(detail)
        }
        // Only what CloudWatch itself calls wrong is worth taking apart; a 400 of something in between is an outage.
        (400 | 413, code) if !code.is_empty() || status == 413 => PutError::Rejected(detail),
        _ => PutError::Unavailable { retry_after, detail },
    }
}

/// `Retry-After` in its seconds form, bounded; the date form is not used by AWS.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.trim().parse().ok().map(Duration::from_secs);
    seconds.map(|wait| wait.min(LONGEST_RETRY_AFTER))
}

fn has_credentials_error(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(<dyn std::error::Error>::is::<CredentialsError>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_can_be_done_about_them() {
        let outcome = |status, code: Option<&str>| by_answer(status, code, None, String::new()).outcome();
        assert_eq!(outcome(400, Some("Throttling")), RequestOutcome::Throttled);
        assert_eq!(outcome(429, None), RequestOutcome::Throttled);
        assert_eq!(outcome(503, Some("ServiceUnavailable")), RequestOutcome::Unavailable);
        assert_eq!(outcome(500, None), RequestOutcome::Unavailable);
        assert_eq!(outcome(404, None), RequestOutcome::Unavailable);
        assert_eq!(outcome(400, None), RequestOutcome::Unavailable);
        assert_eq!(outcome(403, Some("AccessDenied")), RequestOutcome::AccessDenied);
        assert_eq!(outcome(400, Some("AccessDeniedException")), RequestOutcome::AccessDenied);
        assert_eq!(outcome(403, Some("ExpiredToken")), RequestOutcome::Credentials);
        assert_eq!(outcome(400, Some("InvalidParameterValue")), RequestOutcome::Rejected);
        assert_eq!(outcome(413, None), RequestOutcome::Rejected);
    }
}
