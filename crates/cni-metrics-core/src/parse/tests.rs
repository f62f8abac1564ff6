//! Whole pages, good and bad.

#![expect(clippy::float_cmp, reason = "whole numbers are exact, and exactness is what is tested")]

use std::fmt::Write as _;

use super::reader::{Order, Reader, Stop};
use super::*;
use cni_types::catalogue::Family;
use cni_types::ec2::Ec2Operation;

const NODE: &str = include_str!("../../tests/data/node.prom");
const OLD_AGENT: &str = include_str!("../../tests/data/old_agent.prom");
const IPV6: &str = include_str!("../../tests/data/ipv6.prom");
const PREFIXES: &str = include_str!("../../tests/data/prefix_delegation.prom");

/// Any good page around the line under test.
const ENI_MAX: &str = "awscni_eni_max 3\n";

fn sample(page: &str) -> NodeSample {
    let parsed = parse(page.as_bytes());
    assert_eq!(parsed.errors, [], "{page}");
    parsed.sample.unwrap()
}

/// The one error of a page of a good line and this one.
fn error_of(line: &[u8]) -> LineErrorKind {
    let page = [ENI_MAX.as_bytes(), line, b"\n"].concat();
    let parsed = parse(&page);
    assert_eq!(parsed.error_count, 1, "{}", String::from_utf8_lossy(line));
    assert_eq!(parsed.errors[0].line, 2);
    assert!(parsed.sample.is_ok());
    parsed.errors[0].kind
}

fn describe(page: &str) -> String {
    let sample = sample(page);
    let NodeSample { process_start_seconds, has_quantiles, has_latency_counts, version, .. } = sample;
    let version = version.map_or("-".to_owned(), |version| version.to_string());
    let mut text = format!(
        "start {process_start_seconds:?} quantiles {has_quantiles} counts {has_latency_counts} version {version}\n"
    );
    for family in Family::ALL {
        let shown = sample.get(family).map_or("-".to_owned(), |own| own.sum.to_string());
        writeln!(text, "{} {shown}", family.name()).unwrap();
    }
    for (operation, own) in Ec2Operation::ALL.into_iter().zip(sample.latency) {
        if let Some(own) = own {
            writeln!(text, "{}: {} ms / {}", operation.name(), own.sum_ms, own.count).unwrap();
        }
    }
    text
}

#[test]
fn a_current_agents_page() {
    insta::assert_snapshot!(describe(NODE));
}

#[test]
fn an_old_agents_page() {
    insta::assert_snapshot!(describe(OLD_AGENT));
}

#[test]
fn a_prefix_delegation_page() {
    insta::assert_snapshot!(describe(PREFIXES));
}

#[test]
fn an_ipv6_page() {
    assert!(sample(IPV6).is_ipv6());
    insta::assert_snapshot!(describe(IPV6));
}

#[test]
fn real_pages_need_one_reading_and_both_readings_agree() {
    for page in [NODE, OLD_AGENT, IPV6, PREFIXES] {
        let read = |order| {
            let mut reader = Reader::new(page.as_bytes(), order);
            assert_eq!(reader.read(usize::MAX), Ok(true));
            reader.finish()
        };
        let (ascending, any) = (read(Order::Ascending), read(Order::Any));
        assert_eq!(ascending.readable_lines, any.readable_lines);
        assert_eq!(ascending.fold.finish(), any.fold.finish());
    }
}

