//! Bytes as a source of decisions.

/// Bytes that are read one after the other; after the last, every byte is 0.
#[derive(Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number in `0..bound`, of one byte.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound.max(1)
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::from(self.byte()) % length.max(1)
    }

    /// True for one byte in `times`; false at the end.
    pub(super) fn seldom(&mut self, times: u8) -> bool {
        self.below(times) == times - 1
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number of any size; the ends of the range are as likely as all others together.
    pub(super) fn extreme(&mut self) -> i64 {
        match self.below(8) {
            0 => i64::from(self.byte()),
            1 => i64::MAX,
            2 => i64::MIN,
            3 => i64::MAX - i64::from(self.byte()),
            4 => i64::MIN + i64::from(self.byte()),
            5 => -i64::from(self.byte()),
            _ => i64::from_be_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// The length of a list: mostly some, at times more than an instance can have.
    pub(super) fn length(&mut self) -> usize {
        match self.below(16) {
            0 => 0,
            1..=12 => usize::from(self.below(4)),
            13 => 20,
            14 => 70,
            _ => 300,
        }
    }

    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self, usize) -> T) -> Vec<T> {
        let length = self.length();
        (0..length).map(|place| item(self, place)).collect()
    }

    pub(super) fn maybe<T>(&mut self, item: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.seldom(4)).then(|| item(self))
    }

    pub(super) fn text(&mut self) -> Box<str> {
        match self.below(12) {
            0 => "".into(),
            1 => "m5.large".into(),
            2 => "no.such-type".into(),
            3 => "10.0.0.0/16".into(),
            4 => "999.0.0.0/99".into(),
            5 => "a\"b\\c\nd\u{0}\u{2028}".into(),
            6 => "true".into(),
            7 => "9999-12-31T23:59:59+23:59".into(),
            8 => "0000-01-01T00:00:00Z".into(),
            9 => "x".repeat(5_000).into(),
            _ => format!("t{}", self.byte()).into(),
        }
    }
}
