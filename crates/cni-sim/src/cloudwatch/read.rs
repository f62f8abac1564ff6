//! Reading metrics back.

use super::math::{self, Points, Value};
use super::put::member;
use super::query::{MetricQuery, Source, decode_key, decode_period, decode_range, required};
use super::statistic::{Statistic, aggregate};
use super::store::{CloudWatchStore, SeriesKey};
use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use std::collections::BTreeMap;
use std::ops::Range;

const LIST_PAGE: usize = 500;
const MAX_QUERIES: usize = 500;
const MAX_DATAPOINTS: usize = 100_800;
const MAX_STATISTICS_DATAPOINTS: i64 = 1440;
const RECENTLY_ACTIVE_MS: i64 = 3 * 3_600_000;

pub(super) fn list_metrics(store: &CloudWatchStore, input: &Doc, now_ms: i64) -> Result<Doc, AwsError> {
    let namespace = member(input, "Namespace", Doc::as_text)?;
    let name = member(input, "MetricName", Doc::as_text)?;
    let mut wanted = Vec::new();
    for filter in member(input, "Dimensions", Doc::list)?.unwrap_or_default() {
        let filter_name = member(filter, "Name", Doc::as_text)?.ok_or_else(|| required("Dimensions.Name"))?;
        wanted.push((filter_name, member(filter, "Value", Doc::as_text)?));
    }
    let recent = member(input, "RecentlyActive", Doc::as_text)?.is_some();
    let has = |key: &SeriesKey, (name, value): &(&str, Option<&str>)| {
        key.dimensions.iter().any(|(n, v)| n == name && value.is_none_or(|value| value == v))
    };
    let mut metrics: Vec<_> = store.keys();
    metrics.retain(|(key, latest_ms)| {
        namespace.is_none_or(|namespace| namespace == key.namespace)
            && name.is_none_or(|name| name == key.name)
            && (!recent || *latest_ms >= now_ms - RECENTLY_ACTIVE_MS)
            && wanted.iter().all(|filter| has(key, filter))
    });
    let start = decode_token(input, "list-")?;
    let page: Vec<Doc> = metrics.iter().skip(start).take(LIST_PAGE).map(|(key, _)| metric(key)).collect();
    let next = start + page.len();
    let output = Doc::map([("Metrics", Doc::List(page))]);
    Ok(if next < metrics.len() { output.with("NextToken", Doc::Text(format!("list-{next}"))) } else { output })
}

fn metric(key: &SeriesKey) -> Doc {
    let dimensions = key.dimensions.iter();
    let dimensions = dimensions
        .map(|(name, value)| Doc::map([("Name", Doc::text(name.as_str())), ("Value", Doc::text(value.as_str()))]));
    Doc::map([
        ("Namespace", Doc::text(key.namespace.as_str())),
        ("MetricName", Doc::text(key.name.as_str())),
        ("Dimensions", Doc::List(dimensions.collect())),
    ])
}

