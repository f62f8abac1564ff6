//! AWS errors: one value, written in each protocol's own shape.

use super::doc::Doc;
use super::fault::Fault;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct AwsError {
    /// The HTTP status.
    pub status: u16,
    /// The code of the Query protocols, which SDKs of all protocols report: `Throttling`.
    pub code: &'static str,
    /// The shape's name in the modelled protocols: `ThrottlingException`.
    pub shape: &'static str,
    /// For people.
    pub message: String,
}

impl AwsError {
    /// An error whose code and shape have the same name.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::shaped(status, code, code, message)
    }

    /// An error whose shape has a name of its own.
    pub fn shaped(status: u16, code: &'static str, shape: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, shape, message: message.into() }
    }

    /// The request body cannot be read at all.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::shaped(400, "MalformedInput", "SerializationException", message)
    }

    /// A value of the wrong kind or out of its range.
    pub fn invalid_value(message: impl Into<String>) -> Self {
        Self::shaped(400, "InvalidParameterValue", "InvalidParameterValueException", message)
    }

    /// Parameters that exclude each other.
    pub fn invalid_combination(message: impl Into<String>) -> Self {
        Self::shaped(400, "InvalidParameterCombination", "InvalidParameterCombinationException", message)
    }

    /// A required parameter is not there.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::shaped(400, "MissingParameter", "MissingRequiredParameterException", message)
    }

    /// What a scripted fault answers in CloudWatch, STS and their like; `None` for faults without an answer.
    pub fn of_fault(fault: &Fault, action: &str) -> Option<Self> {
        Some(match fault {
            Fault::Throttle => Self::shaped(400, "Throttling", "ThrottlingException", "Rate exceeded"),
            Fault::AccessDenied => Self::shaped(
                403,
                "AccessDenied",
                "AccessDeniedException",
                format!(
                    "User is not authorized to perform: {action} because no identity-based policy allows the {action} action"
                ),
            ),
            Fault::ExpiredToken => Self::expired_token(),
            Fault::Invalid => Self::invalid_value("The value of a parameter is not valid."),
            Fault::Unavailable => Self::shaped(
                503,
                "ServiceUnavailable",
                "ServiceUnavailableException",
                "Service is unavailable, please retry",
            ),
            Fault::Internal => Self::shaped(
                500,
                "InternalServiceError",
                "InternalServiceFault",
                "Request processing has failed due to some unknown error",
            ),
            Fault::None | Fault::Hang | Fault::Reset | Fault::ResetAfter | Fault::HangAfter | Fault::Delay(_) => {
                return None;
            }
        })
    }

    /// The caller's session token is past its time.
    pub fn expired_token() -> Self {
        Self::shaped(
            403,
            "ExpiredToken",
            "ExpiredTokenException",
            "The security token included in the request is expired",
        )
    }

    /// `Sender` blames the caller, `Receiver` the service.
    pub fn fault_side(&self) -> &'static str {
        if self.status < 500 { "Sender" } else { "Receiver" }
    }

    /// The body of the modelled protocols: `__type` and the message under the member's modelled name.
    pub fn to_doc(&self, namespace: &str) -> Doc {
        let member = if self.shape == "InternalServiceFault" { "Message" } else { "message" };
        Doc::map([
            ("__type", Doc::Text(format!("{namespace}#{}", self.shape))),
            (member, Doc::text(self.message.as_str())),
        ])
    }
}
