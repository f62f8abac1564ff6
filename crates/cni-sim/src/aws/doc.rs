//! The tree that every AWS wire format is read into and written from.

use super::time;

/// One value of a request or an answer, free of the protocol that carried it.
#[derive(Debug, Clone, PartialEq)]
pub enum Doc {
    /// Absent on purpose.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A double.
    Float(f64),
    /// A string; in form bodies everything is one.
    Text(String),
    /// An instant, Unix milliseconds.
    Time(i64),
    /// A list, or a set.
    List(Vec<Doc>),
    /// A structure; members in the order they are written.
    Map(Vec<(String, Doc)>),
    /// A map with keys of the data's choosing: the same as a structure everywhere but in XML. Only answers have them.
    Dict(Vec<(String, Doc)>),
}

impl Doc {
    /// An answer's structure from its members.
    pub fn map<const N: usize>(members: [(&str, Doc); N]) -> Self {
        Self::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A string.
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(value.into())
    }

    /// Adds a member to a structure; anything else stays as it is.
    #[must_use]
    pub fn with(mut self, name: &str, value: Doc) -> Self {
        if let Self::Map(members) = &mut self {
            members.push((name.to_owned(), value));
        }
        self
    }

    /// Member `name` of a structure; a null counts as absent.
    pub fn get(&self, name: &str) -> Option<&Doc> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| **value != Self::Null)
    }

    /// The members of a list; `None` for what is not one. Forms write an empty list as an empty string.
    pub fn list(&self) -> Option<&[Doc]> {
        match self {
            Self::List(items) => Some(items),
            Self::Text(text) if text.is_empty() => Some(&[]),
            _ => None,
        }
    }

    /// A string, as it is.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A number, also from a form's text. JSON has no NaN or infinity, so the SDKs write those as text as well.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A whole number, also from a form's text.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A truth value, also from a form's text.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// An instant in Unix milliseconds: tagged (CBOR), epoch seconds (JSON), or ISO 8601 text (forms).
    pub fn as_time_ms(&self) -> Option<i64> {
        match self {
            Self::Time(ms) => Some(*ms),
            Self::Int(seconds) => seconds.checked_mul(1000),
            Self::Float(seconds) => time::ms_of_seconds(*seconds),
            Self::Text(text) => time::parse_iso(text).or_else(|| time::ms_of_seconds(text.parse().ok()?)),
            _ => None,
        }
    }
}
