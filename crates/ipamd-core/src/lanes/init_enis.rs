//! The attached ENIs are tagged and set up, one after the other.

use crate::agent::attached::Attached;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::input::{EniKind, ImdsEni};
use crate::metrics::IpamdError;
use crate::output::Ec2Call;
use crate::settings::Mode;
use crate::steps::alloc::Allocating;
use crate::steps::set_up::{SetUp, SetUpError};
use crate::steps::subnets::is_excluded;
use crate::steps::tag::Tagging;

/// An ENI's set-up is tried this often ...
const TRIES: u8 = 6;
/// ... with this pause in between.
const PAUSE_MS: i64 = 10_000;

/// The step.
#[derive(Debug)]
pub(crate) enum InitEnis {
    /// An IPv6 node drops ENIs in excluded subnets: each is looked up.
    Exclude(Sorting),
    /// None was left, and one is made.
    Replace(Attached, Allocating),
    /// An ENI gets its tags.
    Tag(Queue, Box<ImdsEni>, Tagging),
    /// It is set up.
    SetUp(Queue, Box<ImdsEni>, SetUp),
    /// That failed, and is tried again after a pause.
    Pause(Queue, Box<ImdsEni>),
}

/// ENIs of an IPv6 node, as far as they are looked up.
#[derive(Debug)]
pub(crate) struct Sorting {
    eni: ImdsEni,
    left: std::vec::IntoIter<ImdsEni>,
    kept: Vec<ImdsEni>,
    attached: Attached,
}

/// ENIs that are left, and the tries of the one at hand.
#[derive(Debug)]
pub(crate) struct Queue {
    left: Vec<ImdsEni>,
    attached: Attached,
    tried: u8,
}

type End = Flow<InitEnis, Result<(), Box<str>>>;

impl InitEnis {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, enis: Vec<ImdsEni>, attached: Attached) -> End {
        if cx.facts.mode == Mode::Ipv6 && cx.config.settings.subnet_discovery {
            return look_up(cx, enis.into_iter(), Vec::new(), attached);
        }
        Queue { left: enis, attached, tried: 0 }.next(cx)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Exclude(sorting) => sorting.looked_up(cx, wake),
            Self::Replace(attached, step) => replaced(cx, attached, |cx| step.resume(cx, wake)),
            Self::Tag(queue, eni, step) => queue.tagged(cx, eni, |cx| step.resume(cx, wake)),
            Self::SetUp(queue, eni, step) => queue.set_up(cx, eni, |cx| step.resume(cx, wake)),
            Self::Pause(queue, eni) => queue.begin_set_up(cx, eni),
        }
    }
}

fn look_up<K: PodKey>(
    cx: &mut Cx<'_, K>,
    mut left: std::vec::IntoIter<ImdsEni>,
    kept: Vec<ImdsEni>,
    attached: Attached,
) -> End {
    if let Some(eni) = left.next() {
        cx.ec2(Ec2Call::DescribeSubnets, Count::Always);
        return Flow::Wait(InitEnis::Exclude(Sorting { eni, left, kept, attached }));
    }
    if kept.is_empty() {
        return replaced(cx, attached, Allocating::begin);
    }
    Queue { left: kept, attached, tried: 0 }.next(cx)
}

impl Sorting {
    fn looked_up<K: PodKey>(mut self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match wake.subnets() {
            Err(trouble) => Flow::Done(Err(format!("the subnets could not be looked up: {}", trouble.text()).into())),
            Ok(subnets) => {
                if !is_excluded(&subnets, self.eni.subnet) {
                    self.kept.push(self.eni);
                }
                look_up(cx, self.left, self.kept, self.attached)
            }
        }
    }
}

fn replaced<K: PodKey>(
    cx: &mut Cx<'_, K>,
    attached: Attached,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Allocating, Result<(), ()>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(InitEnis::Replace(attached, step)),
        Flow::Done(Ok(())) => Queue { left: Vec::new(), attached, tried: 0 }.next(cx),
        Flow::Done(Err(())) => Flow::Done(Err("every ENI is in an excluded subnet, and none could be made".into())),
    }
}

impl Queue {
    fn next<K: PodKey>(mut self, cx: &mut Cx<'_, K>) -> End {
        self.tried = 0;
        let Some(eni) = self.attached.take_next(&mut self.left, &mut *cx.chooser) else { return Flow::Done(Ok(())) };
        let trunk = self.attached.kind(eni.id) == EniKind::Trunk;
        let missing = cx.missing_tags(self.attached.tags(eni.id));
        let tags = if trunk || !cx.config.settings.provisioning { Vec::new() } else { missing };
        let id = eni.id;
        self.tagged(cx, Box::new(eni), |cx| Tagging::begin(cx, id, tags))
    }

    fn tagged<K: PodKey>(
        self,
        cx: &mut Cx<'_, K>,
        eni: Box<ImdsEni>,
        go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Tagging, Result<(), Trouble>>,
    ) -> End {
        match go_on(cx) {
            Flow::Wait(step) => Flow::Wait(InitEnis::Tag(self, eni, step)),
            Flow::Done(Ok(())) => self.begin_set_up(cx, eni),
            // Careful: an ENI is used without its tags, too.
            Flow::Done(Err(_)) if cx.is_careful() => self.begin_set_up(cx, eni),
            Flow::Done(Err(trouble)) => {
                Flow::Done(Err(format!("{} could not be tagged: {}", eni.id, trouble.text()).into()))
            }
        }
    }

    fn begin_set_up<K: PodKey>(mut self, cx: &mut Cx<'_, K>, eni: Box<ImdsEni>) -> End {
        self.tried = self.tried.saturating_add(1);
        let (kind, again) = (self.attached.kind(eni.id), (*eni).clone());
        self.set_up(cx, eni, |cx| SetUp::begin(cx, again, kind))
    }

    fn set_up<K: PodKey>(
        self,
        cx: &mut Cx<'_, K>,
        eni: Box<ImdsEni>,
        go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<SetUp, Result<(), SetUpError>>,
    ) -> End {
        match go_on(cx) {
            Flow::Wait(step) => return Flow::Wait(InitEnis::SetUp(self, eni, step)),
            // Without a link there is no point in trying again.
            Flow::Done(Ok(()) | Err(SetUpError::NoLink)) => {}
            Flow::Done(Err(SetUpError::Other)) if self.tried < TRIES => {
                cx.sleep(PAUSE_MS);
                return Flow::Wait(InitEnis::Pause(self, eni));
            }
            Flow::Done(Err(SetUpError::Other)) => cx.metrics.ipamd_error(IpamdError::SetUpRetries),
        }
        self.next(cx)
    }
}
