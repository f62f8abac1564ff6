//! A small JSON writer. Lists of a hundred thousand objects are written with it piece by piece, without building a
//! tree of values first.

use std::fmt::Write as _;
use std::sync::Arc;

/// Writes one JSON text; the caller nests closures, the writer sets the commas.
#[derive(Debug, Default)]
pub struct Json {
    out: String,
    comma: bool,
}

impl Json {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on after `text`; `after_value` says whether a value precedes, so that the next one needs a comma.
    pub fn continued(text: String, after_value: bool) -> Self {
        Self { out: text, comma: after_value }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }

    /// How much was written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// An object as the next value: the root or an array's item.
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push('{');
        self.comma = false;
        fill(self);
        self.out.push('}');
        self.comma = true;
    }

    /// `"key":{…}`.
    pub fn object_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.object(fill);
    }

    /// `"key":[…]`.
    pub fn array_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.out.push('[');
        self.comma = false;
        fill(self);
        self.out.push(']');
        self.comma = true;
    }

    /// `"key":` and whatever one value `fill` writes.
    pub fn member(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        fill(self);
    }

    /// A string as the next value.
    pub fn str(&mut self, value: &str) {
        self.separate();
        self.quoted(value);
        self.comma = true;
    }

    /// An integer as the next value.
    pub fn int(&mut self, value: impl Into<i64>) {
        self.separate();
        self.out.push_str(&value.into().to_string());
        self.comma = true;
    }

    /// `"key":"value"`.
    pub fn str_at(&mut self, key: &str, value: &str) {
        self.key(key);
        self.str(value);
    }

    /// `"key":"value"` if there is one.
    pub fn opt_str_at(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str_at(key, value);
        }
    }

    /// `"key":1`.
    pub fn int_at(&mut self, key: &str, value: impl Into<i64>) {
        self.key(key);
        self.int(value);
    }

    /// `"key":true`.
    pub fn bool_at(&mut self, key: &str, value: bool) {
        self.raw_at(key, if value { "true" } else { "false" });
    }

    /// `"key":` and JSON written elsewhere.
    pub fn raw_at(&mut self, key: &str, json: &str) {
        self.key(key);
        self.raw(json);
    }

    /// JSON written elsewhere as the next value, or several members or items of it.
    pub fn raw(&mut self, json: &str) {
        self.separate();
        self.out.push_str(json);
        self.comma = true;
    }

    /// A string map, left out if empty.
    pub fn pairs_at(&mut self, key: &str, pairs: &[(Arc<str>, Arc<str>)]) {
        if !pairs.is_empty() {
            self.object_at(key, |json| {
                for (name, value) in pairs {
                    json.str_at(name, value);
                }
            });
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.quoted(key);
        self.out.push(':');
        self.comma = false;
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(',');
            self.comma = false;
        }
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                control if u32::from(control) < 0x20 => {
                    // Writing into a String cannot fail.
                    let _ = write!(self.out, "\\u{:04x}", u32::from(control));
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nests_with_commas_where_they_belong() {
        let mut json = Json::new();
        json.object(|json| {
            json.str_at("a", "x\"y\\z\n");
            json.object_at("empty", |_| {});
            json.array_at("list", |json| {
                json.int(1);
                json.object(|json| json.bool_at("b", false));
                json.raw("null");
            });
            json.int_at("n", -3);
        });
        let text = json.finish();
        assert_eq!(text, r#"{"a":"x\"y\\z\n","empty":{},"list":[1,{"b":false},null],"n":-3}"#);
    }

    proptest! {
        #[test]
        fn any_string_survives(text in "\\PC*|[\\x00-\\x1f]*") {
            let mut json = Json::new();
            json.str(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&json.finish()).unwrap(), text);
        }
    }
}
