//! Versions of the VPC CNI's agent.

use std::fmt;

/// A version of the VPC CNI's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentVersion {
    /// The 1 of 1.19.3.
    pub major: u16,
    /// The 19 of 1.19.3.
    pub minor: u16,
    /// The 3 of 1.19.3.
    pub patch: u16,
}

impl AgentVersion {
    /// A version.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `v1.19.3` and `1.19.3`, ignoring a suffix after `-`, `+` or `_` (`v1.19.3-eksbuild.1`).
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix('v').unwrap_or(text).split(['-', '+', '_']).next()?;
        let mut numbers = numbers.split('.').map(|number| {
            // `parse` would also take a sign.
            if number.bytes().all(|byte| byte.is_ascii_digit()) { number.parse::<u16>().ok() } else { None }
        });
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { major, minor, patch })
    }
}

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_their_build() {
        let expected = Some(AgentVersion::new(1, 19, 3));
        for text in ["v1.19.3", "1.19.3", "v1.19.3-eksbuild.1", "1.19.3+dirty", "v1.19.3_mirror"] {
            assert_eq!(AgentVersion::parse(text), expected, "{text}");
        }
        for text in
            ["", "v", "latest", "1", "v1.7", "v1.x.0", "1.2.3.4", "1..3", "+1.2.3", "v1.19.", "1.99999.0", "master-1.2"]
        {
            assert_eq!(AgentVersion::parse(text), None, "{text}");
        }
        assert_eq!(AgentVersion::new(1, 19, 3).to_string(), "v1.19.3");
        assert!(AgentVersion::new(1, 9, 9) < AgentVersion::new(1, 10, 0));
    }
}
