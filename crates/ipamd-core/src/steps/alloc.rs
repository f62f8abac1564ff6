//! One more ENI: created, attached, kept with the instance, seen in the metadata service, set up.

use super::await_eni::AwaitEni;
use super::delete::Deleting;
use super::free::{FreeError, Freeing};
use super::plan::{Plan, PlanError, Site};
use super::set_up::{SetUp, SetUpError};
use crate::agent::clock::rfc3339;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::ours::{CREATED_AT, DESCRIPTION};
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::{EniId, GroupId, SubnetId};
use crate::input::{EniKind, ImdsEni, Intent};
use crate::metrics::{IpamdError, UtilsError};
use crate::output::{Ec2Call, Want};
use crate::settings::Mode;

/// Device numbers that are tried.
const DEVICES: u8 = 100;

/// The step.
#[derive(Debug)]
pub(crate) enum Allocating {
    /// It is found out where. How much, and the time that a tag says, are known before that, and with custom networking after
    /// it.
    Plan(Plan, Option<(u32, i64)>),
    /// Careful: that it is about to be created is written down.
    Intend(Creating, Box<Ec2Call>),
    /// It is created, in the first of these subnets where that works.
    Create(Creating),
    /// A free device number is looked up.
    Device(EniId, u32),
    /// It is attached.
    Attach(EniId, u32),
    /// It could not be attached and is deleted.
    UndoAttach(Trouble, Deleting),
    /// It is made to go with the instance.
    Flag(EniId, u32),
    /// It could not be, and is given up.
    UndoFlag(Freeing, u32),
    /// It is waited for.
    Await(AwaitEni),
    /// It is set up.
    SetUp(SetUp),
}

/// A creation, as far as it is.
#[derive(Debug)]
pub(crate) struct Creating {
    left: std::vec::IntoIter<SubnetId>,
    /// The one that is tried.
    asked: Option<SubnetId>,
    /// The token of the call.
    token: u64,
    /// Careful: the call, to be sent once more if it is not answered.
    again: Option<Box<Ec2Call>>,
    groups: Option<Vec<GroupId>>,
    count: u32,
    /// When it began, seconds since 1970.
    began_s: i64,
}

/// The pool has an ENI more, or not; the reason is counted.
type End = Flow<Allocating, Result<(), ()>>;

impl Allocating {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        if cx.config.settings.custom_networking {
            return Flow::Wait(Self::Plan(Plan::config(cx), None));
        }
        let count = wanted(cx);
        // Nothing needed is success.
        if count == 0 {
            return Flow::Done(Ok(()));
        }
        let began_s = cx.now.unix_s();
        Flow::Wait(Self::Plan(Plan::subnets(cx), Some((count, began_s))))
    }

    /// Careful: with this number of addresses or prefixes.
    pub(crate) fn begin_with<K: PodKey>(cx: &mut Cx<'_, K>, count: u32) -> End {
        let known = (count, cx.now.unix_s());
        if let Some(site) = Plan::known(cx) {
            return Creating::begin(cx, site, Some(known));
        }
        let plan = if cx.config.settings.custom_networking { Plan::config(cx) } else { Plan::subnets(cx) };
        Flow::Wait(Self::Plan(plan, Some(known)))
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Plan(plan, known) => match plan.resume(cx, wake) {
                Flow::Wait(plan) => Flow::Wait(Self::Plan(plan, known)),
                Flow::Done(Ok(site)) => Creating::begin(cx, site, known),
                Flow::Done(Err(PlanError::NoConfig)) => Flow::Done(Err(())),
                Flow::Done(Err(PlanError::NoSubnet(trouble))) => failed(cx, &trouble),
            },
            Self::Intend(creating, call) => intended(cx, creating, call, wake),
            Self::Create(creating) => created(cx, creating, wake),
            Self::Device(eni, count) => {
                match wake
                    .devices()
                    .map_err(device_unknown)
                    .and_then(|used| free_device(cx.with_reserved(used).as_slice()))
                {
                    Ok(device) => {
                        let lane = cx.lane;
                        cx.note_growth(lane, |growth| growth.device = Some(device));
                        cx.ec2(Ec2Call::Attach { eni, device, card: 0 }, Count::Always);
                        Flow::Wait(Self::Attach(eni, count))
                    }
                    Err(trouble) => undo_attach(cx, eni, trouble),
                }
            }
            Self::Attach(eni, count) => match wake.attached() {
                Ok(attachment) => {
                    cx.ec2(Ec2Call::SetDeleteOnTermination { eni, attachment }, Count::Always);
                    Flow::Wait(Self::Flag(eni, count))
                }
                Err(trouble) => {
                    undo_attach(cx, eni, trouble.within("attachENI: failed to attach ENI for network card 0"))
                }
            },
            Self::UndoAttach(cause, step) => undone(cx, cause, |cx| step.resume(cx, wake)),
            Self::Flag(eni, count) => match wake.done() {
                Ok(()) => await_eni(cx, |cx| AwaitEni::begin(cx, Some(eni), count as usize)),
                Err(_) => freed(cx, count, |cx| Freeing::begin(cx, eni)),
            },
            Self::UndoFlag(step, count) => freed(cx, count, |cx| step.resume(cx, wake)),
            Self::Await(step) => await_eni(cx, |cx| step.resume(cx, wake)),
            Self::SetUp(step) => set_up(cx, |cx| step.resume(cx, wake)),
        }
    }
}

