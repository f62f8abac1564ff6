//! Numbers, texts and records from the front of a spool's bytes.

/// Reads from the front; every step is checked against what is left.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(length).ok_or("cut off")?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("cut off")?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, &'static str> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn count(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.u64()?).map_err(|_| "a count out of range")
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.count()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }

    /// The next record of a journal, if it is whole.
    pub(super) fn record(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32().ok()?).ok()?;
        let checksum = self.u32().ok()?;
        let record = self.take(length).ok()?;
        (crc32fast::hash(record) == checksum).then_some(record)
    }
}
