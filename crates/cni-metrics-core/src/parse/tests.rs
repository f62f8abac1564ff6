//! Whole pages, good and bad.

#![expect(clippy::float_cmp, reason = "whole numbers are exact, and exactness is what is tested")]

use std::fmt::Write as _;

use super::reader::{Order, read};
use super::*;
use crate::catalogue::Family;
use crate::model::FOLLOWED_APIS;

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
    let mut text = format!("start {:?} quantiles {}\n", sample.process_start_seconds, sample.has_quantiles);
    for family in Family::ALL {
        let shown = sample.get(family).map_or("-".to_owned(), |own| own.sum.to_string());
        writeln!(text, "{} {shown}", family.name()).unwrap();
    }
    for api in sample.latency {
        writeln!(text, "{}: {} ms / {}, p99 {:?}", api.api, api.sum_ms, api.count, api.p99_ms).unwrap();
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
        let ascending = read(page.as_bytes(), Order::Ascending).unwrap();
        let any = read(page.as_bytes(), Order::Any).unwrap();
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
        (b"awscni_aws_api_latency_ms 5", E::MissingLabel("quantile")),
        (b"awscni_aws_api_latency_ms{quantile=\"0.99\"} 5", E::MissingLabel("api")),
        (b"awscni_aws_api_latency_ms{api=\"A\",quantile=\"0.99\"} Inf", E::NotFinite),
        (b"process_start_time_seconds NaN", E::NotFinite),
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
    assert!(read(page.as_bytes(), Order::Ascending).is_none());
    assert_eq!(sample(page).get(Family::Ec2ApiReqCount).unwrap().sum, 8.0);
}

#[test]
fn a_sum_that_overflows_costs_the_line() {
    for page in [
        "awscni_ec2api_req_count{fn=\"A\"} 1e308\nawscni_ec2api_req_count{fn=\"B\"} 1e308\n",
        "awscni_aws_api_latency_ms_sum{api=\"A\"} 1e308\nawscni_aws_api_latency_ms_sum{api=\"B\"} 1e308\n",
        "awscni_aws_api_latency_ms_count{api=\"A\"} 1e308\nawscni_aws_api_latency_ms_count{api=\"B\"} 1e308\n",
    ] {
        let parsed = parse(page.as_bytes());
        assert_eq!(parsed.errors[0].kind, LineErrorKind::Overflow);
        let sample = parsed.sample.unwrap();
        assert!(sample.families.iter().flatten().all(|own| own.sum.is_finite() && own.damaged));
        assert!(sample.latency.iter().all(|api| api.sum_ms.is_finite() && api.count.is_finite()));
    }
}

#[test]
fn latency_is_added_up_per_api() {
    let page = "awscni_aws_api_latency_ms_sum{api=\"B\",error=\"false\",status=\"200\"} 10\n\
                awscni_aws_api_latency_ms_count{api=\"B\",error=\"false\",status=\"200\"} 1\n\
                awscni_aws_api_latency_ms_sum{api=\"B\",error=\"true\",status=\"X\"} 30\n\
                awscni_aws_api_latency_ms_count{api=\"B\",error=\"true\",status=\"X\"} 3\n\
                awscni_aws_api_latency_ms_sum{api=\"A\",error=\"false\"} 7\n\
                awscni_aws_api_latency_ms_count{api=\"A\",error=\"false\"} 2\n";
    let sample = sample(page);
    let apis: Vec<_> = sample.latency.iter().map(|api| (&*api.api, api.sum_ms, api.count)).collect();
    assert_eq!(apis, [("A", 7.0, 2.0), ("B", 40.0, 4.0)]);
    assert_eq!(sample.get(Family::AwsApiLatencyMs).unwrap().sum, 47.0);
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
fn latencies_of_too_many_apis_are_left_out_and_reported() {
    let mut page = String::new();
    // Twice over and in no order, so that lines of a followed API come after those that are not.
    for error in ["false", "true"] {
        for api in (0..600).rev() {
            writeln!(page, "awscni_aws_api_latency_ms_sum{{api=\"{api}\",error=\"{error}\"}} 2").unwrap();
            writeln!(page, "awscni_aws_api_latency_ms_count{{api=\"{api}\",error=\"{error}\"}} 1").unwrap();
        }
    }
    let parsed = parse(page.as_bytes());
    let sample = parsed.sample.unwrap();
    assert_eq!(sample.latency.len(), FOLLOWED_APIS);
    assert!(sample.latency.iter().all(|api| api.sum_ms.total_cmp(&4.0).is_eq() && api.count.total_cmp(&2.0).is_eq()));
    assert_eq!(parsed.error_count, 4 * (600 - FOLLOWED_APIS as u64));
    assert!(parsed.errors.iter().all(|error| error.kind == LineErrorKind::TooManyApis));
    assert!(!sample.get(Family::AwsApiLatencyMs).unwrap().damaged);
}
