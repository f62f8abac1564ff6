//! Another process: its CPU time and memory as the kernel counts them, and its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

/// The kernel's unit in `/proc/PID/stat`, on every architecture Linux runs on now.
const TICKS_PER_SECOND: u64 = 100;

/// How long a program may take to end: a helper sends what is queued first.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// Follows one process's CPU time.
///
/// `/proc/PID/stat` counts in hundredths of a second, which is more than a small round takes; the threads' `schedstat`
/// counts in nanoseconds but forgets a thread that has ended. So threads are remembered as last seen, and the larger of
/// the two sums is taken: it lacks at most what a thread did between the last reading and its end.
#[derive(Debug)]
pub(crate) struct CpuClock {
    pid: u32,
    threads: BTreeMap<u32, u64>,
}

impl CpuClock {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid, threads: BTreeMap::new() }
    }

    /// User and system time since the process began.
    pub(crate) fn read(&mut self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("the process has ended")?;
        let ticks = ticks(&stat).context("/proc/PID/stat is not as expected")?;
        for entry in std::fs::read_dir(format!("/proc/{}/task", self.pid))?.flatten() {
            let thread = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            // A thread may end between the listing and the reading.
            let ran = std::fs::read_to_string(entry.path().join("schedstat")).ok();
            let ran = ran.and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok());
            if let (Some(thread), Some(ran)) = (thread, ran) {
                self.threads.insert(thread, ran);
            }
        }
        let fine = Duration::from_nanos(self.threads.values().sum());
        let coarse = Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
        Ok(fine.max(coarse))
    }
}

/// User and system ticks of a line of `/proc/PID/stat`. The program's name stands in parentheses and may hold any.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // After the name: state, then ten numbers, then the two.
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Now, bytes.
    pub(crate) resident_bytes: u64,
    /// Highest since the process began or [`reset_peak`], bytes.
    pub(crate) peak_bytes: u64,
}

/// A process's resident memory.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    Ok(Memory {
        resident_bytes: field_bytes(&status, "VmRSS").context("no VmRSS")?,
        peak_bytes: field_bytes(&status, "VmHWM").context("no VmHWM")?,
    })
}

/// Lets the peak begin anew at what is resident now.
pub(crate) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/clear_refs"));
    std::fs::write(&path, "5").with_context(|| path.display().to_string())
}

fn field_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Sends SIGTERM, waits, and sends SIGKILL after the timeout.
pub(crate) fn stop(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let began = Instant::now();
    while began.elapsed() < END_TIMEOUT {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "4242 (a (strange) name 1 2 3) S 1 4242 4242 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 3 0 100 0 0";
        assert_eq!(ticks(stat), Some(325));
        assert_eq!(ticks("4242 (cut) S 1 2"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(field_bytes(status, "VmHWM"), Some(20 << 20));
        assert_eq!(field_bytes(status, "VmRSS"), Some(1 << 20));
        assert_eq!(field_bytes(status, "VmSwap"), None);
    }

    #[test]
    fn a_busy_process_is_seen_to_be_busy() {
        let own = std::process::id();
        let mut clock = CpuClock::new(own);
        let before = clock.read().unwrap();
        let mut sum = 0_u64;
        while clock.read().unwrap() < before + Duration::from_millis(30) {
            sum = (0..100_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(std::hint::black_box(sum) != 1);
        let memory = memory(own).unwrap();
        assert!(memory.peak_bytes >= memory.resident_bytes && memory.resident_bytes > 100_000);
        assert!(CpuClock::new(u32::MAX).read().is_err());
    }
}
