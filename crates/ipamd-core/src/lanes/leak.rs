//! The search for ENIs that some agent of the VPC made and left behind: about every hour.

use crate::agent::attached::Tag;
use crate::agent::clock::{parse_rfc3339, rfc3339};
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::ours::{CREATED_AT, DESCRIPTION};
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::Ec2Eni;
use crate::metrics::{Call, UtilsError};
use crate::output::Ec2Call;
use crate::steps::delete::Deleting;
use crate::steps::tag::Tagging;
use cni_types::ec2::Ec2Operation;

/// Pause between the end of a search and the next one's delay.
const PAUSE_MS: i64 = 3_600_000;
/// The delay is less than so many seconds.
const DELAY_S: i64 = 300;
/// An ENI that was made less than so long ago is left alone.
const YOUNG_S: i64 = 300;
/// A search takes no more ENIs than this; the next finds the others.
const MOST: usize = 10_000;

/// The lane.
#[derive(Debug, Default)]
pub(crate) enum Leak {
    /// It sleeps, or was not begun.
    #[default]
    Rest,
    /// A page is read; these were found leaked on those before.
    Page(Vec<EniId>),
    /// An ENI without a time gets one; the rest of its page follows.
    Tag(Box<(Search, Tagging)>),
    /// A leaked ENI is deleted; these are left.
    Delete(Box<(std::vec::IntoIter<EniId>, Deleting)>),
}

/// A page, as far as it is worked off.
#[derive(Debug)]
pub(crate) struct Search {
    left: std::vec::IntoIter<Ec2Eni>,
    next: Option<Box<str>>,
    leaked: Vec<EniId>,
}

/// The delay of a search, milliseconds: whole seconds.
pub(crate) fn delay_ms<K: PodKey>(cx: &mut Cx<'_, K>) -> i64 {
    cx.chooser.jitter(DELAY_S * 1_000) / 1_000 * 1_000
}

impl Leak {
    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> Self {
        match self {
            Self::Rest => page(cx, None, Vec::new()),
            Self::Page(leaked) => match wake.page() {
                Ok((found, next)) => Search { left: found.into_iter(), next, leaked }.go_on(cx),
                Err(_) => rest(cx),
            },
            Self::Tag(state) => {
                let (search, step) = *state;
                tagged(cx, search, |cx| step.resume(cx, wake))
            }
            Self::Delete(state) => {
                let (left, step) = *state;
                deleted(cx, left, |cx| step.resume(cx, wake))
            }
        }
    }
}

fn page<K: PodKey>(cx: &mut Cx<'_, K>, page: Option<Box<str>>, leaked: Vec<EniId>) -> Leak {
    cx.ec2(Ec2Call::DescribeLeaked { page }, Count::FailureOnly);
    Leak::Page(leaked)
}

fn rest<K: PodKey>(cx: &mut Cx<'_, K>) -> Leak {
    let pause_ms = PAUSE_MS + delay_ms(cx);
    cx.sleep(pause_ms);
    Leak::Rest
}

impl Search {
    fn go_on<K: PodKey>(mut self, cx: &mut Cx<'_, K>) -> Leak {
        while let Some(eni) = self.left.next() {
            // Careful: those of other instances are theirs to delete.
            let own = cx.is_careful().then(|| cx.is_own_work(&eni.description, [CREATED_AT].into_iter()));
            if !own.unwrap_or_else(|| eni.description.starts_with(DESCRIPTION)) {
                continue;
            }
            let created = eni.tags.iter().find(|(key, _)| **key == *CREATED_AT).map(|(_, value)| parse_rfc3339(value));
            match created {
                Some(Some(unix_s)) if cx.now.unix_s().saturating_sub(unix_s) < YOUNG_S => continue,
                // A time that cannot be read is replaced, and the ENI taken for an old one at once.
                Some(read) => {
                    self.add(eni.id);
                    if read.is_some() {
                        continue;
                    }
                }
                // Without a time the ENI may be one that is being attached just now: the next search sees.
                None => {}
            }
            let tags: Vec<Tag> = vec![(CREATED_AT.into(), rfc3339(cx.now.unix_s()).into())];
            return tagged(cx, self, |cx| Tagging::begin(cx, eni.id, tags));
        }
        if let Some(next) = self.next.take() {
            return page(cx, Some(next), self.leaked);
        }
        cx.metrics.scan(Call { op: Ec2Operation::DescribeNetworkInterfaces, code: None, ms: 0 });
        next_leaked(cx, self.leaked.into_iter())
    }

    fn add(&mut self, eni: EniId) {
        if self.leaked.len() < MOST {
            self.leaked.push(eni);
        }
    }
}

fn tagged<K: PodKey>(
    cx: &mut Cx<'_, K>,
    search: Search,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Tagging, Result<(), Trouble>>,
) -> Leak {
    match go_on(cx) {
        Flow::Wait(step) => Leak::Tag(Box::new((search, step))),
        Flow::Done(_) => search.go_on(cx),
    }
}

fn next_leaked<K: PodKey>(cx: &mut Cx<'_, K>, mut left: std::vec::IntoIter<EniId>) -> Leak {
    if let Some(eni) = left.next() {
        return deleted(cx, left, |cx| Deleting::begin(cx, eni));
    }
    cx.searched();
    rest(cx)
}

fn deleted<K: PodKey>(
    cx: &mut Cx<'_, K>,
    left: std::vec::IntoIter<EniId>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Deleting, Result<(), Trouble>>,
) -> Leak {
    match go_on(cx) {
        Flow::Wait(step) => Leak::Delete(Box::new((left, step))),
        Flow::Done(result) => {
            if let Err(trouble) = result {
                cx.count_utils(UtilsError::CleanUpLeaked, &trouble);
            }
            next_leaked(cx, left)
        }
    }
}
