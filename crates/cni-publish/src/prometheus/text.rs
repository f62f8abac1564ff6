//! Lines of the text format 0.0.4.

use std::fmt::Write as _;

/// HELP and TYPE. Names and texts come in pieces, to be put together here.
pub fn head(text: &mut String, name: &[&str], kind: &str, help: &[&str]) {
    text.push_str("# HELP ");
    text.extend(name.iter().copied());
    text.push(' ');
    text.extend(help.iter().copied());
    text.push_str("\n# TYPE ");
    text.extend(name.iter().copied());
    text.push(' ');
    text.push_str(kind);
    text.push('\n');
}

/// One series' line.
pub fn sample(text: &mut String, name: &[&str], labels: &[(&str, &str)], value: f64) {
    text.extend(name.iter().copied());
    for (index, (label, value)) in labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, " {value}");
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
