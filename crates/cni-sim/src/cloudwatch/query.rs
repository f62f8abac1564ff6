//! Read requests as values.

use super::put::member;
use super::statistic::Statistic;
use super::store::SeriesKey;
use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use std::ops::Range;

/// What one query of `GetMetricData` asks for.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Metric { key: SeriesKey, period_s: i64, statistic: Statistic, unit: Option<String> },
    Expression(String),
}

/// One query of `GetMetricData`.
#[derive(Debug, Clone)]
pub(super) struct MetricQuery {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) returned: bool,
    pub(super) source: Source,
}

impl MetricQuery {
    pub(super) fn decode(item: &Doc) -> Result<Self, AwsError> {
        let id = required_text(item, "Id")?;
        let starts_small = id.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_small || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(AwsError::new(400, "ValidationError", format!("The value {id} for parameter Id is invalid.")));
        }
        let source = match (item.get("MetricStat"), item.get("Expression").and_then(Doc::as_text)) {
            (Some(stat), None) => decode_stat(stat)?,
            (None, Some(expression)) => Source::Expression(expression.to_owned()),
            _ => {
                let message = format!("Query {id} must have either MetricStat or Expression.");
                return Err(AwsError::new(400, "ValidationError", message));
            }
        };
        let default_label = match &source {
            Source::Metric { key, .. } => key.name.clone(),
            Source::Expression(_) => id.clone(),
        };
        let label = member(item, "Label", Doc::as_text)?.map_or(default_label, str::to_owned);
        let returned = member(item, "ReturnData", Doc::as_bool)?.unwrap_or(true);
        Ok(Self { id, label, returned, source })
    }
}

fn decode_stat(stat: &Doc) -> Result<Source, AwsError> {
    let metric = stat.get("Metric").ok_or_else(|| required("Metric"))?;
    let name = required_text(stat, "Stat")?;
    let statistic = Statistic::parse(&name).ok_or_else(|| {
        AwsError::new(400, "ValidationError", format!("The value {name} for parameter Stat is invalid."))
    })?;
    let unit = member(stat, "Unit", Doc::as_text)?.map(str::to_owned);
    Ok(Source::Metric { key: decode_key(metric)?, period_s: decode_period(stat)?, statistic, unit })
}

/// Namespace, name and dimensions of exactly one series.
pub(super) fn decode_key(item: &Doc) -> Result<SeriesKey, AwsError> {
    let (namespace, name) = (required_text(item, "Namespace")?, required_text(item, "MetricName")?);
    let mut pairs = Vec::new();
    for dimension in member(item, "Dimensions", Doc::list)?.unwrap_or_default() {
        pairs.push((required_text(dimension, "Name")?, required_text(dimension, "Value")?));
    }
    pairs.sort();
    Ok(SeriesKey { namespace, name, dimensions: pairs })
}

/// 1, 5, 10, 20, 30 or a multiple of 60 seconds.
pub(super) fn decode_period(item: &Doc) -> Result<i64, AwsError> {
    let period = member(item, "Period", Doc::as_i64)?.ok_or_else(|| required("Period"))?;
    let allowed = matches!(period, 1 | 5 | 10 | 20 | 30) || (period > 0 && period % 60 == 0);
    let wrong = || AwsError::invalid_value("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.");
    if allowed { Ok(period) } else { Err(wrong()) }
}

/// Start and end, in that order.
pub(super) fn decode_range(input: &Doc) -> Result<Range<i64>, AwsError> {
    let start = member(input, "StartTime", Doc::as_time_ms)?.ok_or_else(|| required("StartTime"))?;
    let end = member(input, "EndTime", Doc::as_time_ms)?.ok_or_else(|| required("EndTime"))?;
    if start >= end {
        return Err(AwsError::shaped(
            400,
            "ValidationError",
            "ValidationException",
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    Ok(start..end)
}

pub(super) fn required_text(item: &Doc, name: &str) -> Result<String, AwsError> {
    member(item, name, Doc::as_text)?.map(str::to_owned).ok_or_else(|| required(name))
}

pub(super) fn required(name: &str) -> AwsError {
    AwsError::missing(format!("The parameter {name} is required."))
}
