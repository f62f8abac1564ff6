//! CBOR as smithy RPC v2 uses it: text keys, tag 1 for instants, definite or indefinite lengths.

use super::doc::Doc;
use super::time;
use ciborium::Value;

/// Reads a body. An empty one is an empty structure, as smithy says for operations without input.
pub fn decode(body: &[u8]) -> Result<Doc, String> {
    if body.is_empty() {
        return Ok(Doc::Map(Vec::new()));
    }
    let value: Value = ciborium::from_reader(body).map_err(|error| error.to_string())?;
    from_value(value)
}

fn from_value(value: Value) -> Result<Doc, String> {
    Ok(match value {
        Value::Null => Doc::Null,
        Value::Bool(value) => Doc::Bool(value),
        Value::Integer(value) => {
            Doc::Int(i64::try_from(i128::from(value)).map_err(|_| "integer out of range".to_owned())?)
        }
        Value::Float(value) => Doc::Float(value),
        Value::Text(text) => Doc::Text(text),
        Value::Array(items) => Doc::List(items.into_iter().map(from_value).collect::<Result<_, _>>()?),
        Value::Map(members) => Doc::Map(members.into_iter().map(from_member).collect::<Result<_, _>>()?),
        Value::Tag(1, inner) => Doc::Time(instant(&inner)?),
        other => return Err(format!("unexpected CBOR item {other:?}")),
    })
}

fn from_member((key, value): (Value, Value)) -> Result<(String, Doc), String> {
    let Value::Text(key) = key else { return Err("a map key is not text".to_owned()) };
    Ok((key, from_value(value)?))
}

fn instant(value: &Value) -> Result<i64, String> {
    let ms = match value {
        Value::Integer(seconds) => i64::try_from(i128::from(*seconds)).ok().and_then(|s| s.checked_mul(1000)),
        Value::Float(seconds) => time::ms_of_seconds(*seconds),
        _ => None,
    };
    ms.ok_or_else(|| "a timestamp is not a number of seconds".to_owned())
}

/// Writes an answer. Doubles always take eight bytes: some SDK decoders refuse half floats.
pub fn encode(doc: &Doc) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, doc);
    out
}

fn write(out: &mut Vec<u8>, doc: &Doc) {
    match doc {
        Doc::Null => out.push(0xf6),
        Doc::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Doc::Int(value) => integer(out, *value),
        Doc::Float(value) => double(out, *value),
        Doc::Text(text) => string(out, text),
        Doc::Time(ms) => {
            head(out, 6, 1);
            if ms % 1000 == 0 { integer(out, ms / 1000) } else { double(out, *ms as f64 / 1000.0) }
        }
        Doc::List(items) => {
            head(out, 4, items.len() as u64);
            for item in items {
                write(out, item);
            }
        }
        Doc::Map(members) | Doc::Dict(members) => {
            head(out, 5, members.len() as u64);
            for (name, value) in members {
                string(out, name);
                write(out, value);
            }
        }
    }
}

fn integer(out: &mut Vec<u8>, value: i64) {
    // Major type 1 holds -1 - n, whose magnitude is the complement.
    if value < 0 { head(out, 1, (!value).unsigned_abs()) } else { head(out, 0, value.unsigned_abs()) }
}

fn double(out: &mut Vec<u8>, value: f64) {
    out.push(0xfb);
    out.extend(value.to_be_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

/// Major type and length, in the shortest form.
#[expect(clippy::cast_possible_truncation, reason = "each arm's range fits its width")]
fn head(out: &mut Vec<u8>, major: u8, length: u64) {
    let major = major << 5;
    match length {
        0..24 => out.push(major | length as u8),
        24..0x100 => out.extend([major | 0x18, length as u8]),
        0x100..0x1_0000 => {
            out.push(major | 0x19);
            out.extend((length as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 0x1a);
            out.extend((length as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1b);
            out.extend(length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn indefinite_lengths_and_tags_are_read() {
        // {_ "A": [_ 1, 1.5], "T": 1(1.5)}, as the Rust SDK opens its maps.
        let body = b"\xbf\x61A\x9f\x01\xf9\x3e\x00\xff\x61T\xc1\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00\xff";
        let doc = decode(body).unwrap();
        assert_eq!(doc.get("A").unwrap().list().unwrap(), [Doc::Int(1), Doc::Float(1.5)]);
        assert_eq!(doc.get("T").unwrap().as_time_ms(), Some(1500));
    }

    #[test]
    fn broken_bodies_are_errors() {
        for body in [&b"\xbf\x61A"[..], b"\xff", b"\xa1\x01\x02", b"\xc1\x61x"] {
            assert!(decode(body).is_err(), "{body:?}");
        }
    }

    fn any_doc() -> impl Strategy<Value = Doc> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Doc::Bool),
            any::<i64>().prop_map(Doc::Int),
            (-1e300..1e300).prop_map(Doc::Float),
            ".{0,300}".prop_map(Doc::Text),
            (0_i64..4_000_000_000_000).prop_map(Doc::Time),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Doc::List),
                prop::collection::vec(("[a-z]{1,8}", inner), 0..8).prop_map(Doc::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(doc in any_doc()) {
            prop_assert_eq!(decode(&encode(&doc)).unwrap(), doc);
        }

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&body);
        }
    }
}
