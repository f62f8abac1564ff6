//! Settings as an operator gives them.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

fn read(flags: &[&str]) -> Result<Config, ConfigError> {
    let args = std::iter::once("helper").chain(flags.iter().copied());
    Config::read(&Args::parse_from(args).settings)
}

#[test]
fn the_defaults_are_those_of_the_original() {
    let config = read(&[]).unwrap();
    assert_eq!(config.interval, Duration::from_secs(30));
    assert_eq!(config.round_limit(), Duration::from_secs(24));
    assert!(config.prometheus.is_none());
    let cloudwatch = config.cloudwatch.unwrap();
    assert_eq!((cloudwatch.namespace.as_str(), cloudwatch.resolution_seconds), ("Kubernetes", 60));
    assert_eq!(config.scrape.via, Via::Auto);
    assert_eq!((config.scrape.port, config.scrape.max_bytes), (61_678, 8 << 20));
    assert_eq!(
        (config.discover.namespace.as_str(), config.discover.selector.as_str()),
        ("kube-system", "k8s-app=aws-node")
    );
    assert_eq!(config.log.level, Level::INFO);
}

#[test]
fn cloudwatch_is_switched_off_as_the_original_image_does_it() {
    assert!(read(&["--cloudwatch=false"]).unwrap().cloudwatch.is_none());
    assert!(read(&["--cloudwatch"]).unwrap().cloudwatch.is_some());
    assert!(read(&["--use-cloudwatch=NO"]).unwrap().cloudwatch.is_none());
}

#[test]
fn the_variable_wins_over_the_flag() {
    assert!(read(&["--cloudwatch=false", "--use-cloudwatch=yes"]).unwrap().cloudwatch.is_some());
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let config =
        read(&["--interval=", "--use-cloudwatch=", "--aws-cluster-id=", "--metric-allow=", "--log-level="]).unwrap();
    assert_eq!(config.interval, Duration::from_secs(30));
    assert!(config.cloudwatch.is_some() && config.cluster_id.is_none());
}

/// A mistake in each setting that can have one.
const MISTAKES: [&str; 29] = [
    "--interval=30 s",
    "--use-cloudwatch=maybe",
    "--use-prometheus=2",
    "--prometheus-address=localhost",
    "--prometheus-cluster-label=enabled",
    "--scrape-via=ssh",
    "--scrape-concurrency=0",
    "--scrape-timeout=5 s",
    "--scrape-max-bytes=8TB",
    "--agent-port=70000",
    "--agent-namespace=Kube_System",
    "--cloudwatch-namespace=AWS/EC2",
    "--aws-cluster-id=m\u{fc}nchen",
    "--agent-selector=k8s-app aws-node",
    "--metric-set=all",
    "--cloudwatch-resolution=30",
    "--leader-election=elect",
    "--lease-name=My.Lease",
    "--lease-namespace=-",
    "--lease-duration=4s",
    "--standby-scrape=warm",
    "--insight=full",
    "--findings-mute=node-ful",
    "--shard=3/3",
    "--admin-address=61682",
    "--log-level=TRACE",
    "--log-format=xml",
    "--aws-region=Frankfurt",
    "--node-name=My Node",
];

