//! Careful: what an earlier life had begun in EC2 is looked at, and ended: what it was giving up is given up, and ENIs that
//! it made and that are attached to nothing are deleted. The pool grows anew where that is needed.

use super::delete::Deleting;
use super::free::{FreeError, Freeing};
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::Intent;
use crate::output::Ec2Call;

/// Pages of ENIs that are looked at.
const MOST_PAGES: u8 = 50;

/// The step.
#[derive(Debug)]
pub(crate) enum Replaying {
    /// An ENI is given up; these are left.
    Free(std::vec::IntoIter<EniId>, EniId, Freeing),
    /// A page of ENIs that are attached to nothing is read; this number was.
    Page(u8),
    /// One of them is deleted; these are left, and the next page.
    Delete(std::vec::IntoIter<EniId>, Option<(u8, Box<str>)>, EniId, Deleting),
}

type End = Flow<Replaying, ()>;

impl Replaying {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        let intents = cx.own.as_ref().map(|own| own.file.intents.clone()).unwrap_or_default();
        if intents.is_empty() {
            return Flow::Done(());
        }
        let frees = intents.iter().filter_map(|intent| match intent {
            Intent::Free { eni } => Some(*eni),
            _ => None,
        });
        let frees: Vec<EniId> = frees.collect();
        // One that serves pods by now is kept.
        for eni in frees.iter().filter(|eni| cx.is_in_use(**eni)).copied().collect::<Vec<_>>() {
            cx.eni_is_settled(eni);
        }
        let left: Vec<EniId> = frees.into_iter().filter(|eni| !cx.is_in_use(*eni)).collect();
        next_free(cx, left.into_iter())
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Free(left, eni, step) => freed(cx, left, eni, |cx| step.resume(cx, wake)),
            Self::Page(read) => match wake.page() {
                Ok((found, next)) => {
                    let ours = found.iter().filter(|eni| {
                        cx.is_own_work(&eni.description, eni.tags.iter().map(|(key, _)| &**key))
                            && cx.pool.eni(eni.id).is_none()
                    });
                    let ours: Vec<EniId> = ours.map(|eni| eni.id).collect();
                    let next = next.filter(|_| read < MOST_PAGES).map(|next| (read, next));
                    next_delete(cx, ours.into_iter(), next)
                }
                // What is left stays written down.
                Err(_) => Flow::Done(()),
            },
            Self::Delete(left, next, eni, step) => deleted(cx, left, next, eni, |cx| step.resume(cx, wake)),
        }
    }
}

fn next_free<K: PodKey>(cx: &mut Cx<'_, K>, mut left: std::vec::IntoIter<EniId>) -> End {
    while let Some(eni) = left.next() {
        if cx.pool.eni(eni).is_some() && cx.is_proven(eni) && !cx.is_primary(eni) && !cx.is_in_use(eni) {
            cx.ledger().retire_eni(eni);
            return freed(cx, left, eni, |cx| Freeing::begin(cx, eni));
        }
    }
    page(cx, 1, None)
}

fn freed<K: PodKey>(
    cx: &mut Cx<'_, K>,
    left: std::vec::IntoIter<EniId>,
    eni: EniId,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Freeing, Result<(), FreeError>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Replaying::Free(left, eni, step)),
        Flow::Done(_) => next_free(cx, left),
    }
}

fn page<K: PodKey>(cx: &mut Cx<'_, K>, number: u8, page: Option<Box<str>>) -> End {
    cx.ec2(Ec2Call::DescribeLeaked { page }, Count::FailureOnly);
    Flow::Wait(Replaying::Page(number))
}

fn next_delete<K: PodKey>(
    cx: &mut Cx<'_, K>,
    mut left: std::vec::IntoIter<EniId>,
    next: Option<(u8, Box<str>)>,
) -> End {
    match (left.next(), next) {
        (Some(eni), next) => deleted(cx, left, next, eni, |cx| Deleting::begin(cx, eni)),
        (None, Some((read, next))) => page(cx, read.saturating_add(1), Some(next)),
        (None, None) => {
            // What is attached to nothing is gone, and what is attached was met by the start.
            cx.intent_ended(|_| true);
            Flow::Done(())
        }
    }
}

fn deleted<K: PodKey>(
    cx: &mut Cx<'_, K>,
    left: std::vec::IntoIter<EniId>,
    next: Option<(u8, Box<str>)>,
    eni: EniId,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Deleting, Result<(), Trouble>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Replaying::Delete(left, next, eni, step)),
        Flow::Done(_) => next_delete(cx, left, next),
    }
}
