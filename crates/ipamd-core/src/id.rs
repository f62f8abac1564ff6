//! Ids of AWS resources, of operations, of lives of the process, and the time.

use std::fmt;

/// Makes the type of one kind of id: its prefix, then 8 hexadecimal digits (resources made before 2016) or 17.
macro_rules! aws_ids {
    ($($(#[$doc:meta])+ $name:ident $prefix:literal;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 9]);

        impl $name {
            /// What the text of every id begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id of 17 digits made of the low 68 bits of `bits`.
            pub const fn from_bits(bits: u128) -> Self {
                Self(long(bits))
            }

            /// The number that the digits of the id are.
            pub fn bits(self) -> u128 {
                number(self.0)
            }

            /// The id that this text is.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                digits(text, $prefix).map(Self).ok_or_else(|| BadId { expected: $prefix, found: cut(text) })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_digits(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

aws_ids! {
    /// An ENI (elastic network interface).
    EniId "eni-";
    /// The attachment of an ENI to an instance.
    AttachmentId "eni-attach-";
    /// A subnet of the VPC.
    SubnetId "subnet-";
    /// A security group.
    GroupId "sg-";
    /// A VPC.
    VpcId "vpc-";
    /// An EC2 instance.
    InstanceId "i-";
}

/// A text is not an id of the kind that stands in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no id: `{expected}` followed by 8 or 17 hexadecimal digits is expected")]
pub struct BadId {
    /// The prefix of the kind.
    pub expected: &'static str,
    /// The text, cut after 64 characters.
    pub found: Box<str>,
}

/// Marks an id of 8 digits in the half byte that an id of 17 digits leaves free.
const SHORT: u8 = 0x10;

const fn long(bits: u128) -> [u8; 9] {
    let bytes = bits.to_be_bytes();
    let Some((_, low)) = bytes.split_last_chunk::<9>() else { return [0; 9] };
    let mut bytes = *low;
    let [first, ..] = &mut bytes;
    *first &= 0x0f;
    bytes
}

fn number(mut bytes: [u8; 9]) -> u128 {
    let [first, ..] = &mut bytes;
    *first &= 0x0f;
    bytes.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

fn digits(text: &str, prefix: &str) -> Option<[u8; 9]> {
    let digits = text.strip_prefix(prefix)?;
    // `from_str_radix` takes a sign, and upper case is not what EC2 writes.
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let bits = u128::from_str_radix(digits, 16).ok()?;
    match digits.len() {
        17 => Some(long(bits)),
        8 => {
            let mut bytes = long(bits);
            let [first, ..] = &mut bytes;
            *first = SHORT;
            Some(bytes)
        }
        _ => None,
    }
}

fn write_digits(bytes: [u8; 9], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [first, ..] = bytes;
    let skipped = if first == SHORT {
        5
    } else {
        write!(f, "{first:x}")?;
        1
    };
    bytes.iter().skip(skipped).try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn cut(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

/// The time of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never steps: every timer runs on it.
    pub mono_ms: i64,
    /// Nanoseconds since 1970 of a clock that may step: only times that others read (`createdAt`, the time of an assignment).
    pub unix_ns: i64,
}

impl Now {
    /// Milliseconds since 1970.
    pub const fn unix_ms(self) -> i64 {
        self.unix_ns.div_euclid(1_000_000)
    }

    /// Seconds since 1970.
    pub const fn unix_s(self) -> i64 {
        self.unix_ns.div_euclid(1_000_000_000)
    }
}

/// One effect; numbers grow and are never used again in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// One RPC of a plugin, by a number its owner chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(pub u64);

/// One life of the process. An answer to an effect of an earlier life is an observation and completes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// Grows whenever the core sends a mutation or concludes one. A read carries the value at which it was sent, so that what it
/// says about an ENI counts only if nothing changed that ENI since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for text in
            ["eni-0123456789abcdef0", "eni-f123456789abcdef0", "eni-0a1b2c3d", "eni-00000000", "eni-00000000000000000"]
        {
            assert_eq!(EniId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
            let digits = text.trim_start_matches(EniId::PREFIX);
            assert_eq!(EniId::parse(text).map(EniId::bits), Ok(u128::from_str_radix(digits, 16).unwrap()), "{text}");
        }
        assert_eq!(GroupId::parse("sg-0a1b2c3d").map(|id| id.to_string()), Ok("sg-0a1b2c3d".to_owned()));
        assert_ne!(EniId::parse("eni-00000000"), EniId::parse("eni-00000000000000000"));
    }

    #[test]
    fn a_text_that_is_no_id_is_named_and_cut() {
        let long = format!("eni-{}", "0".repeat(1000));
        for text in
            ["", "eni-", "eni-0123", "eni-0123456789ABCDEF0", "eni-+1234567", "subnet-0a1b2c3d", "eni-0a1b2c3d ", &long]
        {
            let refusal = EniId::parse(text).expect_err(text);
            assert_eq!(refusal.expected, "eni-");
            assert!(text.starts_with(&*refusal.found) && refusal.found.len() <= 64, "{refusal}");
        }
    }
}
