//! What a node's memory is found by.

/// The node that something is remembered of, by the UID of its agent's pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum NodeKey {
    /// A UUID as the API server writes them: 36 characters in 16 bytes.
    Uuid([u8; 16]),
    /// Any other text.
    Text(Box<str>),
}

impl NodeKey {
    pub(crate) fn of(uid: &str) -> Self {
        uuid(uid).map_or_else(|| Self::Text(uid.into()), Self::Uuid)
    }
}

/// The bytes of `01234567-89ab-cdef-0123-456789abcdef`; `None` for every other text, so that no two texts have the same bytes.
fn uuid(text: &str) -> Option<[u8; 16]> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    if text.len() != 36 || HYPHENS.into_iter().any(|at| text.as_bytes().get(at) != Some(&b'-')) {
        return None;
    }
    let mut digits = text.bytes().enumerate().filter(|(at, _)| !HYPHENS.contains(at)).map(|(_, digit)| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    });
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(bytes)
}
