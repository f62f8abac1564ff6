//! Properties of the reader: any bytes are treated soundly, and what is written is what is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cni_metrics_core::parse::parse;
use cni_testkit::pages::check_page;
use cni_types::catalogue::{Family, Kind};
use cni_types::ec2::{EC2_OPERATIONS, Ec2Operation};
use proptest::prelude::*;

use crate::mutate::mutate;
use crate::random::Random;

/// Whole numbers, floats as Go prints them, and the edge between them.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0..1000_u32).prop_map(f64::from),
        (0..9_007_199_254_740_992_u64 / 8).prop_map(|whole| whole as f64),
        0.0..1e15,
        0.0..1.0,
    ]
}

type Series = BTreeMap<String, f64>;

/// Label values with everything that needs care.
fn series() -> impl Strategy<Value = Series> {
    prop::collection::btree_map("[ -~\\n{}\"\\\\,=äß🦀]{0,12}", value(), 0..6)
}

fn escape(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn number(value: f64, spelling: usize) -> String {
    if spelling == 0 { format!("{value}") } else { format!("{value:e}") }
}

proptest! {
    #[test]
    fn any_bytes(page in prop::collection::vec(any::<u8>(), 0..2000)) {
        check_page(&page);
    }

    #[test]
    fn any_lines_of_the_formats_own_pieces(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "awscni_eni_max", "awscni_ipamd_error_count", "awscni_aws_api_latency_ms", "_sum", "_count", " ", "\n",
                "{", "}", "fn=\"a\"", "api=\"A\"", "quantile=\"0.99\"", ",", "1", "2.5", "NaN", "-1", "1e308", "# TYPE ",
                "process_start_time_seconds", "\r", "\t", "\"", "\\", "é", "\n", " 7\n",
            ]),
            0..60,
        )
    ) {
        check_page((pieces.concat() + "\n").as_bytes());
    }

    #[test]
    fn real_pages_with_damage(seed in 1_u64.., which in 0..4_usize) {
        let pages: [&[u8]; 4] = [
            include_bytes!("../data/node.prom"),
            include_bytes!("../data/old_agent.prom"),
            include_bytes!("../data/ipv6.prom"),
            include_bytes!("../data/prefix_delegation.prom"),
        ];
        check_page(&mutate(pages[which], &mut Random(seed)));
    }

    #[test]
    fn what_is_written_is_what_is_read(
        families in prop::collection::vec(series(), 20),
        spelling in 0..2_usize,
        shuffle in any::<u64>(),
    ) {
        let plain: Vec<Family> = Family::ALL.into_iter().filter(|family| family.kind() != Kind::Latency).collect();
        let mut lines = vec!["awscni_build_info{version=\"\"} 1\n".to_owned()];
        for (family, series) in plain.iter().zip(&families) {
            for (label, value) in series {
                lines.push(format!("{}{{x=\"{}\"}} {}\n", family.name(), escape(label), number(*value, spelling)));
            }
        }
        if shuffle % 2 == 0 {
            let mut random = Random(shuffle | 1);
            for at in (1..lines.len()).rev() {
                lines.swap(at, random.below(at + 1));
            }
        }
        let parsed = parse(lines.concat().as_bytes());
        prop_assert_eq!(&parsed.errors, &vec![]);
        let expected_none = families.iter().all(BTreeMap::is_empty);
        prop_assert_eq!(parsed.sample.is_err(), expected_none);
        let Ok(sample) = parsed.sample else { return Ok(()) };
        for (family, series) in plain.iter().zip(&families) {
            let own = sample.get(*family);
            prop_assert_eq!(own.is_some(), !series.is_empty());
            let (sum, expected) = (own.map_or(0.0, |own| own.sum), series.values().sum::<f64>());
            // The order of adding may change the last bits of a float; a single value must be exact.
            let tolerance = if series.len() == 1 { 0.0 } else { expected.abs() * 1e-15 };
            prop_assert!((sum - expected).abs() <= tolerance, "{}: {} not {}", family.name(), sum, expected);
        }
    }

    #[test]
    fn latencies_are_read_per_ec2_operation(
        operations in prop::collection::btree_map(0..EC2_OPERATIONS, (0..1000_u32, 0..1000_u32), 1..12),
        others in prop::collection::btree_set("[ -~\\n\"\\\\]{0,12}", 0..4),
    ) {
        let mut page = String::new();
        let mut write = |api: &str, (sum, count): (u32, u32)| {
            for (error, part) in [("false", 1), ("true", 2)] {
                writeln!(page, "awscni_aws_api_latency_ms_sum{{api=\"{api}\",error=\"{error}\"}} {}", sum * part).unwrap();
                writeln!(page, "awscni_aws_api_latency_ms_count{{api=\"{api}\",error=\"{error}\"}} {}", count * part).unwrap();
            }
        };
        for (operation, numbers) in &operations {
            write(Ec2Operation::ALL[*operation].name(), *numbers);
        }
        for other in &others {
            write(&escape(other), (7, 7));
        }
        let sample = parse(page.as_bytes()).sample.unwrap();
        for (number, own) in sample.latency.into_iter().enumerate() {
            let written = operations.get(&number).map(|(sum, count)| (f64::from(sum * 3), f64::from(count * 3)));
            prop_assert_eq!(own.map(|own| (own.sum_ms, own.count)), written);
        }
    }
}
