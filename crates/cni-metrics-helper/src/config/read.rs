//! One setting's text to its value; every mistake is kept until all settings were read.

use std::time::Duration;

use cni_types::names;
use thiserror::Error;

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting} = {value:?}: {allowed}")]
pub struct Mistake {
    /// The variable's name (and flag).
    pub setting: String,
    /// What was given.
    pub value: String,
    /// What would be allowed.
    pub allowed: String,
}

/// Collects mistakes while it reads.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) mistakes: Vec<Mistake>,
}

impl Reader {
    /// Reads one setting; a mistake is noted and `None` returned.
    pub(crate) fn read<T>(
        &mut self,
        setting: &str,
        value: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(value.trim()) {
            Ok(value) => Some(value),
            Err(allowed) => {
                self.mistake(setting, value, allowed);
                None
            }
        }
    }

    /// Notes a mistake.
    pub(crate) fn mistake(&mut self, setting: &str, value: &str, allowed: impl Into<String>) {
        let (setting, value) = (setting.to_owned(), value.to_owned());
        self.mistakes.push(Mistake { setting, value, allowed: allowed.into() });
    }
}

/// A switch: upstream's words, and those that people write in their place.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true, yes, on or 1, or false, no, off or 0 (any case)".to_owned()),
    }
}

/// A whole number within a range.
pub(crate) fn number(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// A duration with a unit, or plain seconds, within a range.
pub(crate) fn duration(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| match any_duration(text) {
        Some(duration) if (least..=most).contains(&duration) => Ok(duration),
        _ => {
            let (least, most) = (short(least), short(most));
            Err(format!("must be a duration such as 5s, 500ms or 2m, or a number of seconds, from {least} to {most}"))
        }
    }
}

/// The same in whole seconds.
pub(crate) fn whole_seconds(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| match any_duration(text) {
        Some(duration) if (least..=most).contains(&duration) && duration.subsec_nanos() == 0 => Ok(duration),
        _ => {
            let (least, most) = (short(least), short(most));
            Err(format!("must be whole seconds, such as 30, 30s or 5m, from {least} to {most}"))
        }
    }
}

/// Longer than any setting allows; a number beyond it is no duration.
const LONGEST_MS: f64 = 1e12;

/// Any duration: a number with ms, s, m, h or d, or plain seconds.
pub(crate) fn any_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text.get(digits.len()..)? {
        "ms" => 1.0,
        "s" | "" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = digits.parse::<f64>().ok()? * unit_ms;
    (0.0..=LONGEST_MS).contains(&ms).then(|| Duration::from_secs_f64(ms / 1000.0))
}

/// A duration as it is set: in the largest unit that gives a whole number.
pub(crate) fn short(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// A size with a binary or decimal unit, or plain bytes, within a range.
pub(crate) fn bytes(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let allowed =
            || format!("must be a size such as 8MiB, 8MB, 500KiB or a number of bytes, from {least} to {most} bytes");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..) {
            Some("") => 1,
            Some("KiB" | "Ki") => 1 << 10,
            Some("MiB" | "Mi") => 1 << 20,
            Some("GiB" | "Gi") => 1 << 30,
            Some("kB" | "KB" | "k" | "K") => 1_000,
            Some("MB" | "M") => 1_000_000,
            Some("GB" | "G") => 1_000_000_000,
            _ => return Err(allowed()),
        };
        let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(allowed)?;
        if (least..=most).contains(&size) { Ok(size) } else { Err(allowed()) }
    }
}

/// A size as it is set: in the binary or decimal unit that gives the shortest whole number.
pub(crate) fn size(bytes: u64) -> String {
    let units =
        [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    let whole = units.into_iter().filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    let whole = whole.max_by_key(|(_, unit)| *unit);
    whole.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A region's name as AWS has them.
pub(crate) fn region(text: &str) -> Result<String, String> {
    let allowed = "must be the name of an AWS region, such as eu-west-1 or us-gov-west-1";
    names::is_region(text).then(|| text.to_owned()).ok_or_else(|| allowed.to_owned())
}

/// A node's name as Kubernetes has them: a DNS subdomain.
pub(crate) fn node_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_good =
        text.len() <= 253 && text.chars().all(is_plain) && is_edge(text.chars().next()) && is_edge(text.chars().last());
    let allowed = "must be a node's name (a-z, 0-9, - and ., at most 253)";
    is_good.then(|| text.to_owned()).ok_or_else(|| allowed.to_owned())
}

/// A name of at most 63 characters as Kubernetes has them.
pub(crate) fn label(what: &'static str) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        let allowed = || format!("must be {what} (a-z, 0-9 and -, at most 63)");
        names::is_dns_label(text).then(|| text.to_owned()).ok_or_else(allowed)
    }
}

/// Comma-separated words.
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A value that was given and is not empty.
pub(crate) fn given(value: Option<&String>) -> Option<&str> {
    value.map(|text| text.trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn an_interval_is_whole_seconds_of_at_least_one() {
        let seconds = whole_seconds(SECOND, 24 * HOUR);
        for (text, expected) in [("30", 30), ("30s", 30), ("1m", 60), ("1000ms", 1), ("24h", 86_400), ("1d", 86_400)] {
            assert_eq!(seconds(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        for wrong in ["", "0", "-1", "abc", "1.5", "500ms", "86401", "99999999999999999999", "1e300h", "nan"] {
            assert!(
                seconds(wrong).unwrap_err().contains("whole seconds, such as 30, 30s or 5m, from 1s to 24h"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn durations_and_sizes_take_units() {
        let duration = duration(Duration::from_millis(10), HOUR);
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h"), Ok(HOUR));
        for wrong in ["", "5 s", "0s", "9ms", "2h", "-1s", "infs", "nans", "s", "5x"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let size = bytes(1, 1 << 30);
        for (text, expected) in [
            ("8MiB", 8 << 20),
            ("8Mi", 8 << 20),
            ("4096", 4096),
            ("8MB", 8_000_000),
            ("8M", 8_000_000),
            ("1kB", 1000),
            ("1K", 1000),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for wrong in ["", "0", "8m", "8mb", "2GiB", "99999999999GiB", "18446744073709551615GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_set() {
        for text in ["0s", "10ms", "1500ms", "5s", "90s", "2m", "1h", "24h"] {
            assert_eq!(any_duration(text).map(short).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_size_is_shown_as_it_is_set() {
        for text in ["8MiB", "8MB", "500KiB", "1GiB", "1001", "3kB"] {
            assert_eq!(bytes(0, 1 << 40)(text).map(size).as_deref(), Ok(text));
        }
    }

    #[test]
    fn switches_take_every_usual_word() {
        for on in ["YES", "true", "On", "1"] {
            assert_eq!(switch(on), Ok(true));
        }
        for off in ["no", "False", "OFF", "0"] {
            assert_eq!(switch(off), Ok(false));
        }
        for wrong in ["", "2", "enabled", "y", "t"] {
            assert!(switch(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_regions_and_nodes_have_their_form() {
        assert!(["eu-west-1", "us-gov-west-1"].into_iter().all(|text| region(text).is_ok()));
        assert!(!["Frankfurt", "eu-west-1a", "eu_west_1", "eu-west"].into_iter().any(|text| region(text).is_ok()));
        assert!(["ip-10-0-0-1.ec2.internal", "a"].into_iter().all(|text| node_name(text).is_ok()));
        assert!(!["My Node", "-a", "a.", "", "A"].into_iter().any(|text| node_name(text).is_ok()));
        assert!(node_name(&"a".repeat(254)).is_err());
    }
}
