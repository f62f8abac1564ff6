//! The documented limits of `PutMetricData` (API reference, and "CloudWatch service quotas"). Like AWS, an answer names every fault of the request, each with its place,
//! and one fault refuses the whole request.

use super::put::{GivenDatum, Put, StatisticSet};
use crate::aws::error::AwsError;

/// One request's body, after unpacking.
pub(super) const MAX_BODY_BYTES: usize = 1_048_576;
const MAX_DATA: usize = 1000;
const MAX_ENTITIES: usize = 2;
const MAX_DIMENSIONS: usize = 30;
const MAX_VALUES: usize = 150;
const MAX_NAME_LENGTH: usize = 255;
const MAX_DIMENSION_VALUE_LENGTH: usize = 1024;
const MAX_PAST_MS: i64 = 14 * 24 * 3_600_000;
const MAX_FUTURE_MS: i64 = 2 * 3_600_000;

/// The units CloudWatch knows.
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// Checks a request as a whole.
pub(super) fn check(put: &Put, now_ms: i64) -> Result<(), AwsError> {
    let mut faults = Violations::default();
    check_namespace(&mut faults, put.namespace.as_deref());
    if put.data.is_empty() {
        faults.missing("The parameter MetricData is required.");
    }
    if put.data.len() > MAX_DATA {
        faults.invalid(format!("The collection MetricData must not have a size greater than {MAX_DATA}."));
    }
    if put.entity_count > MAX_ENTITIES {
        faults.invalid(format!("The collection EntityMetricData must not have a size greater than {MAX_ENTITIES}."));
    }
    for datum in &put.data {
        check_datum(&mut faults, datum, now_ms);
    }
    faults.into_result()
}

fn check_namespace(faults: &mut Violations, namespace: Option<&str>) {
    let Some(namespace) = namespace else { return faults.missing("The parameter Namespace is required.") };
    check_text(faults, "Namespace", namespace, MAX_NAME_LENGTH);
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    if namespace.starts_with("AWS/") || namespace.starts_with(':') || !namespace.chars().all(allowed) {
        faults.invalid(format!("The value {namespace} for parameter Namespace is invalid."));
    }
}

fn check_datum(faults: &mut Violations, datum: &GivenDatum, now_ms: i64) {
    let path = &datum.path;
    match datum.name.as_deref() {
        None => faults.missing(format!("The parameter {path}.MetricName is required.")),
        Some(name) => check_text(faults, &format!("{path}.MetricName"), name, MAX_NAME_LENGTH),
    }
    check_dimensions(faults, datum);
    if let Some(at_ms) = datum.timestamp_ms {
        if at_ms < now_ms - MAX_PAST_MS {
            faults.invalid(format!("The parameter {path}.Timestamp must specify a time within the past two weeks."));
        }
        if at_ms > now_ms + MAX_FUTURE_MS {
            faults.invalid(format!(
                "The parameter {path}.Timestamp must specify a time no more than two hours in the future."
            ));
        }
    }
    check_value_shape(faults, datum);
    if let Some(value) = datum.value {
        check_number(faults, &format!("{path}.Value"), value);
    }
    if let Some(set) = &datum.statistics {
        check_statistics(faults, path, set);
    }
    check_values(faults, datum);
    if datum.unit.as_deref().is_some_and(|unit| !UNITS.contains(&unit)) {
        faults.invalid(format!("The parameter {path}.Unit must be a value in the set [ {} ].", UNITS.join(", ")));
    }
    if datum.resolution_s.is_some_and(|seconds| seconds != 1 && seconds != 60) {
        faults.invalid(format!("The parameter {path}.StorageResolution must be 1 or 60."));
    }
}

fn check_dimensions(faults: &mut Violations, datum: &GivenDatum) {
    let path = &datum.path;
    if datum.dimensions.len() > MAX_DIMENSIONS {
        faults.invalid(format!("The collection {path}.Dimensions must not have a size greater than {MAX_DIMENSIONS}."));
    }
    for (index, (name, value)) in datum.dimensions.iter().enumerate() {
        let place = format!("{path}.Dimensions.member.{}", index + 1);
        match name.as_deref() {
            None => faults.missing(format!("The parameter {place}.Name is required.")),
            Some(name) => {
                check_text(faults, &format!("{place}.Name"), name, MAX_NAME_LENGTH);
                if name.starts_with(':') {
                    faults.invalid(format!("The value {name} for parameter {place}.Name must not start with a colon."));
                }
                if datum.dimensions[..index].iter().any(|(earlier, _)| earlier.as_deref() == Some(name)) {
                    faults.invalid(format!("No two dimensions may have the same name: {place}.Name is {name} again."));
                }
            }
        }
        match value.as_deref() {
            None => faults.missing(format!("The parameter {place}.Value is required.")),
            Some(value) => check_text(faults, &format!("{place}.Value"), value, MAX_DIMENSION_VALUE_LENGTH),
        }
    }
}