/// Addresses or prefixes that a new ENI is made with.
fn wanted<K: PodKey>(cx: &Cx<'_, K>) -> u32 {
    let (targets, stats) = (cx.targets(), cx.pool.stats(cx.facts.mode, cx.ms()));
    match cx.facts.mode {
        Mode::Secondary => targets.addresses_wanted(&stats, 0),
        Mode::Prefix => targets.prefixes_wanted(&stats).min(targets.slots),
        Mode::Ipv6 => 1,
    }
}

impl Creating {
    fn begin<K: PodKey>(cx: &mut Cx<'_, K>, site: Site, known: Option<(u32, i64)>) -> End {
        let (count, began_s) = known.unwrap_or_else(|| (wanted(cx), cx.now.unix_s()));
        if count == 0 {
            return Flow::Done(Ok(()));
        }
        let (left, groups) = (site.subnets.into_iter(), site.groups);
        Self { left, asked: None, token: 0, again: None, groups, count, began_s }.next(cx, None)
    }

    /// Tries the next subnet; the error of the last stands.
    fn next<K: PodKey>(mut self, cx: &mut Cx<'_, K>, last: Option<Trouble>) -> End {
        // Careful: a subnet that lacks addresses is left alone for a while.
        if let (Some(trouble), Some(subnet)) = (&last, self.asked)
            && trouble.is_insufficient()
        {
            cx.subnet_is_short(subnet);
        }
        self.asked = self.left.find(|subnet| !cx.subnet_rests(*subnet));
        let Some(subnet) = self.asked else {
            return failed(cx, &last.unwrap_or_else(|| Trouble::plain("no subnet to create an ENI in")));
        };
        let lane = cx.lane;
        cx.note_growth(lane, |growth| growth.subnet = Some(subnet));
        let want = match cx.facts.mode {
            Mode::Secondary => Want::Ipv4(self.count),
            Mode::Prefix => Want::Ipv4Prefixes(self.count),
            Mode::Ipv6 => Want::Ipv6Prefixes(self.count),
        };
        let instance = cx.facts.identity.as_ref().map(|identity| identity.instance.to_string()).unwrap_or_default();
        let mut tags = cx.own_tags();
        tags.push((CREATED_AT.into(), rfc3339(self.began_s).into()));
        tags.sort_unstable();
        cx.tokens = cx.tokens.saturating_add(1);
        let token = u64::from(cx.epoch().0) << 32 | cx.tokens;
        let groups = self.groups.clone().unwrap_or_else(|| cx.facts.groups.clone());
        let description = format!("{DESCRIPTION}{instance}").into();
        self.token = token;
        let call = Ec2Call::CreateEni { token, subnet, groups, want, tags, description };
        if cx.is_careful() {
            cx.intend(Intent::Create { token, subnet });
            let lane = cx.lane;
            cx.ask_to_write(lane);
            return Flow::Wait(Allocating::Intend(self, Box::new(call)));
        }
        cx.ec2(call, Count::Always);
        Flow::Wait(Allocating::Create(self))
    }
}

