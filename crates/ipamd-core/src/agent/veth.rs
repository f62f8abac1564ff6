//! Which interface of the host belongs to a pod: its name ends in the first 11 digits of the SHA-1 of `namespace.name`.

use crate::input::PodName;

/// How many digits of the hash stand in a name.
const DIGITS: usize = 11;

/// What the name of the pod's interface ends in.
pub fn suffix(pod: &PodName) -> String {
    let mut digits = hex(sha1(format!("{}.{}", pod.namespace, pod.name).as_bytes()));
    digits.truncate(DIGITS);
    digits
}

fn hex(hash: [u8; 20]) -> String {
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

/// SHA-1 (FIPS 180-4): a name is made of it, nothing is secured by it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64).wrapping_mul(8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = Vec::with_capacity(80);
        words
            .extend(block.chunks_exact(4).map(|bytes| bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))));
        for at in 16..80 {
            let word = |back: usize| words.get(at - back).copied().unwrap_or(0);
            let mixed: u32 = word(3) ^ word(8) ^ word(14) ^ word(16);
            words.push(mixed.rotate_left(1));
        }
        let mut mixing = state;
        for (round, word) in words.iter().enumerate() {
            let [first, second, third, fourth, fifth] = mixing;
            let (mixed, constant) = match round {
                0..20 => (second & third | !second & fourth, 0x5a82_7999),
                20..40 => (second ^ third ^ fourth, 0x6ed9_eba1),
                40..60 => (second & third | second & fourth | third & fourth, 0x8f1b_bcdc),
                _ => (second ^ third ^ fourth, 0xca62_c1d6_u32),
            };
            let terms = [mixed, fifth, constant, *word];
            let next = terms.iter().fold(first.rotate_left(5), |sum, term| sum.wrapping_add(*term));
            mixing = [next, first, second.rotate_left(30), third, fourth];
        }
        state.iter_mut().zip(mixing).for_each(|(sum, add)| *sum = sum.wrapping_add(add));
    }
    let mut hash = [0; 20];
    hash.iter_mut().zip(state.iter().flat_map(|word| word.to_be_bytes())).for_each(|(to, from)| *to = from);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let text = |message: &[u8]| hex(sha1(message));
        assert_eq!(text(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(text(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(text(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(text(&[b'a'; 119]), "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56");
    }

    #[test]
    fn a_name_ends_in_eleven_digits() {
        let pod = PodName { namespace: "default".into(), name: "web-0".into() };
        assert_eq!(suffix(&pod), "0d7763386da");
    }
}
