//! Findings that are switched off: `FINDINGS_MUTE=id[:scope],…`.

use std::fmt;
use std::sync::Arc;

use crate::catalogue::FindingId;
use crate::finding::Identity;

/// What is switched off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mutes(Arc<[Mute]>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mute {
    id: FindingId,
    /// The scope's name; all where there is none.
    scope: Option<Box<str>>,
}

/// A part of the list that is no finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFinding(pub String);

impl fmt::Display for UnknownFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no finding (explain lists all)", self.0)
    }
}

impl std::error::Error for UnknownFinding {}

impl Mutes {
    /// Reads a comma-separated list.
    pub fn parse(text: &str) -> Result<Self, UnknownFinding> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let mutes = parts.map(|part| {
            let (name, scope) = part.split_once(':').map_or((part, None), |(name, scope)| (name, Some(scope)));
            let id = FindingId::by_name(name.trim()).ok_or_else(|| UnknownFinding(name.trim().to_owned()))?;
            Ok(Mute { id, scope: scope.map(|scope| scope.trim().into()) })
        });
        mutes.collect::<Result<Vec<_>, _>>().map(|mutes| Self(mutes.into()))
    }

    /// True for a finding that is switched off.
    pub fn covers(&self, identity: &Identity) -> bool {
        let scope = &identity.scope.name;
        self.0.iter().any(|mute| mute.id == identity.id && mute.scope.as_ref().is_none_or(|muted| muted == scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Scope, ScopeKind};

    fn identity(id: FindingId, name: &str) -> Identity {
        Identity { id, scope: Scope { kind: ScopeKind::Group, name: name.into() } }
    }

    #[test]
    fn a_list_names_findings_with_or_without_a_scope() {
        let mutes = Mutes::parse(" node-full , warm-pool-too-small:batch,,").unwrap();
        assert!(mutes.covers(&identity(FindingId::NodeFull, "any")));
        assert!(mutes.covers(&identity(FindingId::WarmPoolTooSmall, "batch")));
        assert!(!mutes.covers(&identity(FindingId::WarmPoolTooSmall, "other")));
        assert!(!mutes.covers(&identity(FindingId::PoolGrowing, "batch")));
        assert_eq!(Mutes::parse(""), Ok(Mutes::default()));
        assert_eq!(Mutes::parse("node-ful"), Err(UnknownFinding("node-ful".to_owned())));
    }
}