fn created<K: PodKey>(cx: &mut Cx<'_, K>, mut creating: Creating, wake: Wake) -> End {
    match wake.created() {
        Ok(eni) => {
            cx.is_created(creating.token, eni.id);
            let lane = cx.lane;
            cx.note_growth(lane, |growth| growth.eni = Some(eni.id));
            cx.made(eni.id);
            cx.ec2(Ec2Call::DescribeInstance, Count::Always);
            Flow::Wait(Allocating::Device(eni.id, creating.count))
        }
        // Careful: whether it was created is unknown, and the same token makes no second one.
        Err(trouble) if trouble.is_unknown() && creating.again.is_some() => {
            if let Some(call) = creating.again.take() {
                cx.ec2(*call, Count::Always);
            }
            Flow::Wait(Allocating::Create(creating))
        }
        Err(trouble) => {
            if !trouble.is_unknown() {
                cx.was_not_created(creating.token);
            }
            creating.next(cx, Some(trouble))
        }
    }
}

/// Careful: nothing begins that is not written down.
fn intended<K: PodKey>(cx: &mut Cx<'_, K>, mut creating: Creating, call: Box<Ec2Call>, wake: Wake) -> End {
    if let Err(error) = wake.store() {
        cx.was_not_created(creating.token);
        return failed(cx, &Trouble::plain(format!("the creation of an ENI could not be written down: {error}")));
    }
    creating.again = Some(call.clone());
    cx.ec2(*call, Count::Always);
    Flow::Wait(Allocating::Create(creating))
}

impl<K: PodKey> Cx<'_, K> {
    fn is_created(&mut self, token: u64, eni: EniId) {
        if self.is_careful() {
            self.was_not_created(token);
            self.intend(Intent::Attach { eni });
        }
    }

    fn was_not_created(&mut self, token: u64) {
        self.intent_ended(|intent| matches!(intent, Intent::Create { token: of, .. } if *of == token));
    }
}

/// No ENI could be made: what that means for the next tries.
fn failed<K: PodKey>(cx: &mut Cx<'_, K>, trouble: &Trouble) -> End {
    cx.metrics.ipamd_error(IpamdError::AllocEni);
    if trouble.is_insufficient() {
        cx.metrics.ipamd_error(IpamdError::AllocAddresses);
        cx.times.insufficient = Some(cx.ms());
    }
    Flow::Done(Err(()))
}

fn device_unknown(trouble: Trouble) -> Trouble {
    let text = "find a free device number for ENI: not able to retrieve instance data from EC2 control plane";
    trouble.within(text).within("attachENI: failed to get a free device number")
}

/// The lowest device number of the default network card that is not in use.
fn free_device(used: &[(u8, u8)]) -> Result<u8, Trouble> {
    let free = (0..DEVICES).find(|device| !used.contains(&(0, *device)));
    free.ok_or_else(|| Trouble::plain("attachENI: failed to get a free device number: none is free on network card 0"))
}

fn undo_attach<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, cause: Trouble) -> End {
    undone(cx, cause, |cx| Deleting::begin(cx, eni))
}

fn undone<K: PodKey>(
    cx: &mut Cx<'_, K>,
    cause: Trouble,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Deleting, Result<(), Trouble>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Allocating::UndoAttach(cause, step)),
        Flow::Done(deleted) => {
            // The text is that of the attach, whatever the delete failed with.
            if deleted.is_err() {
                cx.count_utils(UtilsError::AllocEniDelete, &cause);
            }
            failed(cx, &cause)
        }
    }
}

fn freed<K: PodKey>(
    cx: &mut Cx<'_, K>,
    count: u32,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Freeing, Result<(), FreeError>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Allocating::UndoFlag(step, count)),
        // The clean-up worked, and the original forgets that there was something to clean up.
        Flow::Done(Ok(())) => await_eni(cx, |cx| AwaitEni::begin(cx, None, count as usize)),
        Flow::Done(Err(error)) => {
            let trouble = error.into_trouble();
            cx.count_utils(UtilsError::CleanUpAfterModify, &trouble);
            failed(cx, &trouble)
        }
    }
}

fn await_eni<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<AwaitEni, Option<Box<ImdsEni>>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Allocating::Await(step)),
        Flow::Done(Some(eni)) => set_up(cx, |cx| SetUp::begin(cx, *eni, EniKind::Interface)),
        Flow::Done(None) => {
            cx.metrics.ipamd_error(IpamdError::WaitAttached);
            Flow::Done(Err(()))
        }
    }
}

fn set_up<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<SetUp, Result<(), SetUpError>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Allocating::SetUp(step)),
        Flow::Done(Ok(())) => Flow::Done(Ok(())),
        Flow::Done(Err(_)) => {
            cx.metrics.ipamd_error(IpamdError::SetUpEni);
            Flow::Done(Err(()))
        }
    }
}
