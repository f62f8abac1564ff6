//! The pages of agents of several versions, and the same numbers without the page, of one process that has counted something of
//! each kind: as they stand in `tests/it/pages`. `WRITE_PAGES=1` writes them anew.

use std::fmt::Write;
use std::net::Ipv4Addr;

use cni_types::ec2::Ec2Operation;
use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use ipamd_core::metrics::{
    Action, Call, IpamdError, Metrics, PageFlavour, PodEniError, Reconcile, Release, Shown, Timed, UtilsError,
};

const START_MS: i64 = 1_790_000_000_127;
const FLAVOURS: [(&str, PageFlavour); 7] = [
    ("current", PageFlavour::V1_23),
    ("counters-as-gauges", PageFlavour::CountersAsGauges),
    ("1.18", PageFlavour::Legacy(Release { minor: 18, patch: 0 })),
    ("1.12", PageFlavour::Legacy(Release { minor: 12, patch: 6 })),
    ("1.9", PageFlavour::Legacy(Release { minor: 9, patch: 3 })),
    ("1.7", PageFlavour::Legacy(Release::OLD)),
    ("1.4", PageFlavour::Legacy(Release { minor: 4, patch: 0 })),
];

/// A process that has met something of each kind.
fn process() -> Metrics {
    let mut metrics = Metrics::new(START_MS, false);
    (metrics.add_requests, metrics.del_requests, metrics.no_available) = (41, [17, 3], 5);
    (metrics.force_removed_enis, metrics.force_removed_ips) = (2, 9);
    (metrics.assigned, metrics.total, metrics.prefixes) = (11, 58, 3);
    (metrics.eni_allocated, metrics.eni_max, metrics.ip_max) = (2, 3, 27);
    (metrics.connmark, metrics.init_seconds, metrics.startup_seconds) = ([1, 6], 2.375, 3.5);
    metrics.imds_reads = 93;
    let address = Ipv4Addr::new(10, 0, 0, 7);
    for (block, pods) in [(Block::Address(address), 1), (Block::Prefix(Ipv4Addr::new(10, 1, 0, 16)), 10)] {
        metrics.per_cidr.add(block, pods);
    }
    metrics.per_eni.insert(EniId::from_bits(0x1a), 4);
    metrics.per_eni.insert(EniId::from_bits(0x2b), -1);
    for (code, ms, at_ms) in
        [(None, 150, 0), (None, 90, 5_000), (Some("InternalError"), 700, 6_000), (Some(""), 9_000, 7_000)]
    {
        metrics.call(Call { op: Ec2Operation::AssignPrivateIpAddresses, code, ms }, START_MS + at_ms);
    }
    let missing = Some("InvalidNetworkInterfaceID.NotFound");
    metrics.call(Call { op: Ec2Operation::DetachNetworkInterface, code: missing, ms: 120 }, START_MS + 8_000);
    metrics.scan(Call { op: Ec2Operation::DescribeNetworkInterfaces, code: None, ms: 1 });
    metrics.scan(Call { op: Ec2Operation::DescribeNetworkInterfaces, code: Some("RequestLimitExceeded"), ms: 1 });
    metrics.plain_request(Call { op: Ec2Operation::DescribeSubnets, code: Some("InternalError"), ms: 1 });
    metrics.observe((Timed::WaitAttached, None), 4_210, START_MS + 3_000_000);
    metrics.utils_error(UtilsError::FreeEniDelete, "api error InternalError: a \"text\"\\\nof two lines".into());
    metrics.utils_error(UtilsError::GetAttachmentId, "no attachment".into());
    metrics.ipamd_error(IpamdError::DecreasePool);
    metrics.ipamd_error(IpamdError::ReconcileDelIp);
    metrics.pod_eni_error(PodEniError::EnableSecurityGroups);
    metrics.reconciled(Reconcile::PoolAdd, 120);
    metrics.reconciled(Reconcile::EniDel, 1);
    metrics.progress(Action::Increase, 1);
    metrics.progress(Action::Reconcile, 0);
    for code in [200, 200, 500, 503, 404] {
        metrics.scraped(code);
    }
    metrics
}

/// The page and the numbers half a minute after the start, and an hour: then current and very old agents only.
fn shown(metrics: &Metrics, flavour: PageFlavour) -> String {
    let mut text = String::new();
    for (after_ms, nftables) in [(30_000, false), (3_600_000, true)] {
        if after_ms > 60_000 && flavour != PageFlavour::V1_23 && !flavour.has_quantiles() {
            continue;
        }
        let now_ms = START_MS + after_ms;
        let mut page = Vec::new();
        metrics.render(Shown { now_ms, seed: 7, nftables }, flavour, &mut page);
        text += &String::from_utf8(page).unwrap();
        let mut truth = metrics.truth(now_ms, flavour);
        let (latency, labels) = (std::mem::take(&mut truth.latency), std::mem::take(&mut truth.labels));
        writeln!(text, "\n{truth:#?}").unwrap();
        for series in latency {
            writeln!(text, "{series:?}").unwrap();
        }
        for count in labels {
            writeln!(text, "{count:?}").unwrap();
        }
        text += "\n";
    }
    text
}

#[test]
fn pages_of_each_kind_of_agent_are_as_written() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pages");
    let metrics = process();
    for (name, flavour) in FLAVOURS {
        let (path, text) = (folder.join(format!("{name}.txt")), shown(&metrics, flavour));
        if std::env::var_os("WRITE_PAGES").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        let differs = written.lines().zip(text.lines()).find(|(written, text)| written != text);
        assert_eq!(differs, None, "left as in {name}.txt, right what is shown");
        assert_eq!(written.lines().count(), text.lines().count(), "{name}");
    }
}
