//! Whether a label selector is one, as the API server reads it; its own refusal would come too late to stop the start.

/// What a selector may look like.
const ALLOWED: &str = "must be a label selector: requirements such as k8s-app=aws-node, tier!=test, name in (a,b), name \
                       notin (a,b), name or !name, separated by commas";

/// Returns the selector if every requirement of it is one.
pub(super) fn selector(text: &str) -> Result<String, String> {
    let fine = requirements(text).is_some_and(|parts| parts.iter().all(|part| is_requirement(part)));
    if fine { Ok(text.to_owned()) } else { Err(ALLOWED.to_owned()) }
}

/// The warning about a value that was probably forgotten: `name=` only selects pods whose label is empty.
pub(super) fn warning(text: &str) -> Option<String> {
    let requirements = requirements(text)?;
    let forgotten = requirements.iter().find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (value.trim().is_empty() && !name.ends_with('!')).then(|| name.trim())
    })?;
    Some(format!("AGENT_SELECTOR = {text:?}: selects only pods whose label {forgotten} is there and empty"))
}

/// Splits at the commas outside of parentheses; `None` where those do not match.
fn requirements(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, inside) {
            ('(', false) => inside = true,
            (')', true) => inside = false,
            ('(', true) | (')', false) => return None,
            (',', false) => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    (!inside).then_some(parts)
}

fn is_requirement(part: &str) -> bool {
    let part = part.trim();
    if let Some(name) = part.strip_prefix('!') {
        return is_name(name.trim());
    }
    for operator in ["!=", "==", "="] {
        if let Some((name, value)) = part.split_once(operator) {
            // `name=` asks for an empty value, as some labels have it; `name==` is a value that was forgotten.
            let is_forgotten = operator == "==" && value.trim().is_empty();
            return is_name(name.trim()) && is_value(value.trim()) && !is_forgotten;
        }
    }
    let Some((name, set)) = part.split_once(char::is_whitespace) else { return is_name(part) };
    let set = set.trim();
    let values = set.strip_prefix("notin").or_else(|| set.strip_prefix("in")).map(str::trim);
    let values = values.and_then(|values| values.strip_prefix('(')?.strip_suffix(')'));
    let is_list = |values: &str| !values.trim().is_empty() && values.split(',').all(|value| is_value(value.trim()));
    is_name(name) && values.is_some_and(is_list)
}

/// An optional DNS prefix and a name of at most 63 characters.
fn is_name(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let prefixed = prefix.is_none_or(|prefix| (1..=253).contains(&prefix.len()) && prefix.chars().all(dns));
    prefixed && !name.is_empty() && is_value(name)
}

/// At most 63 of letters, digits and - _ . between letters or digits; or nothing.
fn is_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_told_from_what_only_looks_like_one() {
        let fine = [
            "k8s-app=aws-node",
            "app.kubernetes.io/name==aws-node,!canary",
            "a, b!=c",
            "tier in (a, b),zone notin (c)",
            "name=",
        ];
        for text in fine {
            assert_eq!(selector(text), Ok(text.to_owned()));
        }
        for text in [
            "!!!",
            "k8s-app aws-node",
            "a==b==c",
            "a in b",
            "a in (b",
            "a=b)",
            "",
            "a,,b",
            "-a=b",
            "Ä=b",
            "k8s-app==",
            "a in ()",
            "a in ( )",
        ] {
            assert!(selector(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_empty_value_is_allowed_with_a_warning() {
        assert!(warning("tier=a, k8s-app = ").unwrap().contains("whose label k8s-app is there and empty"));
        for fine in ["k8s-app=aws-node", "a==b", "a!=", "!a", "a in (b,)"] {
            assert_eq!(warning(fine), None, "{fine}");
        }
    }
}
