//! Calls of EC2 of both sides in one form.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipamd_core::block::Block;
use ipamd_core::id::{EniId, GroupId, SubnetId};
use ipamd_core::output::{Ec2Call, Want};
use serde_json::Value;

use super::rfc3339;
use crate::comparison::theirs::list;
use crate::world::follow::{Shown, What, named};
use crate::world::{INSTANCE, Logged};

/// The instance in the original's world.
const THEIR_INSTANCE: &str = "i-1";
/// Its value is the time of the wall, which is compared from the begin of the history on.
const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";

/// A call that has ended, as far as it is compared: all but texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) start_ms: i64,
    pub(super) op: String,
    pub(super) parameters: Parameters,
    pub(super) end_ms: i64,
    /// Empty where no answer came.
    pub(super) code: Option<String>,
}

/// What a call names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Parameters {
    enis: Vec<EniId>,
    /// Addresses, prefixes, IPv6 prefixes.
    counts: [u64; 3],
    ipv4: Vec<Ipv4Addr>,
    ipv4_prefixes: Vec<Ipv4Addr>,
    ipv6_prefixes: Vec<Ipv6Addr>,
    /// Device and card.
    device: Option<(u64, u64)>,
    subnet: Option<SubnetId>,
    groups: Vec<GroupId>,
    tags: Vec<(String, String)>,
    description: String,
    attachment: bool,
    leaked: bool,
}

impl std::fmt::Debug for Parameters {
    /// Only what is there.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { enis, counts, ipv4, ipv4_prefixes, ipv6_prefixes, device, subnet, groups, tags, .. } = self;
        let parts = [
            (enis.is_empty(), format!("{enis:?}")),
            (*counts == [0; 3], format!("counts {counts:?}")),
            (ipv4.is_empty(), format!("{ipv4:?}")),
            (ipv4_prefixes.is_empty(), format!("prefixes {ipv4_prefixes:?}")),
            (ipv6_prefixes.is_empty(), format!("prefixes {ipv6_prefixes:?}")),
            (device.is_none(), format!("device, card {device:?}")),
            (subnet.is_none(), format!("{subnet:?}")),
            (groups.is_empty(), format!("{groups:?}")),
            (tags.is_empty(), format!("{tags:?}")),
            (self.description.is_empty(), self.description.clone()),
            (!self.attachment, "attachment".to_owned()),
            (!self.leaked, "leaked".to_owned()),
        ];
        let there: Vec<_> = parts.into_iter().filter(|(absent, _)| !absent).map(|(_, part)| part).collect();
        f.write_str(&there.join(" "))
    }
}

impl Call {
    pub(super) fn ours(logged: &Logged, base_ms: i64, begin_s: i64) -> Option<Self> {
        Some(Self {
            start_ms: logged.at_ms - base_ms,
            op: logged.call.operation().name().to_owned(),
            parameters: ours(&logged.call, &|text| time(text, (logged.at_ms - base_ms).div_euclid(1_000), begin_s)),
            end_ms: logged.ended_ms? - base_ms,
            code: logged.code.as_deref().map(str::to_owned),
        })
    }

    pub(super) fn theirs(call: &Value, begin_s: i64) -> Self {
        Self {
            start_ms: ms(&call["start_us"]),
            op: text(&call["op"]),
            parameters: theirs(call, &|text| time(text, ms(&call["start_us"]).div_euclid(1_000), begin_s)),
            end_ms: ms(&call["end_us"]),
            code: call["error"].as_object().map(|error| error.get("code").map(text).unwrap_or_default()),
        }
    }
}

