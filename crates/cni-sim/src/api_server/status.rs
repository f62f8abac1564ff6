//! Errors as the API server words them: a `Status` object with the code, reason and message clients look at.

use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::access::Action;
use super::body::{self, Body};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    pub(crate) retry_after_s: Option<u32>,
    /// `metadata.continue`: only a list that expired has one.
    pub(crate) continue_token: Option<String>,
}

impl Status {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: None, retry_after_s: None, continue_token: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(resource, group));
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with_details(group, resource, name)
    }

    /// A path that leads nowhere.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: Some(json!({})), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(resource, group));
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).with_details(group, resource, name)
    }

    pub(crate) fn conflict(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to \
             the latest version and try again",
            qualified(resource, group)
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).with_details(group, resource, name)
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, problem: &str) -> Self {
        let message = format!("{} \"{name}\" is invalid: {problem}", qualified(kind, group));
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_details(group, kind, name)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// An answer of the whole server, as its overload protection or a broken etcd gives it.
    pub(crate) fn fault(code: u16, retry_after_s: Option<u32>) -> Self {
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (reason, message) = match code.as_u16() {
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            _ => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        };
        Self { retry_after_s, ..Self::new(code, reason, message) }
    }

    /// With the details of a refused action.
    pub(crate) fn about(self, action: &Action<'_>) -> Self {
        let bare = action.resource.split('/').next().unwrap_or_default();
        self.with_details(action.group, bare, action.name)
    }

    fn with_details(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = json!({ "name": name, "kind": kind });
        if !group.is_empty() {
            details["group"] = Value::from(group);
        }
        self.details = Some(details);
        self
    }

    /// The `Status` object, also the payload of a watch's ERROR event.
    pub(crate) fn to_json(&self) -> Value {
        let metadata = self.continue_token.as_ref().map_or_else(|| json!({}), |token| json!({ "continue": token }));
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after_s {
            details.get_or_insert_with(|| json!({}))["retryAfterSeconds"] = Value::from(seconds);
        }
        if let Some(details) = details {
            status["details"] = details;
        }
        status
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = body::json(self.code, self.to_json().to_string());
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// `leases.coordination.k8s.io`, or `pods` for the core group.
fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}
