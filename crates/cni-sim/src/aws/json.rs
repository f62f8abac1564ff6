//! JSON as awsJson uses it: instants are epoch seconds.

use super::doc::Doc;
use serde_json::{Map, Number, Value};

/// Reads a body; an empty one is an empty structure.
pub fn decode(body: &[u8]) -> Result<Doc, String> {
    if body.is_empty() {
        return Ok(Doc::Map(Vec::new()));
    }
    serde_json::from_slice(body).map(from_value).map_err(|error| error.to_string())
}

fn from_value(value: Value) -> Doc {
    match value {
        Value::Null => Doc::Null,
        Value::Bool(value) => Doc::Bool(value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Doc::Float(number.as_f64().unwrap_or(f64::NAN)), Doc::Int)
        }
        Value::String(text) => Doc::Text(text),
        Value::Array(items) => Doc::List(items.into_iter().map(from_value).collect()),
        Value::Object(members) => {
            Doc::Map(members.into_iter().map(|(name, value)| (name, from_value(value))).collect())
        }
    }
}

/// Writes an answer.
pub fn encode(doc: &Doc) -> Vec<u8> {
    to_value(doc).to_string().into_bytes()
}

fn to_value(doc: &Doc) -> Value {
    match doc {
        Doc::Null => Value::Null,
        Doc::Bool(value) => Value::Bool(*value),
        Doc::Int(value) => Value::Number((*value).into()),
        Doc::Float(value) => number(*value),
        Doc::Text(text) => Value::String(text.clone()),
        Doc::Time(ms) if ms % 1000 == 0 => Value::Number((ms / 1000).into()),
        Doc::Time(ms) => number(*ms as f64 / 1000.0),
        Doc::List(items) => Value::Array(items.iter().map(to_value).collect()),
        Doc::Map(members) | Doc::Dict(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), to_value(value))).collect::<Map<_, _>>())
        }
    }
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