fn ms(us: &Value) -> i64 {
    us.as_i64().unwrap_or_default().div_euclid(1_000)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

fn ids<T>(value: &Value, parse: impl Fn(&str) -> Result<T, ipamd_core::id::BadId>) -> Vec<T> {
    list(value).iter().map(|id| parse(id.as_str().unwrap()).unwrap()).collect()
}

fn base<T: std::str::FromStr<Err = std::net::AddrParseError>>(cidr: &Value) -> T {
    cidr.as_str().unwrap().split('/').next().unwrap().parse().unwrap()
}

/// The second of a history that a tag says, at most five minutes before the call.
fn time(text: &str, at_s: i64, begin_s: i64) -> String {
    let second = (at_s - 300..=at_s + 1).rev().find(|second| rfc3339(begin_s + second) == text);
    second.map_or_else(|| format!("not a time of this history: {text}"), |second| format!("second {second}"))
}

fn theirs(call: &Value, at: &dyn Fn(&str) -> String) -> Parameters {
    let given = &call["arguments"];
    let number = |name: &str| given[name].as_u64().unwrap_or(0);
    let one = given["eni"].as_str().map(|id| EniId::parse(id).unwrap());
    let tags = given["tags"].as_object().into_iter().flatten();
    let tags = tags.map(|(key, value)| tag(key, value.as_str().unwrap(), THEIR_INSTANCE, at)).collect();
    let six = text(&call["op"]).contains("Ipv6");
    let counts = match (six, given["prefixes"].is_u64()) {
        (true, true) => [0, 0, number("prefixes")],
        (_, true) => [number("count"), number("prefixes"), number("count6")],
        _ => [0; 3],
    };
    let (prefixes, none) = (&given["prefixes"], Value::Null);
    let (four, six) = if six { (&none, prefixes) } else { (prefixes, &none) };
    Parameters {
        enis: sorted(
            one.into_iter()
                .chain(ids(&given["enis"], EniId::parse))
                .chain(ids(&given["resources"], EniId::parse))
                .collect(),
        ),
        counts,
        ipv4: sorted(list(&given["v4"]).iter().map(base).collect()),
        ipv4_prefixes: sorted(list(four).iter().map(base).collect()),
        ipv6_prefixes: sorted(list(six).iter().map(base).collect()),
        device: given["device"].is_u64().then(|| (number("device"), number("card"))),
        subnet: given["subnet"].as_str().map(|id| SubnetId::parse(id).unwrap()),
        groups: sorted(ids(&given["groups"], GroupId::parse)),
        tags: sorted(tags),
        description: text(&given["description"]).replace(THEIR_INSTANCE, "INSTANCE"),
        attachment: given["attachment"].is_string(),
        leaked: text(&call["op"]) == "DescribeNetworkInterfaces" && given["filters"].is_object(),
    }
}

fn tag(key: &str, value: &str, instance: &str, at: &dyn Fn(&str) -> String) -> (String, String) {
    let value = match value {
        value if key == CREATED_AT => at(value),
        value if value == instance => "INSTANCE".to_owned(),
        value => value.to_owned(),
    };
    (key.to_owned(), value)
}

fn counts(want: Want) -> [u64; 3] {
    match want {
        Want::Ipv4(count) => [count.into(), 0, 0],
        Want::Ipv4Prefixes(count) => [0, count.into(), 0],
        Want::Ipv6Prefixes(count) => [0, 0, count.into()],
    }
}

fn ours(call: &Ec2Call, at: &dyn Fn(&str) -> String) -> Parameters {
    let none = Parameters::default();
    let instance = INSTANCE.to_string();
    let tagged = |tags: &[(Box<str>, Box<str>)]| sorted(tags.iter().map(|(k, v)| tag(k, v, &instance, at)).collect());
    let of = |eni: &EniId| Parameters { enis: vec![*eni], ..Parameters::default() };
    match call {
        Ec2Call::DescribeSubnets | Ec2Call::DescribeInstance | Ec2Call::DescribeInstanceType => none,
        Ec2Call::DescribeEnis { ids } => Parameters { enis: sorted(ids.clone()), ..none },
        Ec2Call::DescribeLeaked { .. } => Parameters { leaked: true, ..none },
        Ec2Call::CreateEni { subnet, groups, want, tags, description, .. } => Parameters {
            subnet: Some(*subnet),
            groups: sorted(groups.clone()),
            counts: counts(*want),
            tags: tagged(tags),
            description: description.replace(&instance, "INSTANCE"),
            ..none
        },
        Ec2Call::Attach { eni, device, card } => {
            Parameters { device: Some(((*device).into(), (*card).into())), ..of(eni) }
        }
        Ec2Call::SetDeleteOnTermination { eni, .. } => Parameters { attachment: true, ..of(eni) },
        Ec2Call::SetGroups { eni, groups } => Parameters { groups: sorted(groups.clone()), ..of(eni) },
        // The original names the attachment alone.
        Ec2Call::Detach { attachment, .. } => Parameters { attachment: attachment.is_some(), ..none },
        Ec2Call::Delete { eni } => of(eni),
        Ec2Call::Tag { eni, tags } => Parameters { tags: tagged(tags), ..of(eni) },
        Ec2Call::Assign { eni, want } => Parameters { counts: counts(*want), ..of(eni) },
        Ec2Call::Unassign { eni, ipv4, ipv4_prefixes } => {
            Parameters { ipv4: sorted(ipv4.clone()), ipv4_prefixes: sorted(ipv4_prefixes.clone()), ..of(eni) }
        }
        Ec2Call::UnassignIpv6 { eni, prefixes } => Parameters { ipv6_prefixes: sorted(prefixes.clone()), ..of(eni) },
    }
}

/// What a call of the original, ended or not, shows of its choices. Times are those of the world here.
pub(super) fn shown(call: &Value, base_ms: i64) -> Option<Shown> {
    let given = &call["arguments"];
    let blocks = |name: &str| list(&given[name]).iter().map(|cidr| named(cidr.as_str().unwrap())).collect::<Vec<_>>();
    let what = match call["op"].as_str()? {
        "AssignPrivateIpAddresses" => What::Assign,
        "UnassignPrivateIpAddresses" => What::Unassign([blocks("v4"), blocks("prefixes")].concat()),
        "DescribeNetworkInterfaces" if list(&given["enis"]).len() == 1 => What::Describe,
        "CreateTags" => What::Tag,
        _ => return None,
    };
    let eni = given["eni"].as_str().or(given["enis"][0].as_str()).or(given["resources"][0].as_str())?;
    Some(Shown {
        start_ms: ms(&call["start_us"]) + base_ms,
        end_ms: call["end_us"].is_i64().then(|| ms(&call["end_us"]) + base_ms),
        eni: EniId::parse(eni).unwrap(),
        what,
    })
}

/// A CIDR of the original's store.
pub(super) fn block(cidr: &Value) -> Block {
    crate::comparison::theirs::block(cidr["cidr"].as_str().unwrap())
}
