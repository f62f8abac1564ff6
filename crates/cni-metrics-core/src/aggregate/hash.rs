//! Names as numbers.

/// FNV-1a, 64 bits: stands for a name in what is remembered and saved.
pub(super) const fn fnv(text: &str) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325;
    let mut left = text.as_bytes();
    while let [byte, rest @ ..] = left {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01B3);
        left = rest;
    }
    hash
}
