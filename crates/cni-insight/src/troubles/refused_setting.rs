//! Settings with which the agent's container ends at its start: what `validateEnvVars` of its entry point, and the agent, refuse.

use cni_types::agent_settings as settings;

use crate::evidence::{Environment, ReadSetting, variable};

/// The most characters of a value that are shown.
const SHOWN: usize = 40;

/// Why the container ends, if a setting says so.
pub(super) fn refused_setting(env: Environment<'_>) -> Option<String> {
    let checks: [fn(Environment<'_>) -> Option<String>; 6] = [targets, cooldown, families, veth_prefix, mtu, modes];
    checks.iter().find_map(|check| check(env))
}

/// A variable that is set, and not to nothing.
fn text<'a>(env: Environment<'a>, name: &str) -> Option<&'a str> {
    variable(env, name).filter(|text| !text.is_empty())
}

fn shown(name: &str, value: &str) -> String {
    format!("{name}={:?}", value.chars().take(SHOWN).collect::<String>())
}

fn targets(env: Environment<'_>) -> Option<String> {
    let is_zero = |setting: &settings::AgentSetting<u32>| setting.of(env) == 0;
    let applies = settings::ENABLE_PREFIX_DELEGATION.of(env)
        && [&settings::WARM_PREFIX_TARGET, &settings::WARM_IP_TARGET, &settings::MINIMUM_IP_TARGET]
            .into_iter()
            .all(is_zero);
    applies.then(|| {
        "ENABLE_PREFIX_DELEGATION needs WARM_PREFIX_TARGET, WARM_IP_TARGET or MINIMUM_IP_TARGET above 0".to_owned()
    })
}

fn cooldown(env: Environment<'_>) -> Option<String> {
    let name = settings::IP_COOLDOWN_PERIOD.name;
    let value = text(env, name).filter(|text| !text.parse::<i64>().is_ok_and(|seconds| seconds >= 0))?;
    Some(format!("{} is no number of seconds, 0 or more", shown(name, value)))
}

/// Agents from v1.10 are given both variables by their manifest; before that there is one family.
fn families(env: Environment<'_>) -> Option<String> {
    let (v4, v6) = (&settings::ENABLE_IPV4, &settings::ENABLE_IPV6);
    text(env, v4.name)?;
    (v4.of(env) == v6.of(env)).then(|| format!("exactly one of {} and {} must be true", v4.name, v6.name))
}

fn veth_prefix(env: Environment<'_>) -> Option<String> {
    let name = "AWS_VPC_K8S_CNI_VETHPREFIX";
    let is_refused = |text: &&str| text.len() > 4 || ["eth", "lo", "vlan"].contains(text);
    let value = text(env, name).filter(is_refused)?;
    Some(format!("{} is longer than 4 characters, or one of eth, lo and vlan", shown(name, value)))
}

fn mtu(env: Environment<'_>) -> Option<String> {
    let least = if settings::ENABLE_IPV6.of(env) { 1280 } else { 576 };
    ["AWS_VPC_ENI_MTU", "POD_MTU"].into_iter().find_map(|name| {
        let is_refused = |text: &&str| !text.parse::<i64>().is_ok_and(|mtu| (least..=9001).contains(&mtu));
        let value = text(env, name).filter(is_refused)?;
        Some(format!("{} is not from {least} to 9001", shown(name, value)))
    })
}

fn modes(env: Environment<'_>) -> Option<String> {
    let enforcing = settings::NETWORK_POLICY_ENFORCING_MODE;
    if let Some(value) =
        text(env, enforcing.name).filter(|text| enforcing.read(Some(text)) == settings::PolicyMode::Invalid)
    {
        return Some(format!("{} is none of none, strict and standard", shown(enforcing.name, value)));
    }
    let groups = "POD_SECURITY_GROUP_ENFORCING_MODE";
    let is_refused = |text: &&str| settings::ENABLE_POD_ENI.of(env) && !["strict", "standard"].contains(text);
    let value = text(env, groups).filter(is_refused)?;
    Some(format!("{} is neither strict nor standard", shown(groups, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(variables: &[(&str, &str)]) -> Option<String> {
        let env: Vec<(Box<str>, Box<str>)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        refused_setting(&env)
    }

    #[test]
    fn what_the_manifest_sets_starts_and_each_check_refuses_its_own() {
        let manifest: Vec<(&str, &str)> = settings::manifest().collect();
        assert_eq!(refused(&manifest), None);
        assert_eq!(refused(&[]), None);
        let with = |more: &[(&'static str, &'static str)]| refused(&[&manifest, more].concat());
        for (name, good, bad) in [
            ("IP_COOLDOWN_PERIOD", "0", "-1"),
            ("IP_COOLDOWN_PERIOD", "", "half a minute"),
            ("AWS_VPC_K8S_CNI_VETHPREFIX", "eni", "vlan"),
            ("AWS_VPC_K8S_CNI_VETHPREFIX", "abcd", "abcde"),
            ("AWS_VPC_ENI_MTU", "576", "575"),
            ("POD_MTU", "9001", "9002"),
            ("NETWORK_POLICY_ENFORCING_MODE", "Strict", "sometimes"),
            ("ENABLE_IPv4", "true", "false"),
            ("ENABLE_IPv6", "false", "true"),
        ] {
            assert_eq!(with(&[(name, good)]), None, "{name}={good}");
            assert!(with(&[(name, bad)]).is_some_and(|why| why.contains(name)), "{name}={bad}");
        }
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "0")];
        assert!(with(&prefixes).is_some());
        assert_eq!(with(&[prefixes[0], prefixes[1], ("WARM_IP_TARGET", "2")]), None);
        assert_eq!(with(&[("POD_SECURITY_GROUP_ENFORCING_MODE", "loose")]), None, "of no use without ENABLE_POD_ENI");
        assert!(with(&[("POD_SECURITY_GROUP_ENFORCING_MODE", "loose"), ("ENABLE_POD_ENI", "true")]).is_some());
    }
}
