//! The three protocols of CloudWatch, distinguished by path and headers, each with its own success and error shape.

use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use crate::aws::{cbor, form, json, query, request_id};
use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

/// The name of the service in smithy paths and JSON targets.
const SERVICE: &str = "GraniteServiceVersion20100801";
const XML_NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
const SMITHY_NAMESPACE: &str = "com.amazonaws.cloudwatch";
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

/// A request's protocol and what its answer must repeat of it.
pub(super) struct Wire {
    protocol: Protocol,
    /// The client wants the Query protocol's error code beside the modelled one.
    query_mode: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Cbor,
    Json,
    Query,
}

/// One decoded request.
pub(super) struct Call {
    pub(super) operation: String,
    pub(super) input: Doc,
}

impl Wire {
    pub(super) fn of(parts: &Parts) -> Self {
        let protocol = if parts.headers.contains_key(SMITHY_PROTOCOL) || parts.uri.path().starts_with("/service/") {
            Protocol::Cbor
        } else if parts.headers.contains_key("x-amz-target") {
            Protocol::Json
        } else {
            Protocol::Query
        };
        let query_mode = parts.headers.get("x-amzn-query-mode").is_some_and(|value| value == "true");
        Self { protocol, query_mode }
    }

    /// The protocol's name in the request log.
    pub(super) fn name(&self) -> &'static str {
        match self.protocol {
            Protocol::Cbor => "smithy-rpc-v2-cbor",
            Protocol::Json => "json",
            Protocol::Query => "query",
        }
    }

    pub(super) fn call(&self, parts: &Parts, body: &[u8]) -> Result<Call, AwsError> {
        match self.protocol {
            Protocol::Cbor => cbor_call(parts, body),
            Protocol::Json => {
                let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or("");
                let Some((SERVICE, operation)) = target.split_once('.') else { return Err(unknown_operation(target)) };
                let input = json::decode(body).map_err(AwsError::malformed)?;
                Ok(Call { operation: operation.to_owned(), input })
            }
            Protocol::Query => {
                let text = if parts.method == Method::GET { parts.uri.query().unwrap_or("").as_bytes() } else { body };
                let input = form::decode(text).map_err(AwsError::malformed)?;
                let Some(operation) = input.get("Action").and_then(Doc::as_text) else {
                    return Err(AwsError::new(400, "MissingAction", "Could not find an Action in the request"));
                };
                Ok(Call { operation: operation.to_owned(), input })
            }
        }
    }

    pub(super) fn success(&self, operation: &str, output: Option<&Doc>) -> Response {
        let id = request_id();
        let body = match (self.protocol, output) {
            // Smithy: an operation without output answers without a body.
            (Protocol::Cbor, None) => Vec::new(),
            (Protocol::Cbor, Some(output)) => cbor::encode(output),
            (Protocol::Json, None) => b"{}".to_vec(),
            (Protocol::Json, Some(output)) => json::encode(output),
            (Protocol::Query, output) => query::success(XML_NAMESPACE, operation, output, &id).into_bytes(),
        };
        self.respond(StatusCode::OK, body, &id)
    }

    pub(super) fn failure(&self, error: &AwsError) -> Response {
        let id = request_id();
        let body = match self.protocol {
            Protocol::Cbor => cbor::encode(&error.to_doc(SMITHY_NAMESPACE)),
            Protocol::Json => json::encode(&error.to_doc(SMITHY_NAMESPACE)),
            Protocol::Query => query::failure(XML_NAMESPACE, error, &id).into_bytes(),
        };
        let mut response = self.respond(StatusCode::from_u16(error.status).unwrap_or_default(), body, &id);
        if self.query_mode
            && let Ok(value) = HeaderValue::from_str(&format!("{};{}", error.code, error.fault_side()))
        {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
        response
    }

    fn respond(&self, status: StatusCode, body: Vec<u8>, id: &str) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = match self.protocol {
            Protocol::Cbor => "application/cbor",
            Protocol::Json => "application/x-amz-json-1.0",
            Protocol::Query => "text/xml",
        };
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.protocol == Protocol::Cbor {
            headers.insert(SMITHY_PROTOCOL, HeaderValue::from_static("rpc-v2-cbor"));
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }
}

fn cbor_call(parts: &Parts, body: &[u8]) -> Result<Call, AwsError> {
    if parts.headers.get(SMITHY_PROTOCOL).is_none_or(|value| value != "rpc-v2-cbor") {
        return Err(AwsError::malformed("the smithy-protocol header must be rpc-v2-cbor"));
    }
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let ["service", SERVICE, "operation", operation] = path[..] else {
        return Err(unknown_operation(parts.uri.path()));
    };
    let input = cbor::decode(body).map_err(AwsError::malformed)?;
    Ok(Call { operation: operation.to_owned(), input })
}

/// The answer to an operation that this service does not have.
pub(super) fn unknown_operation(name: &str) -> AwsError {
    AwsError::shaped(
        400,
        "InvalidAction",
        "UnknownOperationException",
        format!("Could not find operation {name} for version 2010-08-01"),
    )
}
