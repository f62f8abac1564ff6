//! The values of the labels that are kept of a line.

use super::labels::{Canonical, Label, labels};
use super::limits::MAX_LINE_BYTES;
use crate::labels::is_kept_as_written;
use cni_types::catalogue::LabelledFamily;

/// The values as written: one, and an empty one; or two.
pub(super) type Values<'p> = (&'p [u8], &'p [u8]);

/// How much of an error's text is searched for its code, which stands near its beginning.
const SEARCHED_BYTES: usize = 4096;

/// The code of an error's text that names none.
const NO_CODE: &[u8] = b"unknown";

/// The values in a block as Go agents write it, where it has no other labels and the values are kept as they are written;
/// `None` leaves the block to [`of_block`].
#[inline]
pub(super) fn usual<'p>(family: LabelledFamily, found: &Canonical<'p>) -> Option<Values<'p>> {
    match family {
        LabelledFamily::AwsUtilsErrorCount => None,
        LabelledFamily::AwsApiErrorCount => {
            let api = found.api.filter(|api| !api.is_empty() && is_kept_as_written(api))?;
            let rest = found.block.strip_prefix(b"{api=\"")?.get(api.len()..)?;
            Some((api, only(rest, b"\",error=\"")?))
        }
        LabelledFamily::DelIpReqCount => Some((only(found.block, b"{reason=\"")?, b"")),
        _ => Some((only(found.block, b"{fn=\"")?, b"")),
    }
}

/// The value, if it is all between this beginning and the end of the labels; a value with a quote in it is several.
#[inline]
fn only<'p>(text: &'p [u8], beginning: &[u8]) -> Option<&'p [u8]> {
    let value = text.strip_prefix(beginning)?.strip_suffix(b"\"}")?;
    (!value.is_empty() && is_kept_as_written(value)).then_some(value)
}

/// The values in any block; `None` where a label is missing or empty, which is the same.
#[cold]
pub(super) fn of_block(family: LabelledFamily, block: &[u8]) -> Option<Values<'_>> {
    labels(block.get(..MAX_LINE_BYTES).unwrap_or(block)).ok().and_then(|(labels, _)| of_labels(family, &labels))
}

/// The values among a line's labels.
pub(super) fn of_labels<'p>(family: LabelledFamily, labels: &[Label<'p>]) -> Option<Values<'p>> {
    let value = |wanted: &str| {
        let found = labels.iter().find(|(name, _)| *name == wanted.as_bytes());
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    match (family, family.label_names()) {
        (LabelledFamily::AwsUtilsErrorCount, _) => Some((value("fn")?, value("error").map_or(NO_CODE, code))),
        (_, [first]) => Some((value(first)?, b"")),
        (_, [first, second, ..]) => Some((value(first)?, value(second)?)),
        (_, []) => None,
    }
}

/// The code in an error's text as the AWS SDKs for Go write it: `… api error CODE: text` by version 2, `CODE: text` by
/// version 1, perhaps behind text of the caller's.
fn code(text: &[u8]) -> &[u8] {
    const MARK: &[u8] = b"api error ";
    let text = text.get(..SEARCHED_BYTES).unwrap_or(text);
    let of_version_2 = memchr::memmem::find(text, MARK).and_then(|at| {
        let code = text.get(at + MARK.len()..)?.split(|byte| *byte == b':').next()?;
        is_code(code).then_some(code)
    });
    let of_version_1 = || text.split(|byte| *byte == b':').map(<[u8]>::trim_ascii_start).find(|part| is_code(part));
    of_version_2.or_else(of_version_1).unwrap_or(NO_CODE)
}

/// A word that begins with a capital letter, such as `InvalidGroup.NotFound`.
fn is_code(text: &[u8]) -> bool {
    text.len() > 3
        && text.first().is_some_and(u8::is_ascii_uppercase)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::super::labels::canonical;
    use super::*;
    use LabelledFamily::{AwsApiErrorCount, AwsUtilsErrorCount, DelIpReqCount, IpamdErrorCount};

    #[test]
    fn both_ways_of_reading_find_the_same_values() {
        for (family, block, expected) in [
            (AwsApiErrorCount, r#"{api="A",error="B"}"#, Some(("A", "B"))),
            (AwsApiErrorCount, r#"{api="A",error="B",node="n"}"#, Some(("A", "B"))),
            (AwsApiErrorCount, r#"{api="A\"",error="B"}"#, Some((r#"A\""#, "B"))),
            (AwsApiErrorCount, r#"{api="A"}"#, None),
            (AwsApiErrorCount, r#"{api="A",error=""}"#, None),
            (IpamdErrorCount, r#"{fn="f"}"#, Some(("f", ""))),
            (IpamdErrorCount, r#"{cluster="c",fn="f"}"#, Some(("f", ""))),
            (IpamdErrorCount, r#"{fn="f",error="e"}"#, Some(("f", ""))),
            (IpamdErrorCount, r#"{fn=""}"#, None),
            (IpamdErrorCount, r#"{api="A",error="B"}"#, None),
            (IpamdErrorCount, "", None),
            (DelIpReqCount, r#"{reason="PodDeleted"}"#, Some(("PodDeleted", ""))),
            (AwsUtilsErrorCount, r#"{error="X1: a",fn="f"}"#, Some(("f", "unknown"))),
            (AwsUtilsErrorCount, r#"{fn="f"}"#, Some(("f", "unknown"))),
            (AwsUtilsErrorCount, r#"{error="Throttling: a"}"#, None),
        ] {
            let expected = expected.map(|(first, second)| (first.as_bytes(), second.as_bytes()));
            if let Some((found, _)) = canonical(block.as_bytes(), Canonical::default()) {
                let usual = usual(family, &found);
                assert!(usual.is_none() || usual == expected, "{block}");
                let is_usual = [r#"{api="A",error="B"}"#, r#"{fn="f"}"#, r#"{reason="PodDeleted"}"#].contains(&block);
                assert_eq!(usual.is_some(), is_usual && expected.is_some() && family != AwsUtilsErrorCount, "{block}");
            }
            assert_eq!(of_block(family, block.as_bytes()), expected, "{block}");
        }
    }

    #[test]
    fn the_code_is_cut_from_the_text_of_either_sdk() {
        for (text, expected) in [
            (
                "operation error EC2: DeleteNetworkInterface, https response error StatusCode: 400, RequestID: 5a, api \
                 error InvalidParameterValue: Network interface 'eni-1' is currently in use.",
                "InvalidParameterValue",
            ),
            (
                "InvalidNetworkInterfaceID.NotFound: gone\\n\\tstatus code: 400, request id: 5a",
                "InvalidNetworkInterfaceID.NotFound",
            ),
            ("detachENI: could not detach: RequestLimitExceeded: slow down", "RequestLimitExceeded"),
            ("unable to attach eni: Throttling", "Throttling"),
            ("operation error EC2: X, canceled, context deadline exceeded", "unknown"),
            ("errno=-1", "unknown"),
            ("api error : y", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(code(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