pub(super) fn get_metric_statistics(store: &CloudWatchStore, input: &Doc) -> Result<Doc, AwsError> {
    let (key, range, period_s) = (decode_key(input)?, decode_range(input)?, decode_period(input)?);
    let basic = decode_statistics(input, "Statistics")?;
    let extended = decode_statistics(input, "ExtendedStatistics")?;
    if basic.is_empty() && extended.is_empty() {
        return Err(AwsError::missing("The parameter Statistics or ExtendedStatistics is required."));
    }
    let requested = (range.end - range.start) / (period_s * 1000);
    if requested > MAX_STATISTICS_DATAPOINTS {
        return Err(AwsError::invalid_combination(format!(
            "You have requested up to {requested} datapoints, which exceeds the limit of {MAX_STATISTICS_DATAPOINTS}. \
             You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )));
    }
    let unit = member(input, "Unit", Doc::as_text)?;
    let mut datapoints = Vec::new();
    for (at_ms, buckets) in aggregate(&store.series_of(&key), range, period_s, unit) {
        for bucket in buckets {
            let mut point = Doc::map([("Timestamp", Doc::Time(at_ms)), ("Unit", Doc::text(bucket.unit.as_str()))]);
            let values = |wanted: &[(String, Statistic)]| -> Vec<(String, Doc)> {
                let of = |(name, statistic): &(String, Statistic)| {
                    bucket.evaluate(*statistic).map(|value| (name.clone(), Doc::Float(value)))
                };
                wanted.iter().filter_map(of).collect()
            };
            for (name, value) in values(&basic) {
                point = point.with(&name, value);
            }
            if !extended.is_empty() {
                point = point.with("ExtendedStatistics", Doc::Dict(values(&extended)));
            }
            datapoints.push(point);
        }
    }
    Ok(Doc::map([("Label", Doc::Text(key.name)), ("Datapoints", Doc::List(datapoints))]))
}

fn decode_statistics(input: &Doc, list: &str) -> Result<Vec<(String, Statistic)>, AwsError> {
    let names = member(input, list, Doc::list)?.unwrap_or_default().iter().map(|name| name.as_text().unwrap_or(""));
    let parse = |name: &str| {
        let wrong = || AwsError::invalid_value(format!("The value {name} for parameter {list} is invalid."));
        Statistic::parse(name).map(|statistic| (name.to_owned(), statistic)).ok_or_else(wrong)
    };
    names.map(parse).collect()
}

pub(super) fn get_metric_data(store: &CloudWatchStore, input: &Doc) -> Result<Doc, AwsError> {
    let range = decode_range(input)?;
    let items = member(input, "MetricDataQueries", Doc::list)?.ok_or_else(|| required("MetricDataQueries"))?;
    let invalid = |message: String| AwsError::shaped(400, "ValidationError", "ValidationException", message);
    if items.len() > MAX_QUERIES {
        return Err(invalid(format!(
            "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )));
    }
    let queries = items.iter().map(MetricQuery::decode).collect::<Result<Vec<_>, _>>()?;
    for (index, query) in queries.iter().enumerate() {
        if queries[..index].iter().any(|earlier| earlier.id == query.id) {
            return Err(invalid(format!(
                "The values for parameter id in MetricDataQueries are not unique: {}.",
                query.id
            )));
        }
    }
    let descending = match member(input, "ScanBy", Doc::as_text)? {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => return Err(invalid(format!("The value {other} for parameter ScanBy is invalid."))),
    };
    let limit = member(input, "MaxDatapoints", Doc::as_i64)?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_DATAPOINTS).clamp(1, MAX_DATAPOINTS);
    let mut results = Vec::new();
    let evaluation = Evaluation { store, range, queries: &queries };
    for query in queries.iter().filter(|query| query.returned) {
        results.extend(evaluation.results(query, descending).map_err(invalid)?);
    }
    Ok(page_of(&results, decode_token(input, "data-")?, limit))
}

/// The queries of one request; an expression may name any of them.
struct Evaluation<'a> {
    store: &'a CloudWatchStore,
    range: Range<i64>,
    queries: &'a [MetricQuery],
}

/// One series of an answer.
struct Series {
    id: String,
    label: String,
    points: Vec<(i64, f64)>,
}

impl Evaluation<'_> {
    fn results(&self, query: &MetricQuery, descending: bool) -> Result<Vec<Series>, String> {
        let all = match self.value(query, 0)? {
            Value::Series(points) => vec![points],
            Value::Array(all) => all,
            Value::Scalar(_) => return Err(format!("Expression {} must return a time series.", query.id)),
        };
        let series = |points: Points| {
            let mut points: Vec<_> = points.into_iter().collect();
            if descending {
                points.reverse();
            }
            Series { id: query.id.clone(), label: query.label.clone(), points }
        };
        Ok(all.into_iter().map(series).collect())
    }

    fn value(&self, query: &MetricQuery, depth: usize) -> Result<Value, String> {
        match &query.source {
            Source::Metric { .. } => Ok(Value::Series(self.points(query))),
            // Ids are unique, so a chain longer than the queries is a circle.
            Source::Expression(_) if depth > self.queries.len() => Err(format!("Query {} refers to itself.", query.id)),
            Source::Expression(text) => math::evaluate(text, &|name| match name {
                None => {
                    Ok(Value::Array(self.queries.iter().filter(|q| q.is_metric()).map(|q| self.points(q)).collect()))
                }
                Some(id) => {
                    let named = self.queries.iter().find(|other| other.id == id);
                    self.value(named.ok_or_else(|| format!("Undefined variable '{id}'"))?, depth + 1)
                }
            }),
        }
    }

    fn points(&self, query: &MetricQuery) -> Points {
        let Source::Metric { key, period_s, statistic, unit } = &query.source else { return BTreeMap::new() };
        let buckets = aggregate(&self.store.series_of(key), self.range.clone(), *period_s, unit.as_deref());
        let value = |at_ms, bucket: &super::statistic::PeriodSamples| Some((at_ms, bucket.evaluate(*statistic)?));
        buckets.iter().filter_map(|(at_ms, buckets)| buckets.first().and_then(|bucket| value(*at_ms, bucket))).collect()
    }
}

impl MetricQuery {
    fn is_metric(&self) -> bool {
        matches!(self.source, Source::Metric { .. })
    }
}

/// Points `start..start + limit` of all series laid end to end. A series without points shows on the first page.
fn page_of(series: &[Series], start: usize, limit: usize) -> Doc {
    let total: usize = series.iter().map(|one| one.points.len()).sum();
    let end = total.min(start.saturating_add(limit));
    let (mut offset, mut results) = (0, Vec::new());
    for one in series {
        let (from, to) = (offset, offset + one.points.len());
        offset = to;
        let shown = start.clamp(from, to)..end.clamp(from, to);
        if shown.is_empty() && !(one.points.is_empty() && start == 0) {
            continue;
        }
        let points = &one.points[shown.start - from..shown.end - from];
        let status = if shown.end < to { "PartialData" } else { "Complete" };
        results.push(Doc::map([
            ("Id", Doc::text(one.id.as_str())),
            ("Label", Doc::text(one.label.as_str())),
            ("Timestamps", Doc::List(points.iter().map(|(at_ms, _)| Doc::Time(*at_ms)).collect())),
            ("Values", Doc::List(points.iter().map(|(_, value)| Doc::Float(*value)).collect())),
            ("StatusCode", Doc::text(status)),
        ]));
    }
    let output = Doc::map([("MetricDataResults", Doc::List(results)), ("Messages", Doc::List(Vec::new()))]);
    if end < total { output.with("NextToken", Doc::Text(format!("data-{end}"))) } else { output }
}

/// Where the last page ended; a token of another operation, or an invented one, is an error.
fn decode_token(input: &Doc, prefix: &str) -> Result<usize, AwsError> {
    let Some(token) = member(input, "NextToken", Doc::as_text)? else { return Ok(0) };
    let offset = token.strip_prefix(prefix).and_then(|offset| offset.parse().ok());
    offset.ok_or_else(|| AwsError::new(400, "InvalidNextToken", "The specified NextToken is invalid."))
}
