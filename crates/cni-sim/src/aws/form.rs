//! Form bodies of the Query protocols: dotted names with numbered members become a tree.

use super::doc::Doc;
use std::collections::BTreeMap;

/// Deeper names than any AWS operation has are refused.
const MAX_DEPTH: usize = 16;

#[derive(Default)]
struct Node {
    text: Option<String>,
    children: BTreeMap<String, Node>,
}

/// Reads a form: `MetricData.member.1.Value=2` (awsQuery) and `Filter.1.Value.1=x` (EC2) alike.
pub fn decode(body: &[u8]) -> Result<Doc, String> {
    let mut root = Node::default();
    for (name, value) in form_urlencoded::parse(body) {
        let mut node = &mut root;
        for (depth, part) in name.split('.').enumerate() {
            if depth == MAX_DEPTH {
                return Err(format!("the parameter {name} is nested too deeply"));
            }
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.text = Some(value.into_owned());
    }
    if root.children.is_empty() { Ok(Doc::Map(Vec::new())) } else { Ok(to_doc(root)) }
}

fn to_doc(mut node: Node) -> Doc {
    if node.children.is_empty() {
        return Doc::Text(node.text.unwrap_or_default());
    }
    if node.children.len() == 1
        && let Some(members) = node.children.remove("member")
    {
        return numbered(members.children);
    }
    if node.children.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit())) {
        return numbered(node.children);
    }
    Doc::Map(node.children.into_iter().map(|(name, child)| (name, to_doc(child))).collect())
}

/// A list, in the order of its numbers; AWS does not mind gaps.
fn numbered(children: BTreeMap<String, Node>) -> Doc {
    let mut items: Vec<(u64, Node)> =
        children.into_iter().map(|(key, child)| (key.parse().unwrap_or(u64::MAX), child)).collect();
    items.sort_by_key(|(number, _)| *number);
    Doc::List(items.into_iter().map(|(_, child)| to_doc(child)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_numeric_order() {
        let body = (1..=12).rev().map(|i| format!("L.member.{i}=v{i}")).collect::<Vec<_>>().join("&");
        let doc = decode(body.as_bytes()).unwrap();
        let texts: Vec<_> = doc.get("L").unwrap().list().unwrap().iter().filter_map(Doc::as_text).collect();
        assert_eq!(texts[..3], ["v1", "v2", "v3"]);
        assert_eq!(texts[11], "v12");
    }

    #[test]
    fn both_query_dialects_are_read() {
        let doc = decode(b"Action=X&Filter.1.Name=tag%3Akey&Filter.1.Value.1=a+b&D.member.1.Name=n").unwrap();
        let filter = &doc.get("Filter").unwrap().list().unwrap()[0];
        assert_eq!(filter.get("Name").unwrap().as_text(), Some("tag:key"));
        assert_eq!(filter.get("Value").unwrap().list().unwrap(), [Doc::text("a b")]);
        assert_eq!(doc.get("D").unwrap().list().unwrap()[0].get("Name"), Some(&Doc::text("n")));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(decode("a.".repeat(100_000).as_bytes()).is_err());
    }
}