#[test]
fn pages_that_are_not_metrics() {
    for (page, error) in [
        ("", "the page is empty"),
        (" \n\r\n", "the page is empty"),
        ("<!DOCTYPE html>\n<p>sign in</p>", "the page is not Prometheus text: it looks like HTML or XML"),
        ("\u{FEFF} <html>\n", "the page is not Prometheus text: it looks like HTML or XML"),
        ("{\"kind\":\"Status\"}", "the page is not Prometheus text: it looks like JSON"),
        ("go_threads 9\n", "the page is readable but has none of ipamd's metrics: is this the aws-node agent's port?"),
        (
            "# only comments\n",
            "the page is readable but has none of ipamd's metrics: is this the aws-node agent's port?",
        ),
        ("\n-1\n=\n", "no line of the page could be read; line 2: it begins like neither a metric nor a comment: -1"),
        (
            "awscni_ip_max 27\nawscni_eni_max 1",
            "the page ends in the middle of line 2: its end is missing, and a number there may be cut",
        ),
    ] {
        assert_eq!(parse(page.as_bytes()).sample.unwrap_err().to_string(), error, "{page:?}");
    }
    let gzip = parse(&[0x1F, 0x8B, 8, 0, 0]).sample.unwrap_err();
    assert_eq!(gzip, PageError::NotText { looks_like: "gzip" });
}

#[test]
fn a_page_cut_anywhere_within_a_line_is_refused() {
    for end in 1..NODE.len() {
        if NODE.as_bytes()[end - 1] != b'\n' {
            let error = parse(&NODE.as_bytes()[..end]).sample.unwrap_err();
            assert!(matches!(error, PageError::Truncated { .. }), "{end}: {error}");
        }
    }
}

