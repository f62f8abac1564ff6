//! Which known name was probably meant by an unknown one.

/// How different a name may be from what was meant: a third of its letters, and at least two.
const LEAST_EDITS: usize = 2;

/// The known name that is most like `unknown`, if one is like it. Of equally similar names the first counts. Case makes no
/// difference.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (unknown.chars().count() / 3).max(LEAST_EDITS);
    let unknown = unknown.to_lowercase();
    let near = known.into_iter().map(|name| (edits(&name.to_lowercase(), &unknown), name));
    near.filter(|(edits, _)| *edits <= most).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Levenshtein distance; names are short, so one row is enough.
pub(crate) fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        let mut next = vec![before];
        for (b, above) in right.bytes().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(a != b)).min(before + 1).min(above + 1);
            diagonal = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_found_and_nothing_where_none_is_similar() {
        let known = ["calm", "churn", "subnet-exhaustion"];
        for (unknown, meant) in [("clam", "calm"), ("Churn", "churn"), ("subnet_exhaustoin", "subnet-exhaustion")] {
            assert_eq!(nearest(unknown, known), Some(meant));
        }
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest("", known), None);
    }
}
