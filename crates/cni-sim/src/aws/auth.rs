//! Signature headers: their presence and form are checked, the scope, and whether a session token that the simulator
//! issued has expired. The signature itself is not.

use super::error::AwsError;
use super::identity::expiry_of;
use http::HeaderMap;

/// Who signed a request, as far as its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The access key.
    pub access_key_id: String,
    /// The region in the credential's scope.
    pub region: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

/// Checks that a request carries a Signature Version 4 for `service`, the name AWS signs it under (`monitoring`), and
/// that its session token is still good at `now_ms`.
pub fn check(headers: &HeaderMap, service: &str, now_ms: i64) -> Result<Caller, AwsError> {
    let Some(authorization) = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Err(AwsError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token"));
    };
    let incomplete = |what: &str| {
        AwsError::new(
            400,
            "IncompleteSignature",
            format!("Authorization header requires {what}. Authorization={authorization}"),
        )
    };
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256") else {
        return Err(incomplete("the AWS4-HMAC-SHA256 algorithm"));
    };
    let field = |name: &str| {
        fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).filter(|v| !v.is_empty())
    };
    let credential = field("Credential").ok_or_else(|| incomplete("'Credential' parameter"))?;
    field("SignedHeaders").ok_or_else(|| incomplete("'SignedHeaders' parameter"))?;
    field("Signature").ok_or_else(|| incomplete("'Signature' parameter"))?;
    if !headers.contains_key("x-amz-date") && !headers.contains_key(http::header::DATE) {
        return Err(incomplete("existence of either a 'X-Amz-Date' or a 'Date' header"));
    }
    let [key, _date, region, scope, "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(incomplete("a credential of the form KEY/DATE/REGION/SERVICE/aws4_request"));
    };
    if scope != service {
        let message = format!("Credential should be scoped to correct service: '{service}'.");
        return Err(AwsError::new(403, "SignatureDoesNotMatch", message));
    }
    let token = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
    if token.and_then(expiry_of).is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(AwsError::expired_token());
    }
    Ok(Caller { access_key_id: key.to_owned(), region: region.to_owned(), session_token: token.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(authorization: Option<&str>, dated: bool) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert("authorization", value.parse().unwrap());
        }
        if dated {
            headers.insert("x-amz-date", "20261121T030000Z".parse().unwrap());
        }
        check(&headers, "monitoring", 0).map(|caller| caller.access_key_id).map_err(|error| error.code)
    }

    #[test]
    fn every_missing_piece_has_its_error() {
        let good = "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-central-1/monitoring/aws4_request, \
                    SignedHeaders=host, Signature=abc";
        assert_eq!(code(Some(good), true), Ok("AKID".to_owned()));
        assert_eq!(code(Some(good), false), Err("IncompleteSignature"));
        assert_eq!(code(None, true), Err("MissingAuthenticationToken"));
        assert_eq!(code(Some("Bearer x"), true), Err("IncompleteSignature"));
        assert_eq!(code(Some(&good.replace("Signature=abc", "Signature=")), true), Err("IncompleteSignature"));
        assert_eq!(code(Some(&good.replace("SignedHeaders=host,", "")), true), Err("IncompleteSignature"));
        assert_eq!(code(Some(&good.replace("monitoring", "ec2")), true), Err("SignatureDoesNotMatch"));
    }

    #[test]
    fn an_issued_session_token_expires() {
        let credentials = crate::aws::identity::Credentials::issue("STS", 1, 5_000);
        let mut headers = HeaderMap::new();
        let authorization =
            "AWS4-HMAC-SHA256 Credential=A/20261121/r/sts/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert("x-amz-date", "20261121T030000Z".parse().unwrap());
        headers.insert("x-amz-security-token", credentials.session_token.parse().unwrap());
        assert_eq!(check(&headers, "sts", 4_999).unwrap().session_token, Some(credentials.session_token));
        assert_eq!(check(&headers, "sts", 5_000).unwrap_err().code, "ExpiredToken");
        headers.insert("x-amz-security-token", "someone-elses-1".parse().unwrap());
        assert!(check(&headers, "sts", i64::MAX).is_ok());
    }
}
