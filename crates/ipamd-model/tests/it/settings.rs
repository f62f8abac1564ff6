//! The agent's parsing of its environment, and the modes that it gives.

use cni_types::agent_settings::PolicyMode;
use cni_types::limits::{self, InstanceLimits};
use ipamd_model::settings::{Mode, Refusal, Settings};

#[test]
fn unset_variables_take_the_codes_defaults() {
    let bare = Settings::from_env([]);
    let numbers = (bare.warm_eni_target, bare.warm_ip_target, bare.minimum_ip_target, bare.warm_prefix_target);
    assert_eq!(numbers, (1, 0, 0, 0));
    assert_eq!((bare.max_eni, bare.ip_cooldown_s, bare.policy_mode), (None, 30, PolicyMode::Unset));
    assert!(!bare.ipv4 && !bare.ipv6 && !bare.prefix_delegation && !bare.custom_networking && !bare.pod_eni);
    assert!(bare.subnet_discovery && bare.manage_untagged && bare.provisioning && bare.leak_cleanup);
    let shipped = Settings::manifest();
    assert_eq!((shipped.warm_eni_target, shipped.warm_prefix_target, shipped.ipv4), (1, 1, true));
    assert_eq!(shipped.policy_mode, PolicyMode::Standard);
}

#[test]
fn numbers_that_make_no_sense_fall_back() {
    for (text, eni, ip, max) in [
        ("3", 3, 3, Some(3)),
        ("+3", 3, 3, Some(3)),
        ("-1", 1, 0, None),
        ("", 1, 0, None),
        ("two", 1, 0, None),
        ("2.0", 1, 0, None),
        (" 2", 1, 0, None),
        ("0", 0, 0, None),
    ] {
        let names = ["WARM_ENI_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET", "WARM_PREFIX_TARGET", "MAX_ENI"];
        let settings = Settings::from_env(names.map(|name| (name, text)));
        assert_eq!(settings.warm_eni_target, eni, "{text:?}");
        assert_eq!([settings.warm_ip_target, settings.minimum_ip_target, settings.warm_prefix_target], [ip; 3]);
        assert_eq!(settings.max_eni, max, "{text:?}");
    }
    assert_eq!(Settings::from_env([("IP_COOLDOWN_PERIOD", "0")]).ip_cooldown_s, 0);
}

#[test]
fn booleans_are_those_of_go() {
    for (text, on) in [
        ("1", Some(true)),
        ("t", Some(true)),
        ("T", Some(true)),
        ("TRUE", Some(true)),
        ("true", Some(true)),
        ("True", Some(true)),
        ("0", Some(false)),
        ("f", Some(false)),
        ("F", Some(false)),
        ("FALSE", Some(false)),
        ("false", Some(false)),
        ("False", Some(false)),
        ("tRUE", None),
        ("yes", None),
        ("", None),
    ] {
        let settings = Settings::from_env([("ENABLE_POD_ENI", text), ("ENABLE_SUBNET_DISCOVERY", text)]);
        assert_eq!(settings.pod_eni, on.unwrap_or(false), "{text:?}");
        assert_eq!(settings.subnet_discovery, on.unwrap_or(true), "{text:?}");
    }
}

#[test]
fn the_last_value_of_a_name_wins_and_switches_combine() {
    assert_eq!(Settings::manifest_with([("WARM_ENI_TARGET", "4"), ("WARM_ENI_TARGET", "2")]).warm_eni_target, 2);
    let off = |name| Settings::manifest_with([(name, "true")]);
    assert!(!off("DISABLE_NETWORK_RESOURCE_PROVISIONING").provisioning);
    assert!(!off("ENABLE_IMDS_ONLY_MODE").provisioning);
    for name in ["DISABLE_LEAKED_ENI_CLEANUP", "ENABLE_IPv6", "ENABLE_IMDS_ONLY_MODE"] {
        assert!(!off(name).leak_cleanup, "{name}");
    }
}

