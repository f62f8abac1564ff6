//! The nodes' shares of a round, added up by label set.

use crate::aggregate::total::Total;
use crate::labels::{LabelNames, LabelShare, Rest};
use crate::model::{Breakdown, NodeFigures};

/// How many label sets the cluster's breakdown lists. What is beyond counts under [`Rest::Other`].
pub const MAX_CLUSTER_SETS: usize = 256;

/// The nodes' shares, added up.
#[derive(Debug)]
pub(in crate::aggregate) struct LabelSums<'a> {
    names: &'a LabelNames,
    /// By the label sets' numbers.
    sums: Vec<Total>,
    overflowed: u64,
}

impl<'a> LabelSums<'a> {
    pub(in crate::aggregate) fn new(names: &'a LabelNames) -> Self {
        Self { names, sums: vec![Total::default(); names.len()], overflowed: 0 }
    }

    pub(in crate::aggregate) fn add(&mut self, node: &NodeFigures) {
        self.overflowed += u64::from(node.labels_overflowed);
        for share in &node.shares {
            self.add_share(share.set.slot(), share.value);
        }
    }

    fn add_share(&mut self, slot: usize, value: f64) {
        if let Some(sum) = self.sums.get_mut(slot) {
            *sum += value;
        }
    }

    /// Errors before work, then the largest first. Those beyond [`MAX_CLUSTER_SETS`] are added to their family's rest.
    pub(in crate::aggregate) fn breakdown(mut self) -> Breakdown {
        let mut shares = self.shares();
        sort_worst_first(&mut shares);
        let is_set = |share: &LabelShare| share.set.rest().is_none();
        if shares.iter().filter(|share| is_set(share)).count() > MAX_CLUSTER_SETS {
            for share in shares.into_iter().filter(is_set).skip(MAX_CLUSTER_SETS) {
                let other = LabelNames::rest(share.set.family(), Rest::Other);
                let moved = self.sums.get_mut(share.set.slot()).map(std::mem::take).unwrap_or_default();
                if let Some(sum) = self.sums.get_mut(other as usize) {
                    sum.whole = sum.whole.saturating_add(moved.whole);
                }
            }
            shares = self.shares();
            sort_worst_first(&mut shares);
        }
        Breakdown { shares, overflowed: self.overflowed }
    }

    fn shares(&self) -> Vec<LabelShare> {
        let all = (0..).zip(&self.sums).filter(|(_, sum)| sum.get() > 0.0);
        all.filter_map(|(number, sum)| Some(LabelShare { set: self.names.get(number)?.clone(), value: sum.get() }))
            .collect()
    }
}

fn sort_worst_first(shares: &mut [LabelShare]) {
    shares.sort_by(|a, b| {
        let (errors_a, errors_b) = (a.set.family().counts_errors(), b.set.family().counts_errors());
        errors_b.cmp(&errors_a).then(b.value.total_cmp(&a.value)).then_with(|| a.set.cmp(&b.set))
    });
}
