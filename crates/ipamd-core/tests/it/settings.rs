//! What the entry point and the start refuse, at the ends of what is allowed.

use cni_types::limits::InstanceLimits;
use ipamd_core::settings::{Mode, Refusal, Settings};

fn mode(variables: &[(&str, &str)]) -> Result<Mode, Refusal> {
    let able = InstanceLimits { listed: true, ..InstanceLimits::custom(3, 10) };
    Settings::manifest_with(variables.iter().copied()).mode(&able)
}

const PREFIXES: (&str, &str) = ("ENABLE_PREFIX_DELEGATION", "true");
const NO_PREFIX_TARGET: (&str, &str) = ("WARM_PREFIX_TARGET", "0");
const IPV6: [(&str, &str); 3] = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), PREFIXES];

#[test]
fn the_entry_point_refuses_what_the_agent_would_take() {
    let (four, six) = (false, true);
    let eni = |ipv6| Err(Refusal::EniMtu { ipv6 });
    let pod = |ipv6| Err(Refusal::PodMtu { ipv6 });
    let plain = Ok(Mode::Secondary);
    for (name, value, wanted) in [
        ("AWS_VPC_ENI_MTU", "575", eni(four)),
        ("AWS_VPC_ENI_MTU", "576", plain),
        ("AWS_VPC_ENI_MTU", "9001", plain),
        ("AWS_VPC_ENI_MTU", "9002", eni(four)),
        ("AWS_VPC_ENI_MTU", "many", eni(four)),
        ("POD_MTU", "575", pod(four)),
        ("POD_MTU", "576", plain),
        ("IP_COOLDOWN_PERIOD", "-1", Err(Refusal::Cooldown)),
        ("IP_COOLDOWN_PERIOD", "0", plain),
        ("IP_COOLDOWN_PERIOD", "soon", Err(Refusal::Cooldown)),
        ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "stdout", Err(Refusal::PluginLogFile)),
        ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/plugin.log", plain),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "eth", Err(Refusal::VethPrefix)),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "lo", Err(Refusal::VethPrefix)),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "vlan", Err(Refusal::VethPrefix)),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "enis", plain),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "enis5", Err(Refusal::VethPrefix)),
    ] {
        assert_eq!(mode(&[(name, value)]), wanted, "{name}={value}");
    }
    for (name, value, wanted) in [
        ("AWS_VPC_ENI_MTU", "1279", eni(six)),
        ("AWS_VPC_ENI_MTU", "1280", Ok(Mode::Ipv6)),
        ("POD_MTU", "1279", pod(six)),
        ("POD_MTU", "1280", Ok(Mode::Ipv6)),
    ] {
        assert_eq!(mode(&[IPV6[0], IPV6[1], IPV6[2], (name, value)]), wanted, "IPv6, {name}={value}");
    }
}

#[test]
fn prefixes_want_a_target_and_security_groups_for_pods_a_known_mode() {
    let enforcing = |value| ("POD_SECURITY_GROUP_ENFORCING_MODE", value);
    assert_eq!(mode(&[PREFIXES]), Ok(Mode::Prefix));
    assert_eq!(mode(&[PREFIXES, NO_PREFIX_TARGET]), Err(Refusal::PrefixWithoutTarget));
    assert_eq!(mode(&[NO_PREFIX_TARGET]), Ok(Mode::Secondary));
    assert_eq!(mode(&[PREFIXES, NO_PREFIX_TARGET, ("WARM_IP_TARGET", "1")]), Ok(Mode::Prefix));
    assert_eq!(mode(&[PREFIXES, NO_PREFIX_TARGET, ("MINIMUM_IP_TARGET", "1")]), Ok(Mode::Prefix));
    let pods = ("ENABLE_POD_ENI", "true");
    for (value, wanted) in [("strict", true), ("standard", true), ("lax", false)] {
        assert_eq!(mode(&[pods, enforcing(value)]).is_ok(), wanted, "{value}");
        assert_eq!(mode(&[enforcing(value)]), Ok(Mode::Secondary), "{value}");
    }
}

#[test]
fn a_node_serves_one_family_and_ipv6_needs_prefixes() {
    let [no_ipv4, ipv6, _] = IPV6;
    assert_eq!(mode(&IPV6), Ok(Mode::Ipv6));
    assert_eq!(mode(&[no_ipv4]), Err(Refusal::AddressFamily));
    assert_eq!(mode(&[ipv6]), Err(Refusal::AddressFamily));
    assert_eq!(mode(&[no_ipv4, ipv6]), Err(Refusal::Ipv6Needs));
    let custom = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");
    assert_eq!(mode(&[no_ipv4, ipv6, PREFIXES, custom]), Err(Refusal::Ipv6Needs));
    assert_eq!(mode(&[("NETWORK_POLICY_ENFORCING_MODE", "lax")]), Err(Refusal::PolicyMode));
    let limits = InstanceLimits::custom(4, 10);
    for (value, most) in [("0", 4), ("2", 2), ("9", 4)] {
        assert_eq!(Settings::manifest_with([("MAX_ENI", value)]).max_enis(&limits), most, "{value}");
    }
    for (name, leak_cleanup, provisioning) in [
        ("DISABLE_LEAKED_ENI_CLEANUP", false, true),
        ("ENABLE_IMDS_ONLY_MODE", false, false),
        ("DISABLE_NETWORK_RESOURCE_PROVISIONING", false, false),
        ("MANAGE_UNTAGGED_ENI", true, true),
    ] {
        let settings = Settings::manifest_with([(name, "true")]);
        assert_eq!((settings.leak_cleanup, settings.provisioning), (leak_cleanup, provisioning), "{name}");
    }
}