#[test]
fn contradictions_keep_the_agent_from_starting() {
    let m5 = limits::find("m5.large").unwrap();
    let m4 = limits::find("m4.large").unwrap();
    let mode = |limits: &InstanceLimits, env: &[(&'static str, &'static str)]| {
        Settings::manifest_with(env.iter().copied()).mode(limits)
    };
    assert_eq!(mode(&m5, &[]), Ok(Mode::Secondary));
    assert_eq!(mode(&m5, &[("ENABLE_PREFIX_DELEGATION", "true")]), Ok(Mode::Prefix));
    assert_eq!(mode(&m4, &[("ENABLE_PREFIX_DELEGATION", "true")]), Ok(Mode::Secondary));
    assert_eq!(mode(&m5, &[("ENABLE_IPv4", "false")]), Err(Refusal::AddressFamily));
    assert_eq!(mode(&m5, &[("ENABLE_IPv6", "true")]), Err(Refusal::AddressFamily));
    let ipv6 = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")];
    assert_eq!(mode(&m5, &ipv6), Ok(Mode::Ipv6));
    assert_eq!(mode(&m4, &ipv6), Err(Refusal::Ipv6Needs));
    assert_eq!(mode(&m5, &ipv6[..2]), Err(Refusal::Ipv6Needs));
    let custom = [ipv6[0], ipv6[1], ipv6[2], ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")];
    assert_eq!(mode(&m5, &custom), Err(Refusal::Ipv6Needs));
    assert_eq!(mode(&m5, &[("NETWORK_POLICY_ENFORCING_MODE", "STRICT")]), Ok(Mode::Secondary));
    assert_eq!(mode(&m5, &[("NETWORK_POLICY_ENFORCING_MODE", "")]), Err(Refusal::PolicyMode));
}

#[test]
fn the_entry_point_refuses_before_the_agent_starts() {
    let m5 = limits::find("m5.large").unwrap();
    let six = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")];
    let mode = |env: &[(&str, &str)]| Settings::manifest_with(env.iter().copied()).mode(&m5).map(|_| ());
    let (cooldown, veth) = (Err(Refusal::Cooldown), Err(Refusal::VethPrefix));
    for (text, so) in
        [("0", Ok(())), ("+5", Ok(())), ("-1", cooldown), ("x", cooldown), ("", cooldown), ("1.5", cooldown)]
    {
        assert_eq!(mode(&[("IP_COOLDOWN_PERIOD", text)]), so, "{text:?}");
    }
    for (text, ipv4, ipv6) in [
        ("576", true, false),
        ("575", false, false),
        ("1280", true, true),
        ("9001", true, true),
        ("9002", false, false),
    ] {
        for name in ["AWS_VPC_ENI_MTU", "POD_MTU"] {
            assert_eq!(mode(&[(name, text)]).is_ok(), ipv4, "{name}={text}");
            assert_eq!(mode(&[six[0], six[1], six[2], (name, text)]).is_ok(), ipv6, "{name}={text} with IPv6");
        }
    }
    assert_eq!(mode(&[("POD_MTU", "jumbo")]), Err(Refusal::PodMtu { ipv6: false }));
    assert_eq!(mode(&[("AWS_VPC_ENI_MTU", "")]), Err(Refusal::EniMtu { ipv6: false }));
    let prefixes =
        [("eni", Ok(())), ("", Ok(())), ("abcd", Ok(())), ("abcde", veth), ("eth", veth), ("lo", veth), ("vlan", veth)];
    for (text, so) in prefixes {
        assert_eq!(mode(&[("AWS_VPC_K8S_CNI_VETHPREFIX", text)]), so, "{text:?}");
    }
    let enforcing = |text| ("POD_SECURITY_GROUP_ENFORCING_MODE", text);
    assert_eq!(mode(&[enforcing("lax")]), Ok(()), "without security groups for pods it is not looked at");
    let on = ("ENABLE_POD_ENI", "true");
    assert_eq!([mode(&[on, enforcing("standard")]), mode(&[on, enforcing("Strict")])], {
        [Ok(()), Err(Refusal::SecurityGroupMode)]
    });
    assert_eq!(mode(&[("AWS_VPC_K8S_PLUGIN_LOG_FILE", "stdout")]), Err(Refusal::PluginLogFile));
    let refusal = Refusal::EniMtu { ipv6: true };
    assert_eq!(refusal.to_string(), "AWS_VPC_ENI_MTU must be a whole number from 1280 to 9001");
}

#[test]
fn the_entry_point_compares_prefix_targets_as_text() {
    let m5 = limits::find("m5.large").unwrap();
    for (value, starts) in [("0", false), ("-3", false), ("", false), ("1", true), ("00", true), ("x", true)] {
        let settings = Settings::manifest_with([("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", value)]);
        assert_eq!(settings.mode(&m5).is_ok(), starts, "{value:?}");
    }
}
