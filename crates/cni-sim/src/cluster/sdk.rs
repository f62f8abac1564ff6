//! Which SDK an agent is built with: it decides what the agent counts where EC2 had no part in an error.

use super::active::Members;
use cni_types::version::AgentVersion;
use ipamd_model::world::faults::How;

/// Agents from this version on are built with version 2 of the SDK for Go.
const SECOND_SINCE: AgentVersion = AgentVersion::new(1, 19, 4);

/// The SDK for Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sdk {
    /// Its errors without an answer have codes of its own, which agents count like EC2's.
    First,
    /// Its errors without an answer have no code.
    Second,
}

impl Sdk {
    pub(super) const ALL: [Self; 2] = [Self::First, Self::Second];

    /// That of the agents whose image has this tag.
    pub(super) fn of_tag(tag: &str) -> Self {
        let is_first = AgentVersion::parse(tag).is_some_and(|version| version < SECOND_SINCE);
        if is_first { Self::First } else { Self::Second }
    }

    /// How a call goes wrong that EC2 does not answer.
    pub(super) fn silence(self) -> How {
        match self {
            Self::First => How::Code("RequestError".into()),
            Self::Second => How::Lost { executed: false },
        }
    }

    /// How a call goes wrong for which STS gives no credentials, by its answer.
    pub(super) fn no_credentials(self, code: &str) -> How {
        match self {
            Self::First => How::Code("WebIdentityErr".into()),
            Self::Second => How::Code(code.into()),
        }
    }
}

/// A fault of EC2 or instance metadata that holds, and whom it hits.
#[derive(Debug)]
pub(super) struct NodeFault {
    pub(super) number: usize,
    pub(super) members: Members,
    pub(super) sdk: Sdk,
    pub(super) how: How,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_up_to_1_19_3_count_codes_of_the_sdk() {
        let tags = ["v1.12.6", "v1.19.3-eksbuild.1", "v1.19.4", "v1.23.2", "latest"];
        let first = tags.map(|tag| Sdk::of_tag(tag) == Sdk::First);
        assert_eq!(first, [true, true, false, false, false]);
    }
}