#[test]
fn all_mistakes_are_reported_at_once() {
    insta::assert_snapshot!(read(&MISTAKES).unwrap_err(), @r#"
    invalid configuration (29 errors):
      METRIC_UPDATE_INTERVAL = "30 s": must be whole seconds, such as 30, 30s or 5m, from 1s to 24h
      AGENT_NAMESPACE = "Kube_System": must be a namespace's name (a-z, 0-9 and -, at most 63)
      AGENT_SELECTOR = "k8s-app aws-node": must be a label selector: requirements such as k8s-app=aws-node, tier!=test, name in (a,b), name notin (a,b), name or !name, separated by commas
      NODE_NAME = "My Node": must be a node's name (a-z, 0-9, - and ., at most 253)
      SCRAPE_VIA = "ssh": must be auto, proxy or direct
      SCRAPE_CONCURRENCY = "0": must be a whole number from 1 to 10000, or auto
      SCRAPE_TIMEOUT = "5 s": must be a duration such as 5s, 500ms or 2m, or a number of seconds, from 10ms to 1h
      SCRAPE_MAX_BYTES = "8TB": must be a size such as 8MiB, 8MB, 500KiB or a number of bytes, from 1024 to 1073741824 bytes
      AGENT_PORT = "70000": must be a whole number from 1 to 65535
      USE_CLOUDWATCH = "maybe": must be true, yes, on or 1, or false, no, off or 0 (any case)
      CLOUDWATCH_NAMESPACE = "AWS/EC2": must be 1 to 255 of the characters A-Z a-z 0-9 . - _ / # : and space, not beginning with ':' or 'AWS/'
      CLOUDWATCH_RESOLUTION = "30": must be 60 or 1 (seconds)
      METRIC_SET = "all": must be standard or compat
      USE_PROMETHEUS = "2": must be true, yes, on or 1, or false, no, off or 0 (any case)
      PROMETHEUS_ADDRESS = "localhost": must be an address and a port such as 0.0.0.0:61681 or [::]:61681
      PROMETHEUS_CLUSTER_LABEL = "enabled": must be true, yes, on or 1, or false, no, off or 0 (any case)
      INSIGHT = "full": must be off, basic or cluster: this version reads neither EC2 nor the pods of all namespaces
      FINDINGS_MUTE = "node-ful": must be a list of ID or ID:SCOPE; "node-ful" is no finding (explain lists all)
      LEADER_ELECTION = "elect": must be true, yes, on or 1, or false, no, off or 0 (any case)
      LEASE_NAME = "My.Lease": must be a lease's name (a-z, 0-9 and -, at most 63)
      LEASE_NAMESPACE = "-": must be a namespace's name (a-z, 0-9 and -, at most 63)
      LEASE_DURATION = "4s": must be whole seconds, such as 30, 30s or 5m, from 5s to 5m
      STANDBY_SCRAPE = "warm": must be true, yes, on or 1, or false, no, off or 0 (any case)
      SHARD = "3/3": must be i/n with i from 0 to n - 1: 3 shards are numbered 0/3 to 2/3
      ADMIN_ADDRESS = "61682": must be an address and a port such as 0.0.0.0:61682 or [::]:61682, or off
      AWS_VPC_K8S_CNI_LOGLEVEL = "TRACE": must be DEBUG, INFO, WARN, ERROR or FATAL (any case)
      LOG_FORMAT = "xml": must be text or json
      AWS_REGION = "Frankfurt": must be the name of an AWS region, such as eu-west-1 or us-gov-west-1
      AWS_CLUSTER_ID = "münchen": must be 1 to 1024 printable ASCII characters, not beginning with ':', not only blanks
    "#);
}

#[test]
fn conclusions_are_drawn_unless_they_are_switched_off() {
    assert!(read(&[]).unwrap().insight.is_some());
    for off in ["--insight=off", "--insight=OFF", "--insight=false"] {
        assert_eq!(read(&[off, "--findings-mute=node-full"]).unwrap().insight, None, "{off}");
    }
    for (level, expected) in [("basic", InsightLevel::Basic), ("Cluster", InsightLevel::Cluster)] {
        let config = read(&[&format!("--insight={level}")]).unwrap();
        assert_eq!(config.insight.map(|insight| insight.level), Some(expected), "{level}");
        assert_eq!(config.discover.level, expected, "what is watched follows");
    }
    assert_eq!(read(&["--insight=off"]).unwrap().discover.level, InsightLevel::Off);
    let muted = read(&["--findings-mute=node-full,subnet-exhausted:zone/group"]).unwrap().insight;
    assert_ne!(muted, read(&[]).unwrap().insight);
}

#[test]
fn an_interval_that_is_no_whole_number_of_seconds_is_refused_by_name() {
    for wrong in ["0", "-1", "0.5s", "abc"] {
        let error = read(&[&format!("--interval={wrong}")]).unwrap_err().to_string();
        let expected = format!("METRIC_UPDATE_INTERVAL = {wrong:?}: must be whole seconds, such as 30, 30s or 5m");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn an_unknown_metric_in_a_list_is_refused_with_the_known_ones() {
    let error = read(&["--metric-deny=eni*,nope"]).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert_eq!((error.0[0].setting.as_str(), error.0[0].value.as_str()), ("METRIC_DENY", "nope"));
    assert!(error.0[0].allowed.contains("assignIPAddresses"), "{error}");
}

#[test]
fn an_election_is_off_unless_asked_for() {
    assert_eq!(read(&["--lease-duration=1m"]).unwrap().election, None);
    let election = read(&["--leader-election=yes"]).unwrap().election.unwrap();
    let expected = ElectionConfig {
        namespace: None,
        name: "cni-metrics-helper".to_owned(),
        duration: Duration::from_secs(15),
        standby_scrape: false,
    };
    assert_eq!(election, expected);
    let all = [
        "--leader-election=true",
        "--lease-namespace=a",
        "--lease-name=b",
        "--lease-duration=5",
        "--standby-scrape=true",
    ];
    let election = read(&all).unwrap().election.unwrap();
    assert_eq!((election.namespace.as_deref(), election.name.as_str()), (Some("a"), "b"));
    assert!(election.standby_scrape && election.duration == Duration::from_secs(5));
}

#[test]
fn all_nodes_are_measured_unless_a_shard_is_named() {
    let all = read(&["--shard="]).unwrap();
    assert_eq!((all.shard(), all.discover.shard), (None, None));
    assert_eq!(all.looked_for(), r#"selector "k8s-app=aws-node" in namespace "kube-system""#);
    let part = read(&["--shard=1/3"]).unwrap();
    assert_eq!((part.shard(), part.discover.shard), ("1/3".parse().ok(), part.shard()));
    assert!(part.looked_for().ends_with(r#"in namespace "kube-system" on the nodes of shard 1/3"#));
    // As a chart on an old cluster would start it.
    let error = read(&["--shard=/3"]).unwrap_err().to_string();
    assert!(error.contains(r#"SHARD = "/3": must be i/n, and i is missing"#), "{error}");
}

#[test]
fn the_admin_listener_is_on_unless_switched_off() {
    let admin = |flags: &[&str]| read(flags).unwrap().admin.map(|address| address.to_string());
    assert_eq!(admin(&[]).as_deref(), Some("0.0.0.0:61682"));
    assert_eq!(admin(&["--admin-address=[::1]:9"]).as_deref(), Some("[::1]:9"));
    assert_eq!((admin(&["--admin-address="]), admin(&["--admin-address=Off"])), (None, None));
}

#[test]
fn the_effective_scrape_timeout_is_the_smaller_of_its_own_and_the_rounds() {
    for (interval, timeout, effective, warned) in [
        ("30", "5s", Duration::from_secs(5), false),
        ("30", "24s", Duration::from_secs(24), false),
        ("30", "60s", Duration::from_secs(24), true),
        ("3", "5s", Duration::from_millis(2_400), true),
        ("1", "500ms", Duration::from_millis(500), false),
        ("1", "1h", Duration::from_millis(800), true),
    ] {
        let config = read(&["--interval", interval, "--scrape-timeout", timeout]).unwrap();
        assert_eq!(config.scrape.timeout, effective, "{interval} {timeout}");
        let told: Vec<_> = config.warnings.iter().filter(|text| text.starts_with("SCRAPE_TIMEOUT = ")).collect();
        assert_eq!(told.len(), usize::from(warned), "{interval} {timeout}");
        assert!(told.iter().all(|text| text.contains(&format!("effective value is {effective:?}"))), "{told:?}");
    }
}

#[test]
fn a_page_limit_that_no_page_fits_or_no_memory_holds_is_a_warning() {
    for (limit, warned) in [("8MiB", 0), ("100KiB", 0), ("4KiB", 1), ("16MiB", 0), ("1GiB", 1)] {
        let config = read(&["--scrape-max-bytes", limit]).unwrap();
        assert_eq!(config.warnings.len(), warned, "{limit}: {:?}", config.warnings);
        assert!(config.scrape.max_bytes <= 16 << 20);
    }
}

#[test]
fn one_context_leads_to_one_cluster_and_several_only_where_they_are_expected() {
    let args = |flags: &[&str]| {
        let args = std::iter::once("helper").chain(flags.iter().copied());
        Args::parse_from(args).settings
    };
    let contexts = |flags: &[&str]| Config::read_with_contexts(&args(flags)).map(|(_, contexts)| contexts);
    assert_eq!(read(&["--context=a"]).unwrap().connect.context.as_deref(), Some("a"));
    assert_eq!(read(&["--context="]).unwrap().connect.context, None);
    assert_eq!(contexts(&["--context="]), Ok(Contexts::Current));
    let named = Contexts::Named(vec!["b".to_owned(), "a".to_owned()]);
    assert_eq!(contexts(&["--context=b", "--context=a", "--context=b"]), Ok(named));
    assert_eq!(contexts(&["--all-contexts"]), Ok(Contexts::All));
    // Mistakes in other settings are not hidden by it.
    insta::assert_snapshot!(read(&["--context=a", "--context=b", "--scrape-via=ssh"]).unwrap_err(), @r#"
    invalid configuration (2 errors):
      --context = "a, b": one context at most: this command measures one cluster, and one helper is needed for each; `once` measures several
      SCRAPE_VIA = "ssh": must be auto, proxy or direct
    "#);
    assert!(read(&["--all-contexts"]).unwrap_err().to_string().contains("--all-contexts = \"true\": one context"));
    let both = contexts(&["--all-contexts", "--context=a"]).unwrap_err();
    assert_eq!(both.0.len(), 1, "{both}");
}

/// Values that were once accepted and can never work.
#[test]
fn a_value_that_can_never_work_is_refused() {
    for (flag, setting) in [
        ("--aws-region=Frankfurt", "AWS_REGION"),
        ("--aws-region=eu-west-1a", "AWS_REGION"),
        ("--node-name=my_node", "NODE_NAME"),
        ("--agent-selector=k8s-app==", "AGENT_SELECTOR"),
        ("--agent-selector=k8s-app in ()", "AGENT_SELECTOR"),
        ("--kubeconfig=/nonexistent/config", "--kubeconfig"),
        ("--kubeconfig=/", "--kubeconfig"),
    ] {
        let error = read(&[flag]).unwrap_err();
        assert_eq!((error.0.len(), error.0[0].setting.as_str()), (1, setting), "{flag}");
    }
}

#[test]
fn two_listeners_on_one_port_are_refused() {
    let with = |admin: &str, prometheus: &str| {
        let flags = [format!("--admin-address={admin}"), format!("--prometheus-address={prometheus}")];
        read(&["--use-prometheus=true", &flags[0], &flags[1]])
    };
    let error = with("0.0.0.0:61681", "127.0.0.1:61681").unwrap_err().to_string();
    assert!(error.contains("ADMIN_ADDRESS = \"0.0.0.0:61681\": must differ from PROMETHEUS_ADDRESS"), "{error}");
    assert!(
        read(&["--use-prometheus=true", "--prometheus-address=0.0.0.0:61682"]).is_err(),
        "the default of the other"
    );
    assert!(read(&["--prometheus-address=0.0.0.0:61682"]).is_ok(), "it is not served");
    for (admin, prometheus) in
        [("127.0.0.1:0", "127.0.0.1:0"), ("off", "0.0.0.0:61682"), ("127.0.0.1:9", "127.0.0.2:9")]
    {
        assert!(with(admin, prometheus).is_ok(), "{admin} {prometheus}");
    }
}

#[test]
fn switches_durations_and_sizes_take_the_same_forms_everywhere() {
    for (yes, no) in [("true", "false"), ("yes", "NO"), ("On", "off"), ("1", "0")] {
        for flag in [
            "--log-metrics",
            "--use-cloudwatch",
            "--use-prometheus",
            "--prometheus-node-metrics",
            "--prometheus-cluster-label",
            "--leader-election",
            "--standby-scrape",
        ] {
            for word in [yes, no] {
                assert!(read(&[&format!("{flag}={word}")]).is_ok(), "{flag}={word}");
            }
        }
        assert!(read(&[&format!("--cloudwatch={no}")]).unwrap().cloudwatch.is_none());
        assert!(read(&[&format!("--use-prometheus={yes}")]).unwrap().prometheus.is_some());
    }
    for thirty in ["30", "30s", "0.5m", "30000ms"] {
        let flags = ["--interval", "--scrape-timeout", "--lease-duration", "--termination-grace-period"];
        let flags = flags.map(|flag| format!("{flag}={thirty}"));
        let config = read(&[&flags[0], &flags[1], &flags[2], &flags[3], "--leader-election=on"]).unwrap();
        let expected = Duration::from_secs(30);
        assert_eq!((config.interval, config.election.unwrap().duration), (expected, expected), "{thirty}");
    }
    for (size, expected) in [("64MB", 64_000_000), ("64MiB", 64 << 20), ("64M", 64_000_000), ("64Mi", 64 << 20)] {
        let config = read(&[&format!("--cloudwatch-buffer={size}"), &format!("--scrape-max-bytes={size}")]).unwrap();
        assert_eq!(config.cloudwatch.unwrap().buffer_bytes, expected, "{size}");
    }
}

#[test]
fn a_setting_without_effect_is_a_warning_and_the_defaults_are_none() {
    let warnings = |flags: &[&str]| {
        let line = std::iter::once("helper").chain(flags.iter().copied());
        let matches = <Args as clap::CommandFactory>::command().get_matches_from(line);
        let mut args = <Args as clap::FromArgMatches>::from_arg_matches(&matches).unwrap().settings;
        args.sources = crate::cli::sources::Sources::of(&matches);
        let config = Config::read(&args).unwrap();
        [config.warnings, config.publishing_warnings].concat()
    };
    assert_eq!(warnings(&[]), [""; 0]);
    assert_eq!(
        warnings(&["--use-prometheus=on", "--leader-election=on", "--standby-scrape=on", "--spool-dir=/s"]),
        [""; 0]
    );
    for (flags, expected) in [
        (&["--use-cloudwatch=off"][..], "published nowhere"),
        (&["--standby-scrape=on"], "STANDBY_SCRAPE=true has no effect without LEADER_ELECTION=true"),
        (
            &["--cloudwatch=off", "--use-prometheus=1", "--spool-dir=/s", "--metric-deny=eni*"],
            "METRIC_DENY, SPOOL_DIR have no effect without USE_CLOUDWATCH=true",
        ),
        (&["--prometheus-address=127.0.0.1:9"], "PROMETHEUS_ADDRESS has no effect without USE_PROMETHEUS=true"),
        (&["--lease-duration=20s"], "LEASE_DURATION has no effect without LEADER_ELECTION=true"),
        (&["--agent-selector=k8s-app="], "whose label k8s-app is there and empty"),
        (&["--scrape-timeout=60s"], "the effective value is 24s"),
    ] {
        let found = warnings(flags);
        assert!(found.len() == 1 && found[0].contains(expected), "{flags:?}: {found:?}");
    }
}
