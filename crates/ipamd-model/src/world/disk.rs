//! The agent's checkpoint: a file that can be missing, damaged, or impossible to write.

use ipamd_core::input::{CheckpointEntry, SecondFile, StoreError, StoreReply};

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// There is no file.
    #[default]
    Missing,
    /// A checkpoint.
    Entries(Vec<CheckpointEntry<u64>>),
    /// Bytes that are no checkpoint.
    Damaged,
    /// A checkpoint of a version that this agent does not know.
    OtherVersion,
}

/// The file.
#[derive(Debug)]
pub struct Disk {
    content: Content,
    generation: u64,
    writes: u64,
    refused: u64,
    second: Result<Option<Box<SecondFile>>, StoreError>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { content: Content::Missing, generation: 0, writes: 0, refused: 0, second: Ok(None) }
    }
}

impl Disk {
    /// What is in it.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Puts something in it from outside.
    pub fn set(&mut self, content: Content) {
        self.content = content;
    }

    /// The second file.
    pub fn second(&self) -> Option<&SecondFile> {
        self.second.as_ref().ok().and_then(Option::as_deref)
    }

    /// Puts another second file in its place, or makes reading it fail.
    pub fn set_second(&mut self, second: Result<Option<Box<SecondFile>>, StoreError>) {
        self.second = second;
    }

    /// Reads the second file.
    pub fn read_second(&self) -> Result<StoreReply<u64>, StoreError> {
        self.second.clone()?.map(StoreReply::Second).ok_or(StoreError::Missing)
    }

    /// Replaces the second file.
    pub fn write_second(&mut self, file: Option<SecondFile>, fails: bool) -> Result<StoreReply<u64>, StoreError> {
        if fails {
            self.refused = self.refused.saturating_add(1);
            return Err(StoreError::Io("write second file: no space left on device".into()));
        }
        self.second = Ok(file.map(Box::new));
        Ok(StoreReply::Written)
    }

    /// Writes that were done, and that the disk refused.
    pub fn writes(&self) -> (u64, u64) {
        (self.writes, self.refused)
    }

    /// Reads the file.
    pub fn read(&self) -> Result<StoreReply<u64>, StoreError> {
        match &self.content {
            Content::Missing => Err(StoreError::Missing),
            Content::Entries(entries) => Ok(StoreReply::Checkpoint(entries.clone())),
            Content::Damaged => Err(StoreError::Malformed("unexpected end of JSON input".into())),
            Content::OtherVersion => Err(StoreError::Version),
        }
    }

    /// A new life of the agent counts its writes from the start.
    pub fn begin_life(&mut self) {
        self.generation = 0;
    }

    /// Replaces the file; one that is older than what is there changes nothing.
    pub fn write(
        &mut self,
        generation: u64,
        mut entries: Vec<CheckpointEntry<u64>>,
        fails: bool,
    ) -> Result<StoreReply<u64>, StoreError> {
        if fails {
            self.refused = self.refused.saturating_add(1);
            return Err(StoreError::Io("write ipam.json: no space left on device".into()));
        }
        if generation >= self.generation {
            self.generation = generation;
            entries.shrink_to_fit();
            self.content = Content::Entries(entries);
        }
        self.writes = self.writes.saturating_add(1);
        Ok(StoreReply::Written)
    }
}

#[cfg(test)]
mod tests {
    use ipamd_core::input::PodName;

    use super::*;

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let mut disk = Disk::default();
        assert_eq!(disk.read(), Err(StoreError::Missing));
        assert_eq!(disk.write(1, Vec::new(), false), Ok(StoreReply::Written));
        let entry = CheckpointEntry { key: 7, ipv4: None, ipv6: None, allocated_ns: 0, pod: PodName::default() };
        assert!(matches!(disk.write(2, vec![entry.clone()], true), Err(StoreError::Io(_))));
        assert_eq!(disk.read(), Ok(StoreReply::Checkpoint(Vec::new())));
        assert_eq!(disk.write(3, vec![entry.clone()], false), Ok(StoreReply::Written));
        assert_eq!(disk.write(2, Vec::new(), false), Ok(StoreReply::Written), "an older one changes nothing");
        assert_eq!(disk.read(), Ok(StoreReply::Checkpoint(vec![entry])));
        assert_eq!(disk.writes(), (3, 1));
        disk.begin_life();
        assert_eq!(disk.write(1, Vec::new(), false), Ok(StoreReply::Written));
        assert_eq!(disk.read(), Ok(StoreReply::Checkpoint(Vec::new())));
    }

    #[test]
    fn damage_is_told_apart_from_absence() {
        let mut disk = Disk::default();
        disk.set(Content::Damaged);
        assert!(matches!(disk.read(), Err(StoreError::Malformed(_))));
        disk.set(Content::OtherVersion);
        assert_eq!(disk.read(), Err(StoreError::Version));
    }
}
