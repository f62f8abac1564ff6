//! The EC2 API as far as a network tool reads it: subnets, instances, network interfaces, tags, CIDR reservations.
//!
//! Every answer is paged at 1,000 results even if the caller sets no page size, as EC2 does for large accounts, so that a
//! client that ignores `NextToken` is caught.

mod describe;
mod filter;
pub mod view;

use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use crate::aws::fault::{Fault, Faults};
use crate::aws::{Clock, FaultEffect, apply_delay, auth, body, form, request_id, serve, xml};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cni_types::ec2::Ec2Code;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use view::Ec2View;

const XML_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The service. Clones share its view, faults and log.
#[derive(Clone)]
pub struct Ec2 {
    clock: Arc<dyn Clock>,
    view: Arc<dyn Ec2View>,
    faults: Faults,
    log: Arc<Mutex<Vec<Ec2Request>>>,
}

/// One line of the request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Request {
    /// When, by the service's clock.
    pub at_ms: i64,
    /// For example `DescribeSubnets`.
    pub operation: String,
    /// Who signed it.
    pub access_key_id: String,
    /// The error code answered; `None` for a success.
    pub error: Option<String>,
}

impl Ec2 {
    /// The service over `view`; `seed` decides which requests a fault's probability hits.
    pub fn new(clock: Arc<dyn Clock>, view: Arc<dyn Ec2View>, seed: u64) -> Self {
        Self { clock, view, faults: Faults::new(seed), log: Arc::default() }
    }

    /// The script of faults; may be changed while serving.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Every answered request so far.
    pub fn requests(&self) -> Vec<Ec2Request> {
        self.log().clone()
    }

    fn log(&self) -> MutexGuard<'_, Vec<Ec2Request>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service as a router; serve it with [`serve::serve`] so that scripted resets are real ones.
pub fn router(ec2: Ec2) -> Router {
    Router::new().fallback(handle).with_state(ec2)
}

async fn handle(State(ec2): State<Ec2>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let read = body::read(&parts.headers, body, MAX_BODY_BYTES).await.and_then(|payload| {
        let query = parts.uri.query().unwrap_or("").as_bytes();
        form::decode(if parts.method == Method::GET { query } else { &payload.content }).map_err(AwsError::malformed)
    });
    let input = match read {
        Ok(input) => input,
        Err(error) => return failure(&error),
    };
    let operation = input.get("Action").and_then(Doc::as_text).unwrap_or("");
    let at_ms = ec2.clock.now_ms();
    let (answer, lost) = match apply_delay(ec2.faults.decide(at_ms, operation)).await {
        FaultEffect::Serve => (ec2.answer(&parts.headers, operation, &input), false),
        FaultEffect::Refuse(fault) => (Err(error_of(&fault)), false),
        FaultEffect::Reset | FaultEffect::ServeThenReset => (Err(AwsError::new(500, "Reset", "")), true),
        FaultEffect::ServeThenHang => std::future::pending().await,
    };
    // For the log alone, so an expired token still names its key.
    let access_key_id =
        auth::check(&parts.headers, "ec2", i64::MIN).map(|caller| caller.access_key_id).unwrap_or_default();
    let error = answer.as_ref().err().map(|error| error.code.to_owned());
    ec2.log().push(Ec2Request { at_ms, operation: operation.to_owned(), access_key_id, error });
    match answer {
        _ if lost => serve::reset_response(),
        Ok(output) => success(operation, &output),
        Err(error) => failure(&error),
    }
}

impl Ec2 {
    fn answer(&self, headers: &HeaderMap, operation: &str, input: &Doc) -> Result<Doc, AwsError> {
        auth::check(headers, "ec2", self.clock.now_ms()).map_err(|error| match error.code {
            "ExpiredToken" => error_of(&Fault::ExpiredToken),
            _ => error,
        })?;
        let known = describe::answer(self.view.as_ref(), operation, input)?;
        if input.get("DryRun").and_then(Doc::as_bool) == Some(true) {
            let message = "Request would have succeeded, but DryRun flag is set.";
            return Err(AwsError::new(412, "DryRunOperation", message));
        }
        Ok(known)
    }
}

/// EC2 has names of its own for the common errors.
fn error_of(fault: &Fault) -> AwsError {
    let refused = |code: Ec2Code, message: &str| AwsError::new(code.http_status(), code.name(), message);
    match fault {
        Fault::Throttle => refused(Ec2Code::RequestLimitExceeded, "Request limit exceeded."),
        Fault::AccessDenied => {
            refused(Ec2Code::UnauthorizedOperation, "You are not authorized to perform this operation.")
        }
        Fault::ExpiredToken => AwsError::new(400, "RequestExpired", "Request has expired."),
        Fault::Invalid => refused(Ec2Code::InvalidParameterValue, "The value of a parameter is not valid."),
        Fault::Unavailable => refused(Ec2Code::Unavailable, "The service is unavailable. Please try again shortly."),
        _ => refused(Ec2Code::InternalError, "An internal error has occurred"),
    }
}

fn success(operation: &str, output: &Doc) -> Response {
    let mut content = String::new();
    xml::write_content(&mut content, output, xml::Dialect::Ec2);
    let id = request_id();
    respond(
        200,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{operation}Response xmlns=\"{XML_NAMESPACE}\">\
             <requestId>{id}</requestId>{content}</{operation}Response>"
        ),
    )
}

fn failure(error: &AwsError) -> Response {
    let mut content = String::new();
    let detail = Doc::map([("Code", Doc::text(error.code)), ("Message", Doc::text(error.message.as_str()))]);
    xml::write(&mut content, "Error", &detail, xml::Dialect::Ec2);
    let id = request_id();
    respond(
        error.status,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors>{content}</Errors>\
             <RequestID>{id}</RequestID></Response>"
        ),
    )
}

fn respond(status: u16, content: String) -> Response {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml;charset=UTF-8"));
    response
}
