//! This process as Linux shows it. What cannot be read is left out; nothing is made up.

use std::fs;

/// Figures of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ProcessFigures {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) start_seconds: Option<f64>,
}

impl ProcessFigures {
    /// As they are now.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = fields(&stat);
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |field: Option<u64>| field.map(|ticks| ticks as f64 / ticks_per_second);
        let cpu_ticks = field(&fields, 14).zip(field(&fields, 15)).map(|(user, system)| user + system);
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_seconds(&text));
        Self {
            cpu_seconds: seconds(cpu_ticks),
            resident_bytes: field(&fields, 24).map(|pages| pages as f64 * rustix::param::page_size() as f64),
            // One of them is the folder's own, open while it is read.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|folder| folder.count().saturating_sub(1) as f64),
            start_seconds: boot.zip(seconds(field(&fields, 22))).map(|(boot, after)| boot + after),
        }
    }
}

/// The fields from the third on; the second, the program's name, may hold spaces and brackets.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default()
}

/// By its number in proc(5), which counts from 1.
fn field(fields: &[&str], number: usize) -> Option<u64> {
    fields.get(number - 3)?.parse().ok()
}

fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn this_very_process_is_seen() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let figures = ProcessFigures::read();
        assert!(figures.cpu_seconds.unwrap() >= 0.0);
        assert!(figures.resident_bytes.unwrap() > 1e6);
        assert!(figures.open_fds.unwrap() >= 3.0);
        let age = now - figures.start_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let stat = "1 (a) b) c) S 2 3 4 5 6 7 8 9 10 11 14 15 16";
        assert_eq!(field(&fields(stat), 14), Some(14));
        assert_eq!(field(&fields(stat), 22), None);
        assert_eq!(fields(""), Vec::<&str>::new());
    }
}
