//! Attached ENIs that the agent has no part in.

use crate::id::EniId;

/// What is known of ENIs that are not managed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foreign {
    pub(crate) unmanaged: Vec<EniId>,
    /// The EFA-only ENI of each network card, as the start found them: one that is attached later is taken for an ordinary one.
    pub(crate) efa_only: Vec<(u8, EniId)>,
    /// How many the last pass counted on the default network card.
    pub(crate) on_first_card: usize,
}

impl Foreign {
    /// This ENI must be left alone.
    pub(crate) fn holds(&self, eni: EniId) -> bool {
        self.unmanaged.contains(&eni)
    }
}
