//! Access reviews: what `kubectl auth can-i` and `kubectl auth whoami` ask.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::access::{Action, User};
use super::body::{self, Body};
use super::protobuf;
use super::status::Status;

/// Answers a review that was posted.
pub(crate) fn answer(
    resource: &str,
    body: &[u8],
    user: &User,
    allows: impl FnOnce(&Action<'_>) -> bool,
) -> Result<Response<Body>, Status> {
    let mut review: Value = match protobuf::self_review(body) {
        Some(review) => review,
        None => {
            serde_json::from_slice(body).map_err(|error| Status::bad_request(format!("json parse error: {error}")))?
        }
    };
    let status = match resource {
        "selfsubjectaccessreviews" => access_status(&review, user, allows),
        "selfsubjectreviews" => {
            json!({ "userInfo": { "username": user.name, "groups": ["system:authenticated"] } })
        }
        _ => return Err(Status::no_such_path()),
    };
    if !review.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized"));
    }
    review["status"] = status;
    Ok(body::json(StatusCode::CREATED, review.to_string()))
}

fn access_status(review: &Value, user: &User, allows: impl FnOnce(&Action<'_>) -> bool) -> Value {
    let attributes = &review["spec"]["resourceAttributes"];
    if attributes.is_null() {
        // Paths outside the API (`/healthz`, `/version`) are open to everybody.
        return json!({ "allowed": true });
    }
    let text = |field: &str| attributes[field].as_str().unwrap_or_default();
    let subresource = text("subresource");
    let resource = if subresource.is_empty() {
        text("resource").to_owned()
    } else {
        format!("{}/{subresource}", text("resource"))
    };
    let action = Action {
        verb: text("verb"),
        group: text("group"),
        resource: &resource,
        namespace: text("namespace"),
        name: text("name"),
    };
    if allows(&action) {
        json!({ "allowed": true })
    } else {
        json!({ "allowed": false, "reason": action.refusal(&user.name) })
    }
}
