//! The little of protobuf that `kubectl auth can-i` needs: it posts its question in protobuf and reads a JSON answer.

use serde_json::{Map, Value, json};

/// What every protobuf body of the Kubernetes API begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The strings of `ResourceAttributes`, by field number from 1.
const RESOURCE_ATTRIBUTES: [&str; 7] = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];

/// A posted self review as the JSON it stands for; none if it is not one.
pub(crate) fn self_review(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let type_meta = fields(field(&envelope, 1)?)?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let mut review = json!({ "apiVersion": text(field(&type_meta, 1)?)?, "kind": text(field(&type_meta, 2)?)? });
    let object = fields(field(&envelope, 2).unwrap_or_default())?;
    let spec = fields(field(&object, 2).unwrap_or_default())?;
    let attributes = field(&spec, 1).map(fields);
    if let Some(attributes) = attributes {
        let attributes = attributes?;
        let mut strings = Map::new();
        for (number, name) in (1..).zip(RESOURCE_ATTRIBUTES) {
            if let Some(value) = field(&attributes, number) {
                strings.insert(name.to_owned(), Value::from(text(value)?));
            }
        }
        review["spec"] = json!({ "resourceAttributes": strings });
    }
    Some(review)
}

fn field<'a>(fields: &[(u64, &'a [u8])], number: u64) -> Option<&'a [u8]> {
    fields.iter().find(|(found, _)| *found == number).map(|(_, bytes)| *bytes)
}

/// The length-delimited fields of a message; none if it is malformed.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => {
                varint(&mut rest)?;
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (value, tail) = rest.split_at_checked(length)?;
                found.push((key >> 3, value));
                rest = tail;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, value) in fields {
            bytes.extend([(number << 3) | 2, u8::try_from(value.len()).unwrap()]);
            bytes.extend_from_slice(value);
        }
        bytes
    }

    #[test]
    fn a_question_is_read() {
        let attributes = message(&[(1, b"kube-system"), (2, b"get"), (5, b"pods"), (6, b"proxy")]);
        let object = message(&[(1, b""), (2, &message(&[(1, &attributes)]))]);
        let types = message(&[(1, b"authorization.k8s.io/v1"), (2, b"SelfSubjectAccessReview")]);
        let mut body = MAGIC.to_vec();
        body.extend(message(&[(1, &types), (2, &object)]));
        let review = self_review(&body).unwrap();
        assert_eq!(review["kind"], "SelfSubjectAccessReview");
        let expected = json!({ "namespace": "kube-system", "verb": "get", "resource": "pods", "subresource": "proxy" });
        assert_eq!(review["spec"]["resourceAttributes"], expected);
        assert_eq!(self_review(b"{}"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let body: Vec<u8> = MAGIC.iter().copied().chain(bytes).collect();
            let _ = self_review(&body);
        }
    }
}
