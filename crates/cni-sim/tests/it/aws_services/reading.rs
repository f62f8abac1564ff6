//! Reading back: periods, pages, units, metric math, and the errors of each.

use cni_sim::aws::{cbor, doc::Doc};

use super::harness::{NOW_MS, Reply};
use super::protocols::{Protocol, Service, dimension, error_of, put};

/// Puts values at seconds relative to now.
async fn given(name: &str, unit: &str, resolution: i64, points: &[(i64, f64)]) -> Service {
    let service = Service::start().await;
    add(&service, name, unit, resolution, points).await;
    service
}

async fn add(service: &Service, name: &str, unit: &str, resolution: i64, points: &[(i64, f64)]) {
    let datum = |&(seconds, value): &(i64, f64)| {
        Doc::map([
            ("MetricName", Doc::text(name)),
            ("Timestamp", Doc::Time(NOW_MS + seconds * 1000)),
            ("Value", Doc::Float(value)),
            ("Unit", Doc::text(unit)),
            ("StorageResolution", Doc::Int(resolution)),
        ])
    };
    let reply = service.call(Protocol::Cbor, "PutMetricData", &put(points.iter().map(datum).collect())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn window(from_s: i64, to_s: i64) -> Doc {
    Doc::map([("StartTime", Doc::Time(NOW_MS + from_s * 1000)), ("EndTime", Doc::Time(NOW_MS + to_s * 1000))])
}

fn stat(id: &str, name: &str, period_s: i64, statistic: &str) -> Doc {
    let metric = Doc::map([("Namespace", Doc::text("Kubernetes")), ("MetricName", Doc::text(name))]);
    let stat = Doc::map([("Metric", metric), ("Period", Doc::Int(period_s)), ("Stat", Doc::text(statistic))]);
    Doc::map([("Id", Doc::text(id)), ("MetricStat", stat)])
}

fn expression(id: &str, text: &str) -> Doc {
    Doc::map([("Id", Doc::text(id)), ("Expression", Doc::text(text))])
}

async fn get(service: &Service, queries: Vec<Doc>, rest: Doc) -> Reply {
    let input = rest.with("MetricDataQueries", Doc::List(queries)).with("ScanBy", Doc::text("TimestampAscending"));
    service.call(Protocol::Cbor, "GetMetricData", &input).await
}

/// Seconds relative to now and value of each point, a list a result.
fn results(reply: &Reply) -> Vec<(String, Vec<(i64, f64)>)> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let doc = cbor::decode(&reply.body).unwrap();
    let of = |result: &Doc| {
        let list = |name| result.get(name).and_then(Doc::list).unwrap().iter();
        let times = list("Timestamps").map(|at| (at.as_time_ms().unwrap() - NOW_MS) / 1000);
        let values = list("Values").map(|value| value.as_f64().unwrap());
        let id = result.get("Id").and_then(Doc::as_text).unwrap();
        let status = result.get("StatusCode").and_then(Doc::as_text).unwrap();
        (format!("{id} {status}"), times.zip(values).collect())
    };
    doc.get("MetricDataResults").and_then(Doc::list).unwrap().iter().map(of).collect()
}

#[test]
async fn the_end_is_exclusive_and_standard_points_stand_at_their_minute() {
    let service = given("m", "Count", 60, &[(-120, 1.0), (-61, 2.0), (-60, 3.0), (-1, 4.0), (0, 5.0)]).await;
    let found = results(&get(&service, vec![stat("q", "m", 60, "Sum")], window(-120, 0)).await);
    assert_eq!(found, [("q Complete".to_owned(), vec![(-120, 3.0), (-60, 7.0)])]);
    let found = results(&get(&service, vec![stat("q", "m", 300, "Maximum")], window(-240, 60)).await);
    assert_eq!(found[0].1, [(-240, 5.0)]);
}

#[test]
async fn high_resolution_keeps_its_seconds() {
    let service = given("m", "Count", 1, &[(-20, 1.0), (-15, 2.0), (-11, 3.0), (-10, 4.0)]).await;
    let found = results(&get(&service, vec![stat("q", "m", 10, "Sum")], window(-20, 0)).await);
    assert_eq!(found[0].1, [(-20, 6.0), (-10, 4.0)]);
}

#[test]
async fn pages_say_what_is_still_to_come() {
    let points: Vec<_> = (0..5).map(|i| (-600 + 60 * i, i as f64)).collect();
    let service = given("m", "Count", 60, &points).await;
    let queries = vec![stat("a", "m", 60, "Sum"), stat("none", "other", 60, "Sum"), stat("b", "m", 60, "Sum")];
    let first = get(&service, queries.clone(), window(-600, 0).with("MaxDatapoints", Doc::Int(7))).await;
    let shown: Vec<_> = results(&first).into_iter().map(|(name, points)| (name, points.len())).collect();
    let expected = [("a Complete", 5), ("none Complete", 0), ("b PartialData", 2)];
    assert_eq!(shown, expected.map(|(name, count)| (name.to_owned(), count)));
    let token = cbor::decode(&first.body).unwrap().get("NextToken").unwrap().clone();
    let rest = window(-600, 0).with("MaxDatapoints", Doc::Int(7)).with("NextToken", token);
    let second = get(&service, queries, rest).await;
    assert_eq!(results(&second), [("b Complete".to_owned(), vec![(-480, 2.0), (-420, 3.0), (-360, 4.0)])]);
    assert!(cbor::decode(&second.body).unwrap().get("NextToken").is_none());
}

#[test]
async fn math_over_metrics_and_over_other_expressions() {
    let service = given("used", "Count", 60, &[(-120, 30.0), (-60, 45.0)]).await;
    add(&service, "max", "Count", 60, &[(-120, 60.0), (-60, 60.0)]).await;
    let queries = vec![
        stat("used", "used", 60, "Average"),
        stat("max", "max", 60, "Average"),
        expression("share", "100 * used / max"),
        expression("free", "100 - share"),
        expression("all", "SUM(METRICS())"),
    ];
    let found = results(&get(&service, queries, window(-120, 0)).await);
    let series: Vec<_> = found.into_iter().map(|(_, points)| points).skip(2).collect();
    assert_eq!(series[0], [(-120, 50.0), (-60, 75.0)]);
    assert_eq!(series[1], [(-120, 50.0), (-60, 25.0)]);
    assert_eq!(series[2], [(-120, 90.0), (-60, 105.0)]);
}

#[test]
async fn queries_that_make_no_sense_are_errors() {
    let service = given("m", "Count", 60, &[(-60, 1.0)]).await;
    let sound = || stat("q", "m", 60, "Sum");
    for (case, queries, range, code) in [
        ("backwards", vec![sound()], window(0, -60), "ValidationError"),
        ("circle", vec![expression("a", "b + 1"), expression("b", "a + 1")], window(-60, 0), "ValidationError"),
        ("unknown id", vec![expression("a", "c + 1")], window(-60, 0), "ValidationError"),
        ("no series", vec![expression("a", "1 + 1")], window(-60, 0), "ValidationError"),
        ("twice", vec![sound(), sound()], window(-60, 0), "ValidationError"),
        ("capital id", vec![stat("Q", "m", 60, "Sum")], window(-60, 0), "ValidationError"),
        ("statistic", vec![stat("q", "m", 60, "Mean")], window(-60, 0), "ValidationError"),
        ("period", vec![stat("q", "m", 7, "Sum")], window(-60, 0), "InvalidParameterValue"),
        ("token", vec![sound()], window(-60, 0).with("NextToken", Doc::text("list-1")), "InvalidNextToken"),
        ("no time", vec![sound()], Doc::map([]), "MissingParameter"),
    ] {
        let reply = get(&service, queries, range).await;
        assert_eq!((reply.status.as_u16(), error_of(Protocol::Cbor, &reply).0.as_str()), (400, code), "{case}");
    }
}

#[test]
async fn statistics_keep_units_apart_and_their_number_bounded() {
    let service = given("m", "Count", 60, &[(-60, 1.0)]).await;
    add(&service, "m", "Bytes", 60, &[(-60, 10.0)]).await;
    let input = |range: Doc| {
        range
            .with("Namespace", Doc::text("Kubernetes"))
            .with("MetricName", Doc::text("m"))
            .with("Period", Doc::Int(60))
            .with("Statistics", Doc::List(vec![Doc::text("Sum")]))
    };
    let sums = |reply: &Reply| -> Vec<(String, f64)> {
        let doc = cbor::decode(&reply.body).unwrap();
        let of = |point: &Doc| {
            let unit = point.get("Unit").and_then(Doc::as_text).unwrap().to_owned();
            (unit, point.get("Sum").and_then(Doc::as_f64).unwrap())
        };
        doc.get("Datapoints").and_then(Doc::list).unwrap().iter().map(of).collect()
    };
    let both = service.call(Protocol::Cbor, "GetMetricStatistics", &input(window(-60, 0))).await;
    assert_eq!(sums(&both), [("Count".to_owned(), 1.0), ("Bytes".to_owned(), 10.0)]);
    let one = input(window(-60, 0)).with("Unit", Doc::text("Bytes"));
    let one = service.call(Protocol::Cbor, "GetMetricStatistics", &one).await;
    assert_eq!(sums(&one), [("Bytes".to_owned(), 10.0)]);
    let day = 86_400;
    for (range, status) in [(window(-day, 0), 200), (window(-day - 60, 0), 400)] {
        let reply = service.call(Protocol::Cbor, "GetMetricStatistics", &input(range)).await;
        assert_eq!(reply.status, status, "1,440 points are the limit: {reply:?}");
    }
}

#[test]
async fn lists_filter_by_part_of_the_dimensions_and_by_activity() {
    let service = given("old", "Count", 60, &[(-4 * 3600, 1.0)]).await;
    let two = Doc::List(vec![dimension("CLUSTER_ID", "a"), dimension("SHARD", "1")]);
    let datum = Doc::map([("MetricName", Doc::text("new")), ("Dimensions", two), ("Value", Doc::Int(1))]);
    assert_eq!(service.call(Protocol::Cbor, "PutMetricData", &put(vec![datum])).await.status, 200);
    let names = async |input: Doc| -> Vec<String> {
        let reply = service.call(Protocol::Cbor, "ListMetrics", &input).await;
        let doc = cbor::decode(&reply.body).unwrap();
        let name = |metric: &Doc| metric.get("MetricName").and_then(Doc::as_text).unwrap().to_owned();
        doc.get("Metrics").and_then(Doc::list).unwrap().iter().map(name).collect()
    };
    let by = |name: &str| Doc::map([("Dimensions", Doc::List(vec![Doc::map([("Name", Doc::text(name))])]))]);
    assert_eq!(names(Doc::map([])).await, ["new", "old"]);
    assert_eq!(names(by("SHARD")).await, ["new"]);
    assert!(names(by("NODE")).await.is_empty());
    assert_eq!(names(Doc::map([("RecentlyActive", Doc::text("PT3H"))])).await, ["new"]);
    assert!(names(Doc::map([("Namespace", Doc::text("Other"))])).await.is_empty());
}
