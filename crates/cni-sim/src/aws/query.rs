//! Answers of the awsQuery protocol, as CloudWatch and STS write them.

use super::doc::Doc;
use super::error::AwsError;
use super::xml;
use std::fmt::Write;

/// `<XResponse><XResult>…</XResult><ResponseMetadata>…`; an operation without output has no result element.
pub fn success(xml_namespace: &str, operation: &str, output: Option<&Doc>, request_id: &str) -> String {
    let mut out = format!("<{operation}Response xmlns=\"{xml_namespace}\">");
    if let Some(output) = output {
        xml::write(&mut out, &format!("{operation}Result"), output, xml::Dialect::Query);
    }
    // Writing to a String cannot fail.
    let _ =
        write!(out, "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>");
    out
}

/// `<ErrorResponse><Error>…`.
pub fn failure(xml_namespace: &str, error: &AwsError, request_id: &str) -> String {
    let detail = Doc::map([
        ("Type", Doc::text(error.fault_side())),
        ("Code", Doc::text(error.code)),
        ("Message", Doc::text(error.message.as_str())),
    ]);
    let mut out = format!("<ErrorResponse xmlns=\"{xml_namespace}\">");
    xml::write(&mut out, "Error", &detail, xml::Dialect::Query);
    let _ = write!(out, "<RequestId>{request_id}</RequestId></ErrorResponse>");
    out
}