#[test]
fn lines_that_cost_themselves() {
    use LineErrorKind as E;
    for (line, kind) in [
        (&b"awscni_ip_max NaN"[..], E::NotFinite),
        (b"awscni_ip_max +Inf", E::NotFinite),
        (b"awscni_ip_max -Inf", E::NotFinite),
        (b"awscni_ip_max 1e999", E::NotFinite),
        (b"awscni_add_ip_req_count NaN", E::NotFinite),
        (b"awscni_add_ip_req_count -1", E::Negative),
        (b"awscni_aws_api_latency_ms_count{api=\"A\"} -1", E::Negative),
        (b"awscni_aws_api_latency_ms_sum{api=\"A\"} Inf", E::NotFinite),
        (b"awscni_aws_api_latency_ms_sum 5", E::MissingLabel("api")),
        (b"process_start_time_seconds NaN", E::NotFinite),
        (b"process_start_time_seconds 1e300", E::OutOfRange),
        (b"awscni_add_ip_req_count 9007199254740994", E::OutOfRange),
        (b"awscni_add_ip_req_count 1e300", E::OutOfRange),
        (b"awscni_aws_api_latency_ms_sum{api=\"A\"} 1e17", E::OutOfRange),
        (b"awscni_ip_max", E::MissingValue),
        (b"awscni_ip_max ", E::MissingValue),
        (b"awscni_ip_max{}", E::MissingValue),
        (b"awscni_ip_max=3", E::BadValue),
        (b"awscni_ip_max-3", E::BadValue),
        (b"awscni_ip_max 0x1b", E::BadValue),
        (b"awscni_ip_max 27 yesterday", E::TrailingText),
        (b"awscni_ip_max 27awscni_eni_allocated 3", E::BadValue),
        (b"awscni_eni_max 4", E::Duplicate),
        (b"awscni_eni_max{} 3", E::Duplicate),
        (b"awscni_ipamd_error_count{fn=\"a} 3", E::UnclosedLabels),
        (b"awscni_ipamd_error_count{fn=\"a\" 3", E::LabelSeparator),
        (b"awscni_ipamd_error_count{fn=\"a\",fn=\"b\"} 3", E::DuplicateLabel),
        (b"awscni_ipamd_error_count{fn=\"a\",,b=\"c\"} 3", E::LabelSeparator),
        (b"awscni_ipamd_error_count{fn=\"a\"b=\"c\"} 3", E::LabelSeparator),
        (b"awscni_ipamd_error_count{fn=\"\xFF\"} 3", E::NotUtf8),
        (b"awscni_ipamd_error_count{fn=\"a\"} \xFF", E::NotUtf8),
        (b"awscni_ipamd_error_count{fn=\"\\q\"} 3", E::LabelEscape),
        (b"# TYPE awscni_ip_max thing", E::UnknownType),
        (b"# TYPE awscni_ip_max", E::UnknownType),
        (b"\x00", E::NotAMetric),
        (b"9lives 3", E::NotAMetric),
        (b"\x1b[31mawscni_ip_max 3", E::NotAMetric),
    ] {
        assert_eq!(error_of(line), kind, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn spellings_that_are_fine() {
    for (line, sum) in [
        ("awscni_ip_max 27\r", 27.0),
        ("  awscni_ip_max \t 27\t", 27.0),
        ("awscni_ip_max{} 27", 27.0),
        ("awscni_ip_max 2.7e+01", 27.0),
        ("awscni_ip_max 27 1700000000000", 27.0),
        ("awscni_ip_max 27 # {trace=\"x\"} 1", 27.0),
        ("awscni_ip_max{b=\"1\",a=\"2\",} 27", 27.0),
        ("awscni_ip_max{ a = \"}, {=\" } 27", 27.0),
        ("awscni_ip_max{a=\"\\\"\\\\\\n\"} 27", 27.0),
        ("# TYPE awscni_ip_max counter\nawscni_ip_max 27", 27.0),
        ("# TYPE awscni_ip_max_more thing\nawscni_ip_max 27", 27.0),
        ("#\n\n# EOF\nawscni_ip_max 27", 27.0),
    ] {
        let sample = sample(&format!("{ENI_MAX}{line}\n"));
        assert_eq!(sample.get(Family::IpMax).unwrap().sum, sum, "{line}");
    }
    let counter_as_gauge = "# TYPE awscni_force_removed_ips gauge\nawscni_force_removed_ips 2\n# EOF";
    assert_eq!(sample(counter_as_gauge).get(Family::ForceRemovedIps).unwrap().sum, 2.0);
}

#[test]
fn a_whole_page_may_have_crlf() {
    assert_eq!(describe(&NODE.replace('\n', "\r\n")), describe(NODE));
}

#[test]
fn samples_under_an_unknown_type_still_count() {
    let parsed = parse(b"# TYPE awscni_ip_max thing\nawscni_ip_max 27\n");
    assert_eq!(parsed.error_count, 1);
    let own = parsed.sample.unwrap().get(Family::IpMax).unwrap();
    assert_eq!((own.sum, own.damaged), (27.0, false));
}

#[test]
fn a_bad_line_damages_its_family_only() {
    let page = b"awscni_ec2api_req_count{fn=\"A\"} 5\nawscni_ec2api_req_count{fn=\"B\"} x\nawscni_ip_max NaN\nawscni_eni_max 3\n";
    let sample = parse(page).sample.unwrap();
    let get = |family| sample.get(family).map(|own| (own.sum, own.damaged));
    assert_eq!(get(Family::Ec2ApiReqCount), Some((5.0, true)));
    assert_eq!(get(Family::IpMax), Some((0.0, true)));
    assert_eq!(get(Family::EniMax), Some((3.0, false)));
    assert_eq!(get(Family::EniAllocated), None);
}

#[test]
fn duplicates_are_found_however_they_are_written_and_wherever_they_are() {
    for (first, again) in [
        ("{api=\"A\",error=\"e\"}", "{error=\"e\",api=\"A\"}"),
        ("{api=\"A\",error=\"e\"}", "{ api=\"A\" , error=\"e\", }"),
        ("{api=\"A\",error=\"e\"}", "{api=\"A\",error=\"e\"}"),
    ] {
        let name = "awscni_aws_api_error_count";
        for between in ["", "awscni_eni_max 3\nawscni_aws_api_error_count{api=\"B\",error=\"e\"} 10\n"] {
            let page = format!("{name}{first} 1\n{between}{name}{again} 5\n");
            let parsed = parse(page.as_bytes());
            assert_eq!(parsed.errors.len(), 1, "{page}");
            assert_eq!(parsed.errors[0].kind, LineErrorKind::Duplicate);
            let own = parsed.sample.unwrap().get(Family::AwsApiErrorCount).unwrap();
            assert_eq!((own.sum, own.damaged), (if between.is_empty() { 1.0 } else { 11.0 }, false));
        }
    }
}

#[test]
fn series_in_any_order_add_up() {
    let page = "awscni_ec2api_req_count{fn=\"B\"} 5\nawscni_ec2api_req_count{fn=\"A\"} 2\nawscni_ec2api_req_count{fn=\"C\"} 1\n";
    assert_eq!(Reader::new(page.as_bytes(), Order::Ascending).read(usize::MAX), Err(Stop::OutOfOrder));
    assert_eq!(sample(page).get(Family::Ec2ApiReqCount).unwrap().sum, 8.0);
}

#[test]
fn a_sum_that_leaves_its_range_costs_the_line() {
    let most = "9007199254740992";
    for page in [
        "awscni_ip_max{x=\"A\"} 1e308\nawscni_ip_max{x=\"B\"} 1e308\n".to_owned(),
        format!("awscni_ec2api_req_count{{fn=\"A\"}} {most}\nawscni_ec2api_req_count{{fn=\"B\"}} {most}\n"),
        format!(
            "awscni_aws_api_latency_ms_sum{{api=\"CreateTags\"}} {most}\nawscni_aws_api_latency_ms_sum{{api=\"DescribeSubnets\"}} {most}\n"
        ),
        format!(
            "awscni_aws_api_latency_ms_count{{api=\"CreateTags\"}} {most}\nawscni_aws_api_latency_ms_count{{api=\"DescribeSubnets\"}} {most}\n"
        ),
    ] {
        let parsed = parse(page.as_bytes());
        assert_eq!(parsed.errors[0].kind, LineErrorKind::Overflow);
        let sample = parsed.sample.unwrap();
        assert!(sample.families.iter().flatten().all(|own| own.sum.is_finite() && own.damaged));
    }
}

#[test]
fn latency_is_added_up_per_ec2_operation() {
    let page = "awscni_aws_api_latency_ms{api=\"CreateTags\",error=\"false\",quantile=\"0.99\"} 99\n\
                awscni_aws_api_latency_ms_sum{api=\"CreateTags\",error=\"false\",status=\"200\"} 10\n\
                awscni_aws_api_latency_ms_count{api=\"CreateTags\",error=\"false\",status=\"200\"} 1\n\
                awscni_aws_api_latency_ms_sum{api=\"CreateTags\",error=\"true\",status=\"X\"} 30\n\
                awscni_aws_api_latency_ms_count{api=\"CreateTags\",error=\"true\",status=\"X\"} 3\n\
                awscni_aws_api_latency_ms_sum{api=\"AssignIpv6AddressesWithContext\",error=\"false\"} 7\n\
                awscni_aws_api_latency_ms_count{api=\"AssignIpv6AddressesWithContext\",error=\"false\"} 2\n\
                awscni_aws_api_latency_ms_sum{api=\"GetMetadata\",error=\"false\"} 9000\n\
                awscni_aws_api_latency_ms_count{api=\"GetMetadata\",error=\"false\"} 1\n\
                awscni_aws_api_latency_ms_sum{api=\"waitForENIAndIPsAttached\",error=\"false\"} 9000\n";
    let sample = sample(page);
    let operations = Ec2Operation::ALL.into_iter().zip(sample.latency);
    let found: Vec<_> =
        operations.filter_map(|(operation, own)| own.map(|own| (operation.name(), own.sum_ms, own.count))).collect();
    assert_eq!(found, [("AssignIpv6Addresses", 7.0, 2.0), ("CreateTags", 40.0, 4.0)]);
    assert_eq!(sample.get(Family::AwsApiLatencyMs).unwrap().sum, 47.0);
    assert!(sample.has_quantiles && sample.has_latency_counts);
}

#[test]
fn errors_are_bounded_counted_and_safe_to_print() {
    let bad = "awscni_ip_max{fn=\"\u{1b}[31m\u{202e}".to_owned() + &"x".repeat(200) + "\n";
    let page = format!("{ENI_MAX}{}", bad.repeat(50));
    let parsed = parse(page.as_bytes());
    assert_eq!((parsed.errors.len(), parsed.error_count), (MAX_LINE_ERRORS, 50));
    let shown = parsed.errors[0].to_string();
    assert!(shown.starts_with(r#"line 2: the labels do not end: awscni_ip_max{fn="\u{1b}[31m\u{202e}xxx"#), "{shown}");
    assert!(shown.ends_with("x…") && shown.len() < 160, "{shown}");
}

#[test]
fn text_in_two_bytes_a_character_is_named() {
    let wide = |page: &str, order: fn(u16) -> [u8; 2]| page.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    for page in [
        wide("\u{FEFF}# HELP x\r\n", u16::to_le_bytes),
        wide("\u{FEFF}# HELP x\r\n", u16::to_be_bytes),
        wide("awscni_ip_max 3\r\n", u16::to_le_bytes),
        wide("awscni_ip_max 3\r\n", u16::to_be_bytes),
    ] {
        let error = parse(&page).sample.unwrap_err();
        assert_eq!(error, PageError::Utf16);
        assert!(error.to_string().contains("save it as UTF-8"), "{error}");
    }
}

#[test]
fn several_pages_in_one_are_refused_and_one_repeated_series_is_not() {
    let three = NODE.repeat(3);
    let error = parse(three.as_bytes()).sample.unwrap_err();
    assert_eq!(error, PageError::SeveralPages);
    assert!(error.to_string().starts_with("several pages in one file"), "{error}");
    let twice = format!("{NODE}awscni_eni_max 3\nawscni_ip_max 3\nawscni_ip_max 3\n");
    let parsed = parse(twice.as_bytes());
    assert_eq!((parsed.error_count, parsed.sample.is_ok()), (3, true));
}

#[test]
fn a_line_that_lost_its_name_may_have_been_of_any_family() {
    let lost = |page: &str| parse(page.as_bytes()).sample.unwrap().has_lost_lines;
    assert!(lost("awscni_eni_max 3\n{\"awscni_ipamd_error_count\",fn=\"a\"} 1\n"));
    assert!(lost("awscni_eni_max 3\n...\n"));
    for whole in [
        "awscni_eni_max 3\n",
        "awscni_eni_max 3\n# TYPE awscni_ip_max thing\n\n",
        "awscni_eni_max 3\nawscni_ip_max x\n",
    ] {
        assert!(!lost(whole), "{whole}");
    }
}

#[test]
fn the_series_of_a_page_are_bounded() {
    let page = |series: u32| {
        let lines = (0..series).rev().map(|at| format!("awscni_ipamd_error_count{{fn=\"{at}\"}} 1\n"));
        lines.collect::<Vec<_>>().concat()
    };
    assert_eq!(sample(&page(MAX_SERIES)).get(Family::IpamdErrorCount).unwrap().sum, f64::from(MAX_SERIES));
    let error = parse(page(MAX_SERIES + 1).as_bytes()).sample.unwrap_err();
    assert_eq!((error.kind(), error), (crate::model::FailureKind::TooLarge, PageError::TooManySeries));
}

#[test]
fn lines_and_labels_are_bounded() {
    let long = "x".repeat(MAX_LINE_BYTES);
    assert_eq!(error_of(format!("awscni_ipamd_error_count{{fn=\"{long}\"}} 1").as_bytes()), LineErrorKind::TooLong);
    assert_eq!(error_of(format!("awscni_ip_max 1{}", " ".repeat(MAX_LINE_BYTES)).as_bytes()), LineErrorKind::TooLong);
    assert_eq!(error_of(format!("awscni_ipamd_error_count{{fn=\"a\"}} 1{long}").as_bytes()), LineErrorKind::TooLong);
    let labels = (0..65).map(|at| format!("l{at}=\"\",")).collect::<Vec<_>>().concat();
    assert_eq!(error_of(format!("awscni_ip_max{{{labels}}} 1").as_bytes()), LineErrorKind::TooManyLabels);
    let spaces = parse(format!("{}x\n{ENI_MAX}", " ".repeat(2 * MAX_LINE_BYTES)).as_bytes());
    assert_eq!((spaces.error_count, spaces.errors[0].kind), (1, LineErrorKind::NotAMetric));
}

#[test]
fn any_steps_give_what_one_reading_gives() {
    let out_of_order =
        format!("awscni_pod_eni_error_count{{fn=\"b\"}} 0\nawscni_pod_eni_error_count{{fn=\"a\"}} 0\n{NODE}");
    let damaged = format!("{NODE}awscni_ipamd_error_count{{fn=\"~\"}} x\n");
    let many = "awscni_eni_max 3\n".repeat(10_001);
    for page in [NODE, OLD_AGENT, IPV6, &out_of_order, &damaged, &many, "", "<html>", "awscni_eni_max 3"] {
        for bytes in [0, 1, 7, 100, 1000, STEP_BYTES] {
            let (mut parser, mut steps) = (Parser::new(page.as_bytes()), 1);
            let parsed = loop {
                match parser.step(bytes) {
                    Progress::More(next) => (parser, steps) = (next, steps + 1),
                    Progress::Done(parsed) => break parsed,
                }
            };
            assert_eq!(parsed, parse(page.as_bytes()));
            assert!(steps <= 2 + 2 * page.len() / bytes.max(1), "a step reads at least what it is asked to");
        }
    }
}

#[test]
fn the_agents_version_is_read_where_the_page_tells_it() {
    let version = |line: &str| sample(&format!("{ENI_MAX}{line}\n")).version.map(|version| version.to_string());
    for line in [
        "awscni_build_info{goversion=\"go1.24.5\",version=\"v1.21.1\"} 1",
        "awscni_build_info{version=\"v1.21.1\",goversion=\"go1.24.5\"} 1",
        "awscni_build_info{ goversion=\"v9.9.9\" , version=\"v1.21.1-eksbuild.1\" } 1",
    ] {
        assert_eq!(version(line).as_deref(), Some("v1.21.1"), "{line}");
    }
    for line in [
        "awscni_build_info{goversion=\"go1.26.4\",version=\"\"} 1",
        "awscni_build_info{goversion=\"1.26.4\"} 1",
        "awscni_build_info{version=\"unknown\"} 1",
        "awscni_build_info 1",
        "awscni_build_info_total{version=\"v1.2.3\"} 1",
    ] {
        assert_eq!(version(line), None, "{line}");
    }
}

#[test]
fn a_damaged_counter_tells_which_series_could_be_read() {
    let readable = |lines: &[&str]| {
        let page = lines.iter().map(|line| format!("awscni_ipamd_error_count{line}\n")).collect::<Vec<_>>().concat();
        parse(page.as_bytes()).sample.unwrap().get(Family::IpamdErrorCount).unwrap().readable
    };
    let one = readable(&["{fn=\"a\"} 1", "{fn=\"b\"} x"]);
    assert_ne!(one, 0);
    assert_eq!(one, readable(&["{fn=\"b\"} y", "{fn=\"a\"} 5"]), "the same series, whatever its value and place");
    assert_ne!(one, readable(&["{fn=\"a\"} x", "{fn=\"b\"} 1"]));
    assert_ne!(one, readable(&["{fn=\"a\"} 1", "{fn=\"b\"} x", "{fn=\"c\"} 1"]));
    assert_eq!(readable(&["{fn=\"a\"} 1", "{fn=\"b\"} 1"]), 0, "nothing is lost");
}
