//! Calls of the API server and of the host of both sides in one form: what is asked, when it began, and all that it names.

use std::net::IpAddr;

use ipamd_core::output::{HostCall, KubeCall};
use serde_json::Value;

use crate::comparison::theirs::list;
use crate::world::World;

/// When it began, milliseconds since the history began, and what is asked.
pub(super) type Asked = (i64, String);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn cidrs<'a>(cidrs: impl Iterator<Item = &'a str>) -> String {
    let mut cidrs: Vec<_> = cidrs.collect();
    cidrs.sort_unstable();
    cidrs.join(" ")
}

/// Calls of an answer of the original that have ended.
pub(super) fn theirs(answer: &Value) -> Vec<Asked> {
    let host = list(&answer["host"]).iter().filter_map(|call| Some((start_ms(call), their_host(call)?)));
    let kube = list(&answer["kube"]).iter().filter_map(|call| Some((start_ms(call), their_kube(call)?)));
    host.chain(kube).collect()
}

fn start_ms(call: &Value) -> i64 {
    call["start_us"].as_i64().unwrap().div_euclid(1_000)
}

fn their_host(call: &Value) -> Option<String> {
    let given = &call["arguments"];
    let named = cidrs(list(&given["cidrs"]).iter().map(text));
    Some(match text(&call["call"]) {
        "SetupHostNetwork" => format!("host {} of {named}", text(&given["primary"])),
        "UpdateHostSNATRules" => format!("translation of {named}"),
        "SetupENINetwork" => {
            let (card, table) = (&given["card"], &given["table"]);
            // An IPv6 node's trunk has an IPv6 address, which the core does not name.
            let address = Some(text(&given["ip"])).filter(|address| !address.contains(':')).unwrap_or("IPv6");
            format!("ENI {address} card {card} table {table} trunk {}", given["trunk"])
        }
        "DeleteRulesBySrc" => format!("no rules of {}", text(&given["ip"])),
        "UpdateRuleListBySrc" => format!("rules of {}", text(&given["source"]).split('/').next()?),
        // It is read before rules are written.
        "GetRuleList" => return None,
        other => other.to_owned(),
    })
}

fn their_kube(call: &Value) -> Option<String> {
    let (name, object) = (text(&call["call"]), text(&call["object"]));
    Some(match name {
        // The core's patch of the object reads it first, fails where it is not there, and changes nothing where it says so
        // already.
        "get cninode" if text(&call["error"]).is_empty() => return None,
        "get cninode" => "no cninode".to_owned(),
        // The core is told of the node's changes.
        "get node" => return None,
        "patch cninode" => {
            let features = list(&call["patch"]["spec"]["features"]);
            let last = features.last()?;
            format!("{name} {}={}", text(&last["name"]), text(&last["value"]))
        }
        "patch pod" => {
            let annotation = &call["patch"]["metadata"]["annotations"]["vpc.amazonaws.com/pod-ips"];
            format!("{name} {object} {}", annotation.as_str().unwrap_or("nothing"))
        }
        _ => format!("{name} {object}"),
    })
}

/// The core's since the last comparison.
pub(super) fn ours(world: &mut World, base_ms: i64) -> Vec<Asked> {
    let six = world.primary6.is_some();
    let host = std::mem::take(&mut world.host_calls).into_iter().flat_map(|(at_ms, call)| {
        our_host(&call, six).into_iter().map(move |text| (at_ms - base_ms, text)).collect::<Vec<_>>()
    });
    let kube = std::mem::take(&mut world.kube_calls);
    let announced = &mut world.announced;
    let kube = kube.into_iter().flat_map(|(at_ms, call, there)| {
        let mut asked = our_kube(&call, there);
        if there && matches!(call, KubeCall::PatchCniNode { .. }) {
            asked.retain(|text| announced.insert(text.clone()));
        }
        asked.into_iter().map(move |text| (at_ms - base_ms, text)).collect::<Vec<_>>()
    });
    host.chain(kube).collect()
}

fn our_host(call: &HostCall, six: bool) -> Vec<String> {
    let named = |list: &[Box<str>]| cidrs(list.iter().map(|cidr| &**cidr));
    let address = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    match call {
        HostCall::SetUpHost { vpc_cidrs, primary } => {
            vec![format!("host {} of {}", address(*primary), named(vpc_cidrs))]
        }
        HostCall::UpdateSnat { vpc_cidrs } => vec![format!("translation of {}", named(vpc_cidrs))],
        HostCall::SetUpEni { device, card, primary, trunk, .. } => {
            let table = u32::from(*device) + 1;
            let address = if six { "IPv6".to_owned() } else { address(primary.map(IpAddr::from)) };
            vec![format!("ENI {address} card {card} table {table} trunk {trunk}")]
        }
        HostCall::DropEniRules { primary } => vec![format!("no rules of {}", address(primary.map(IpAddr::from)))],
        HostCall::RefreshPodRules { ips } => ips.iter().map(|ip| format!("rules of {ip}")).collect(),
        // The original lists links for the checkpoint, and asks nothing else.
        HostCall::ListPods | HostCall::ListHostAddrs | HostCall::ListLinks | HostCall::ForgetConnections { .. } => {
            Vec::new()
        }
    }
}

fn our_kube(call: &KubeCall, there: bool) -> Vec<String> {
    match call {
        KubeCall::PatchCniNode { .. } if !there => vec!["no cninode".to_owned()],
        KubeCall::GetEniConfig { name } => vec![format!("get eniconfig {name}")],
        KubeCall::GetPod(pod) => vec![format!("get pod {}/{}", pod.namespace, pod.name)],
        KubeCall::PatchCniNode { feature, value } => vec![format!("patch cninode {feature}={value}")],
        KubeCall::AnnotatePod { pod, set, .. } => {
            let name = format!("{}/{}", pod.namespace, pod.name);
            let set = set.map_or_else(String::new, |address| address.to_string());
            vec![format!("get pod {name}"), format!("patch pod {name} {set}")]
        }
        // The other is an event.
        KubeCall::GetNode | KubeCall::WarnMissingPermission { .. } => Vec::new(),
    }
}
