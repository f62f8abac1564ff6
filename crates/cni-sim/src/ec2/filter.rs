//! Filters, ids and pages, which all Describe operations share.

use super::view::Tags;
use crate::aws::doc::Doc;
use crate::aws::error::AwsError;

/// The most, and the default number of, results of one page.
const MAX_PAGE: usize = 1000;
const MIN_PAGE: usize = 5;

/// What a filter can look at.
pub(super) trait Filterable {
    /// The values that filter `name` compares with; `None` if this kind of resource has no such filter.
    fn values(&self, name: &str) -> Option<Vec<String>>;
    /// The resource's tags, for `tag:…` and `tag-key`.
    fn tags(&self) -> Option<&Tags>;
}

/// The filters of one request: all must hold, each for one of its values.
pub(super) struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    pub(super) fn decode(input: &Doc) -> Result<Self, AwsError> {
        let mut filters = Vec::new();
        for filter in input.get("Filter").and_then(Doc::list).unwrap_or_default() {
            let name = filter.get("Name").and_then(Doc::as_text).unwrap_or("");
            let values: Vec<String> = texts(filter.get("Value")).map(str::to_owned).collect();
            if name.is_empty() || values.is_empty() {
                return Err(AwsError::new(400, "InvalidParameterValue", format!("The filter '{name}' is incomplete")));
            }
            filters.push((name.to_owned(), values));
        }
        Ok(Self(filters))
    }

    pub(super) fn keep<T: Filterable>(&self, items: &mut Vec<T>) -> Result<(), AwsError> {
        for (name, wanted) in &self.0 {
            let mut unknown = false;
            items.retain(|item| {
                let values = values_of(item, name);
                unknown |= values.is_none();
                values.unwrap_or_default().iter().any(|value| wanted.iter().any(|pattern| matches(pattern, value)))
            });
            if unknown {
                return Err(AwsError::new(400, "InvalidParameterValue", format!("The filter '{name}' is invalid")));
            }
        }
        Ok(())
    }
}

fn values_of<T: Filterable>(item: &T, name: &str) -> Option<Vec<String>> {
    if let Some(tags) = item.tags() {
        if let Some(key) = name.strip_prefix("tag:") {
            return Some(tags.get(key).cloned().into_iter().collect());
        }
        if name == "tag-key" {
            return Some(tags.keys().cloned().collect());
        }
    }
    item.values(name)
}

/// `*` stands for any text, `?` for one character; a backslash takes the next character as it is.
fn matches(pattern: &str, value: &str) -> bool {
    let (pattern, value): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
    // reached[i]: the pattern so far can match the first i characters.
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            for i in 1..reached.len() {
                reached[i] |= reached[i - 1];
            }
        } else {
            let any = pattern[at] == '?';
            let escaped = pattern[at] == '\\' && at + 1 < pattern.len();
            at += usize::from(escaped);
            for i in (1..reached.len()).rev() {
                reached[i] = reached[i - 1] && (any || value[i - 1] == pattern[at]);
            }
            reached[0] = false;
        }
        at += 1;
    }
    reached[value.len()]
}

/// Keeps the items named by the list `member`, all of which must exist.
pub(super) fn keep_ids<T>(
    items: &mut Vec<T>,
    input: &Doc,
    member: &str,
    not_found: &'static str,
    id: impl Fn(&T) -> &str,
) -> Result<(), AwsError> {
    let wanted: Vec<&str> = texts(input.get(member)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(missing) = wanted.iter().find(|wanted| !items.iter().any(|item| id(item) == **wanted)) {
        return Err(AwsError::new(400, not_found, format!("The ID '{missing}' does not exist")));
    }
    items.retain(|item| wanted.contains(&id(item)));
    Ok(())
}

/// One page of `items`, and the token of the next.
pub(super) fn page<T>(items: Vec<T>, input: &Doc) -> Result<(Vec<T>, Option<String>), AwsError> {
    let invalid = |message: String| AwsError::new(400, "InvalidParameterValue", message);
    let size = match input.get("MaxResults") {
        None => MAX_PAGE,
        Some(size) => {
            let size = size.as_i64().and_then(|size| usize::try_from(size).ok());
            size.filter(|size| (MIN_PAGE..=MAX_PAGE).contains(size))
                .ok_or_else(|| invalid(format!("Expected MaxResults between {MIN_PAGE} and {MAX_PAGE}")))?
        }
    };
    let start = match input.get("NextToken").and_then(Doc::as_text).filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => {
            let offset = token.strip_prefix("page-").and_then(|offset| offset.parse::<usize>().ok());
            offset.ok_or_else(|| invalid(format!("Invalid value '{token}' for NextToken")))?
        }
    };
    let end = start.saturating_add(size);
    let next = (end < items.len()).then(|| format!("page-{end}"));
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

fn texts(list: Option<&Doc>) -> impl Iterator<Item = &str> {
    list.and_then(Doc::list).unwrap_or_default().iter().filter_map(Doc::as_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, value, expected) in [
            ("subnet-1", "subnet-1", true),
            ("subnet-1", "subnet-12", false),
            ("subnet-*", "subnet-12", true),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("*b*c", "abbc", true),
            ("*b*c", "abbd", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn pages_cover_everything_once() {
        let items: Vec<usize> = (0..12).collect();
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let mut input = Doc::map([("MaxResults", Doc::text("5"))]);
            if let Some(token) = token {
                input = input.with("NextToken", Doc::Text(token));
            }
            let (page, next) = page(items.clone(), &input).unwrap();
            seen.extend(page);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, items);
        assert!(page(items, &Doc::map([("MaxResults", Doc::text("4"))])).is_err());
    }
}
