//! What bounds the work on one page, whatever the page says.

/// How many series of the catalogue's families a page may have. A node with 750 addresses, each with a series of its
/// own, and thousands of different error texts stays below it.
pub const MAX_SERIES: u32 = 10_000;

/// How long a line of the catalogue's may be. The longest that ipamd writes hold an error's text.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// How many labels a line may have: ipamd's lines have three, and a proxy that relays a page adds a few.
pub(super) const MAX_LABELS: usize = 64;
