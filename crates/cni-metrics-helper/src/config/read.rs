//! One setting's text to its value; every mistake is kept until all settings were read.

use std::time::Duration;

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
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
}

impl Reader {
    /// Reads one setting; a mistake is noted and `None` returned.
    pub(super) fn read<T>(
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
    pub(super) fn mistake(&mut self, setting: &str, value: &str, allowed: impl Into<String>) {
        let (setting, value) = (setting.to_owned(), value.to_owned());
        self.mistakes.push(Mistake { setting, value, allowed: allowed.into() });
    }
}

/// Upstream's words for a switch.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("must be yes, true, no or false (any case)".to_owned()),
    }
}

/// A whole number of seconds, at least 1.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let allowed = "must be a whole number of seconds without a unit, from 1 to 86400";
    match text.parse::<u64>() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(allowed.to_owned()),
    }
}

/// A whole number within a range.
pub(super) fn number(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// A duration with a unit, or plain seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let allowed = || "must be a duration such as 5s or 500ms, from 10ms to 1h".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text.get(digits.len()..) {
        Some("ms") => 1.0,
        Some("s" | "") => 1000.0,
        Some("m") => 60_000.0,
        Some("h") => 3_600_000.0,
        _ => return Err(allowed()),
    };
    let ms = digits.parse::<f64>().map_err(|_| allowed())? * unit_ms;
    if (10.0..=3_600_000.0).contains(&ms) { Ok(Duration::from_secs_f64(ms / 1000.0)) } else { Err(allowed()) }
}

/// A size with a binary unit, or plain bytes, within a range.
pub(super) fn bytes(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let allowed =
            || format!("must be a size such as 8MiB, 500KiB or a number of bytes, from {least} to {most} bytes");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..) {
            Some("") => 1,
            Some("KiB" | "Ki") => 1 << 10,
            Some("MiB" | "Mi") => 1 << 20,
            Some("GiB" | "Gi") => 1 << 30,
            _ => return Err(allowed()),
        };
        let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(allowed)?;
        if (least..=most).contains(&size) { Ok(size) } else { Err(allowed()) }
    }
}

/// A name of at most 63 characters as Kubernetes has them.
pub(super) fn label(what: &'static str) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fine = text.len() <= 63 && text.chars().all(allowed) && !text.starts_with('-') && !text.ends_with('-');
        let fine = fine && !text.is_empty();
        fine.then(|| text.to_owned()).ok_or_else(|| format!("must be {what} (a-z, 0-9 and -, at most 63)"))
    }
}

/// Comma-separated words.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A value that was given and is not empty.
pub(super) fn given(value: Option<&String>) -> Option<&str> {
    value.map(|text| text.trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_whole_seconds_of_at_least_one() {
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        for wrong in ["0", "-1", "30s", "abc", "1.5", "99999999999999999999"] {
            assert!(seconds(wrong).unwrap_err().contains("whole number of seconds"), "{wrong}");
        }
    }

    #[test]
    fn durations_and_sizes_take_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        for wrong in ["", "5 s", "0s", "2h", "-1s", "infs", "nans"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let size = bytes(1, 1 << 30);
        assert_eq!(size("8MiB"), Ok(8 << 20));
        assert_eq!(size("4096"), Ok(4096));
        for wrong in ["", "0", "8MB", "2GiB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn switches_take_upstreams_words_only() {
        assert_eq!(switch("YES"), Ok(true));
        assert_eq!(switch("False"), Ok(false));
        assert!(switch("1").is_err());
    }
}
