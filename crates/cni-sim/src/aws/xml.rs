//! XML answers of the Query protocols.

use super::doc::Doc;
use super::time;

/// How a service names the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `member`, as CloudWatch and STS do.
    Query,
    /// `item`, with instants always in milliseconds, as EC2 does.
    Ec2,
}

/// Appends `<name>…</name>` for `doc`.
pub fn write(out: &mut String, name: &str, doc: &Doc, dialect: Dialect) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    write_content(out, doc, dialect);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Appends what stands between the tags.
pub fn write_content(out: &mut String, doc: &Doc, dialect: Dialect) {
    match doc {
        Doc::Null => {}
        Doc::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Doc::Int(value) => out.push_str(&value.to_string()),
        Doc::Float(value) => out.push_str(&value.to_string()),
        Doc::Text(text) => escape(out, text),
        Doc::Time(ms) if dialect == Dialect::Ec2 => out.push_str(&time::format_iso_millis(*ms)),
        Doc::Time(ms) => out.push_str(&time::format_iso(*ms)),
        Doc::List(items) => {
            let tag = if dialect == Dialect::Ec2 { "item" } else { "member" };
            for item in items {
                write(out, tag, item, dialect);
            }
        }
        Doc::Map(members) => {
            for (name, value) in members {
                write(out, name, value, dialect);
            }
        }
        Doc::Dict(entries) => {
            for (key, value) in entries {
                let entry = Doc::map([("key", Doc::text(key.as_str())), ("value", value.clone())]);
                write(out, "entry", &entry, dialect);
            }
        }
    }
}

/// Appends `text` with everything escaped that XML 1.0 cannot hold as it is.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            // No XML 1.0 document can name the other control characters at all.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}
