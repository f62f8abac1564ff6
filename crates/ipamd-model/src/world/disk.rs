//! The agent's checkpoint: a file that can be missing, damaged, or impossible to write.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipamd_core::input::{CheckpointEntry, PodName, SecondFile, StoreError, StoreReply};

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

/// [`Content`] as it is kept.
#[derive(Debug)]
enum File {
    Missing,
    Entries(Box<[Kept]>),
    Damaged,
    OtherVersion,
}

/// A checkpoint's entry as it is kept: most have no more than an IPv4 address.
#[derive(Debug)]
struct Kept {
    key: u64,
    ipv4: Option<Ipv4Addr>,
    rest: Option<Box<Rest>>,
}

/// What most entries do not have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rest {
    ipv6: Option<Ipv6Addr>,
    allocated_ns: i64,
    pod: PodName,
}

impl From<CheckpointEntry<u64>> for Kept {
    fn from(entry: CheckpointEntry<u64>) -> Self {
        let CheckpointEntry { key, ipv4, ipv6, allocated_ns, pod } = entry;
        let rest = Rest { ipv6, allocated_ns, pod };
        Self { key, ipv4, rest: (rest != Rest::default()).then(|| Box::new(rest)) }
    }
}

impl Kept {
    fn entry(&self) -> CheckpointEntry<u64> {
        let rest = self.rest.as_deref();
        CheckpointEntry {
            key: self.key,
            ipv4: self.ipv4,
            ipv6: rest.and_then(|rest| rest.ipv6),
            allocated_ns: rest.map_or(0, |rest| rest.allocated_ns),
            pod: rest.map(|rest| rest.pod.clone()).unwrap_or_default(),
        }
    }
}

/// The file.
#[derive(Debug)]
pub struct Disk {
    file: File,
    generation: u64,
    writes: u64,
    refused: u64,
    second: Result<Option<Box<SecondFile>>, StoreError>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { file: File::Missing, generation: 0, writes: 0, refused: 0, second: Ok(None) }
    }
}

impl Disk {
    /// What is in it.
    pub fn content(&self) -> Content {
        match &self.file {
            File::Missing => Content::Missing,
            File::Entries(kept) => Content::Entries(kept.iter().map(Kept::entry).collect()),
            File::Damaged => Content::Damaged,
            File::OtherVersion => Content::OtherVersion,
        }
    }

    /// Puts something in it from outside.
    pub fn set(&mut self, content: Content) {
        self.file = match content {
            Content::Missing => File::Missing,
            Content::Entries(entries) => File::Entries(entries.into_iter().map(Kept::from).collect()),
            Content::Damaged => File::Damaged,
            Content::OtherVersion => File::OtherVersion,
        };
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
        match self.content() {
            Content::Missing => Err(StoreError::Missing),
            Content::Entries(entries) => Ok(StoreReply::Checkpoint(entries)),
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
        entries: Vec<CheckpointEntry<u64>>,
        fails: bool,
    ) -> Result<StoreReply<u64>, StoreError> {
        if fails {
            self.refused = self.refused.saturating_add(1);
            return Err(StoreError::Io("write ipam.json: no space left on device".into()));
        }
        if generation >= self.generation {
            self.generation = generation;
            self.set(Content::Entries(entries));
        }
        self.writes = self.writes.saturating_add(1);
        Ok(StoreReply::Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let mut disk = Disk::default();
        assert_eq!(disk.read(), Err(StoreError::Missing));
        assert_eq!(disk.write(1, Vec::new(), false), Ok(StoreReply::Written));
        let pod = PodName { namespace: "default".into(), name: "web-0".into() };
        let ipv6 = Some("2001:db8::9".parse().unwrap());
        let entry = CheckpointEntry { key: 7, ipv4: Some([10, 0, 0, 9].into()), ipv6, allocated_ns: 5, pod };
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
