//! A `PutMetricData` request as a value: kinds are checked here, ranges in `limits`.

use crate::aws::doc::Doc;
use crate::aws::error::AwsError;

/// A request as the client wrote it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Put {
    pub(super) namespace: Option<String>,
    /// The data of `MetricData`, then those of `EntityMetricData`.
    pub(super) data: Vec<GivenDatum>,
    pub(super) entity_count: usize,
}

/// One datum as the client wrote it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct GivenDatum {
    /// Where it stands, as AWS names it in errors: `MetricData.member.1`.
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) dimensions: Vec<Dimension>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) value: Option<f64>,
    pub(super) statistics: Option<StatisticSet>,
    pub(super) values: Option<Vec<f64>>,
    pub(super) counts: Option<Vec<f64>>,
    pub(super) unit: Option<String>,
    pub(super) resolution_s: Option<i64>,
}

/// A dimension's name and value, as far as they were given.
pub(super) type Dimension = (Option<String>, Option<String>);

/// `StatisticValues`; every member is required.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct StatisticSet {
    pub(super) count: Option<f64>,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Put {
    pub(super) fn decode(input: &Doc) -> Result<Self, AwsError> {
        let namespace = member(input, "Namespace", Doc::as_text)?.map(str::to_owned);
        let mut data = decode_data(input, "MetricData")?;
        let entities = member(input, "EntityMetricData", Doc::list)?.unwrap_or_default();
        for (index, entity) in entities.iter().enumerate() {
            let mut more = decode_data(entity, "MetricData")?;
            for datum in &mut more {
                datum.path = format!("EntityMetricData.member.{}.{}", index + 1, datum.path);
            }
            data.append(&mut more);
        }
        Ok(Self { namespace, data, entity_count: entities.len() })
    }
}

fn decode_data(input: &Doc, list: &str) -> Result<Vec<GivenDatum>, AwsError> {
    let items = member(input, list, Doc::list)?.unwrap_or_default();
    items
        .iter()
        .enumerate()
        .map(|(index, item)| GivenDatum::decode(item, format!("{list}.member.{}", index + 1)))
        .collect()
}

impl GivenDatum {
    fn decode(item: &Doc, path: String) -> Result<Self, AwsError> {
        let statistics = item.get("StatisticValues").map(StatisticSet::decode).transpose()?;
        Ok(Self {
            name: member(item, "MetricName", Doc::as_text)?.map(str::to_owned),
            dimensions: decode_dimensions(item)?,
            timestamp_ms: member(item, "Timestamp", Doc::as_time_ms)?,
            value: member(item, "Value", Doc::as_f64)?,
            statistics,
            values: decode_numbers(item, "Values")?,
            counts: decode_numbers(item, "Counts")?,
            unit: member(item, "Unit", Doc::as_text)?.map(str::to_owned),
            resolution_s: member(item, "StorageResolution", Doc::as_i64)?,
            path,
        })
    }
}

impl StatisticSet {
    fn decode(item: &Doc) -> Result<Self, AwsError> {
        Ok(Self {
            count: member(item, "SampleCount", Doc::as_f64)?,
            sum: member(item, "Sum", Doc::as_f64)?,
            min: member(item, "Minimum", Doc::as_f64)?,
            max: member(item, "Maximum", Doc::as_f64)?,
        })
    }
}

fn decode_dimensions(item: &Doc) -> Result<Vec<Dimension>, AwsError> {
    let dimensions = member(item, "Dimensions", Doc::list)?.unwrap_or_default();
    let decode = |dimension: &Doc| {
        let name = member(dimension, "Name", Doc::as_text)?.map(str::to_owned);
        let value = member(dimension, "Value", Doc::as_text)?.map(str::to_owned);
        Ok((name, value))
    };
    dimensions.iter().map(decode).collect()
}

fn decode_numbers(item: &Doc, name: &str) -> Result<Option<Vec<f64>>, AwsError> {
    let Some(list) = member(item, name, Doc::list)? else { return Ok(None) };
    let wrong = || AwsError::malformed(format!("{name} must be a list of numbers"));
    list.iter().map(|number| number.as_f64().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
}

/// Member `name` of `item` by `read`: absent is `None`, the wrong kind is an error.
pub(super) fn member<'a, T>(
    item: &'a Doc,
    name: &str,
    read: impl Fn(&'a Doc) -> Option<T>,
) -> Result<Option<T>, AwsError> {
    let Some(value) = item.get(name) else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| AwsError::malformed(format!("{name} has a value of the wrong kind")))
}