/// A name or a dimension's value: printable ASCII, not blank, not too long.
fn check_text(faults: &mut Violations, place: &str, text: &str, max_length: usize) {
    if text.trim().is_empty() {
        return faults.invalid(format!("The parameter {place} must contain at least one non-whitespace character."));
    }
    if text.len() > max_length {
        faults.invalid(format!("The parameter {place} must be shorter than {} characters.", max_length + 1));
    }
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        faults.invalid(format!("The parameter {place} must contain only ASCII characters, no control characters."));
    }
}

/// Exactly one of `Value`, `StatisticValues` and `Values`; `Counts` only beside `Values`, and as many.
fn check_value_shape(faults: &mut Violations, datum: &GivenDatum) {
    let path = &datum.path;
    let given: Vec<&str> = [
        ("Value", datum.value.is_some()),
        ("StatisticValues", datum.statistics.is_some()),
        ("Values", datum.values.as_ref().is_some_and(|values| !values.is_empty())),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    match given[..] {
        [] => faults.missing(format!(
            "At least one of the parameters {path}.Value, {path}.Values or {path}.StatisticValues must be specified."
        )),
        [_] => {}
        [first, second, ..] => faults.combination(format!(
            "The parameters {path}.{first} and {path}.{second} are mutually exclusive and you have specified both."
        )),
    }
}

fn check_statistics(faults: &mut Violations, path: &str, set: &StatisticSet) {
    let members = [("SampleCount", set.count), ("Sum", set.sum), ("Minimum", set.min), ("Maximum", set.max)];
    for (name, value) in members {
        match value {
            None => faults.missing(format!("The parameter {path}.StatisticValues.{name} is required.")),
            Some(value) => check_number(faults, &format!("{path}.StatisticValues.{name}"), value),
        }
    }
    if let (Some(min), Some(max)) = (set.min, set.max)
        && min > max
    {
        faults.combination(format!(
            "The parameter {path}.StatisticValues.Maximum must be greater than or equal to {path}.StatisticValues.Minimum."
        ));
    }
    if set.count.is_some_and(|count| count < 0.0) {
        faults.invalid(format!("The parameter {path}.StatisticValues.SampleCount must not be negative."));
    }
}

fn check_values(faults: &mut Violations, datum: &GivenDatum) {
    let path = &datum.path;
    for (name, list) in [("Values", &datum.values), ("Counts", &datum.counts)] {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > MAX_VALUES {
            faults.invalid(format!("The collection {path}.{name} must not have a size greater than {MAX_VALUES}."));
        }
        for (index, number) in list.iter().enumerate() {
            check_number(faults, &format!("{path}.{name}.member.{}", index + 1), *number);
        }
    }
    if let Some(counts) = &datum.counts {
        if datum.values.as_ref().map_or(0, Vec::len) != counts.len() {
            faults.combination(format!("The parameters {path}.Values and {path}.Counts must be of the same size."));
        }
        if counts.iter().any(|count| *count < 0.0) {
            faults.invalid(format!("The parameter {path}.Counts must not contain negative numbers."));
        }
    }
}

fn check_number(faults: &mut Violations, place: &str, value: f64) {
    let limit = 2_f64.powi(360);
    if !value.is_finite() {
        faults.invalid(format!("The value {value} for parameter {place} is invalid."));
    } else if value.abs() > limit {
        faults.invalid(format!("The value {value:e} for parameter {place} must be between -2^360 and 2^360."));
    }
}

/// All faults found so far. The first one's code is the answer's; the message names them all, a line each.
#[derive(Default)]
struct Violations {
    found: Vec<AwsError>,
}

impl Violations {
    fn invalid(&mut self, message: impl Into<String>) {
        self.found.push(AwsError::invalid_value(message));
    }

    fn missing(&mut self, message: impl Into<String>) {
        self.found.push(AwsError::missing(message));
    }

    fn combination(&mut self, message: impl Into<String>) {
        self.found.push(AwsError::invalid_combination(message));
    }

    fn into_result(self) -> Result<(), AwsError> {
        let lines: Vec<&str> = self.found.iter().map(|fault| fault.message.as_str()).collect();
        let message = lines.join("\n");
        self.found.into_iter().next().map_or(Ok(()), |first| Err(AwsError { message, ..first }))
    }
}
