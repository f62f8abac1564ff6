//! The families of the Go runtime, the process and the handler: plausible numbers that follow uptime and seed.
//!
//! Nothing in the model depends on them; they are here because a real page has them, and a reader must cope with their
//! number, their exponents and their one summary with quantiles. Counters never go down within a process's life.

use super::agent::Shown;
use super::counts::Metrics;
use super::page::{Kind, Page};
use cni_types::random::Random;

const MEBIBYTE: f64 = 1_048_576.0;

/// A collection happens this often.
const GC_CYCLE_MS: i64 = 49_000;

struct Heap {
    alloc: f64,
    sys: f64,
    idle: f64,
    inuse: f64,
    released: f64,
    objects: f64,
    alloc_total: f64,
    mallocs: f64,
    next_gc: f64,
    cycles: u32,
    last_gc_s: f64,
}

impl Heap {
    /// A saw-tooth: the heap fills, then a collection empties it.
    fn at(uptime_ms: i64, start_s: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let rate = 150_000.0 + random.fraction() * 60_000.0;
        let floor = ((9.5 + random.fraction() * 3.0) * MEBIBYTE).floor();
        let cycles = u32::try_from((uptime_ms / GC_CYCLE_MS).max(0)).unwrap_or(u32::MAX);
        let uptime_s = uptime_ms as f64 / 1_000.0;
        let since = (uptime_ms % GC_CYCLE_MS) as f64 / 1_000.0;
        let alloc = (floor + rate * since).floor();
        let inuse = ((alloc * 1.31) / 8192.0).floor() * 8192.0;
        let sys = 40.0 * MEBIBYTE - 57_344.0;
        let alloc_total = (floor + rate * uptime_s).floor();
        let objects = (alloc / 156.0).floor();
        Self {
            alloc,
            sys,
            idle: sys - inuse,
            inuse,
            released: ((sys - inuse) * 0.48 / 8192.0).floor() * 8192.0,
            objects,
            alloc_total,
            mallocs: objects + (alloc_total / 102.0).floor(),
            next_gc: (floor * 2.0).floor(),
            cycles,
            last_gc_s: start_s + f64::from(cycles) * 49.0 + 0.014_142_2,
        }
    }
}

impl Metrics {
    pub(super) fn runtime(&self, page: &mut Page<'_>, shown: Shown) {
        let start_s = self.process_start_ms as f64 / 1000.0;
        let uptime_ms = shown.now_ms.saturating_sub(self.process_start_ms).max(0);
        let uptime_s = uptime_ms as f64 / 1000.0;
        let heap = Heap::at(uptime_ms, start_s, shown.seed);
        pauses(page, &heap);
        if !page.flavour.is_legacy() {
            let help = "How much the heap may grow before the next collection, percent";
            page.plain("go_gc_gogc_percent", Kind::Gauge, help, 100.0);
            let help = "Memory limit of the runtime, bytes";
            page.plain("go_gc_gomemlimit_bytes", Kind::Gauge, help, 9_223_372_036_854_775_807.0);
        }
        let mut moment = Random::new(shown.seed ^ shown.now_ms.cast_unsigned());
        let goroutines = 60 + moment.below(9);
        page.plain("go_goroutines", Kind::Gauge, "Goroutines that exist", goroutines as f64);
        if page.family("go_info", Kind::Gauge, "Which Go this is") {
            let version = if page.flavour.is_legacy() { "go1.13.8" } else { "go1.26.4" };
            page.sample("go_info", &[("version", version)], 1.0);
        }
        memory(page, &heap);
        if !page.flavour.is_legacy() {
            let help = "Threads that may run Go code at once";
            page.plain("go_sched_gomaxprocs_threads", Kind::Gauge, help, 2.0);
        }
        page.plain("go_threads", Kind::Gauge, "Threads of the operating system", 9.0);
        process(page, uptime_s, start_s, moment.index(4));
        self.handler(page);
    }

    fn handler(&self, page: &mut Page<'_>) {
        let name = "promhttp_metric_handler_requests_in_flight";
        page.plain(name, Kind::Gauge, "Scrapes being answered", 1.0);
        let name = "promhttp_metric_handler_requests_total";
        if page.family(name, Kind::Counter, "Scrapes answered, by HTTP status") {
            for (code, count) in ["200", "500", "503"].into_iter().zip(self.scrapes) {
                page.sample(name, &[("code", code)], count as f64);
            }
        }
    }
}

fn pauses(page: &mut Page<'_>, heap: &Heap) {
    let name = "go_gc_duration_seconds";
    if !page.family(name, Kind::Summary, "Pauses of the garbage collector, seconds") {
        return;
    }
    let scale = if heap.cycles == 0 { 0.0 } else { 1.0 };
    let quantiles =
        [("0", 2.8471e-05), ("0.25", 4.4913e-05), ("0.5", 6.2031e-05), ("0.75", 9.8844e-05), ("1", 7.31906e-04)];
    for (quantile, value) in quantiles {
        page.sample(name, &[("quantile", quantile)], value * scale);
    }
    // Rounded to nanoseconds, so that the digits are those a clock gives.
    let total = (f64::from(heap.cycles) * 82_686.0).floor() / 1e9;
    page.sample("go_gc_duration_seconds_sum", &[], total);
    page.count("go_gc_duration_seconds_count", &[], heap.cycles.into());
}

fn memory(page: &mut Page<'_>, heap: &Heap) {
    let legacy = page.flavour.is_legacy();
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let rows = [
        ("alloc_bytes", gauge, "Bytes in live and not yet swept objects", heap.alloc, true),
        ("alloc_bytes_total", counter, "Bytes allocated so far, freed ones included", heap.alloc_total, true),
        ("buck_hash_sys_bytes", gauge, "Bytes of the profiling hash table", 1_651_733.0, true),
        ("frees_total", counter, "Objects freed so far", heap.mallocs - heap.objects, true),
        ("gc_sys_bytes", gauge, "Bytes of collector metadata", 3_951_408.0, true),
        ("heap_alloc_bytes", gauge, "Bytes in heap objects", heap.alloc, true),
        ("heap_idle_bytes", gauge, "Heap bytes in spans without objects", heap.idle, true),
        ("heap_inuse_bytes", gauge, "Heap bytes in spans with objects", heap.inuse, true),
        ("heap_objects", gauge, "Objects on the heap", heap.objects, true),
        ("heap_released_bytes", gauge, "Heap bytes given back to the system", heap.released, !legacy),
        ("heap_released_bytes_total", counter, "Heap bytes given back to the system", heap.released, legacy),
        ("heap_sys_bytes", gauge, "Heap bytes obtained from the system", heap.sys, true),
        ("last_gc_time_seconds", gauge, "When the last collection ended, Unix seconds", heap.last_gc_s, true),
        ("lookups_total", counter, "Pointer look-ups", 0.0, legacy),
        ("mallocs_total", counter, "Objects allocated so far", heap.mallocs, true),
        ("mcache_inuse_bytes", gauge, "Bytes of mcache structures in use", 2416.0, true),
        ("mcache_sys_bytes", gauge, "Bytes obtained for mcache structures", 15_704.0, true),
        ("mspan_inuse_bytes", gauge, "Bytes of mspan structures in use", 344_960.0, true),
        ("mspan_sys_bytes", gauge, "Bytes obtained for mspan structures", 391_680.0, true),
        ("next_gc_bytes", gauge, "Heap size at which the next collection starts", heap.next_gc, true),
        ("other_sys_bytes", gauge, "Bytes of other runtime allocations", 998_203.0, true),
        ("stack_inuse_bytes", gauge, "Bytes of stacks in use", 1_703_936.0, true),
        ("stack_sys_bytes", gauge, "Bytes obtained for stacks", 1_703_936.0, true),
        ("sys_bytes", gauge, "Bytes obtained from the system in all", heap.sys + 8_712_944.0, true),
    ];
    for (name, kind, help, value, shown) in rows {
        if shown {
            page.plain(&format!("go_memstats_{name}"), kind, help, value);
        }
    }
}

fn process(page: &mut Page<'_>, uptime_s: f64, start_s: f64, sockets: usize) {
    let legacy = page.flavour.is_legacy();
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let cpu_s = (uptime_s * 0.3831 + 84.0).floor() / 100.0;
    let rows = [
        ("cpu_seconds_total", counter, "Processor time used, seconds", cpu_s, true),
        ("max_fds", gauge, "File descriptors the process may open", 65_536.0, true),
        ("network_receive_bytes_total", counter, "Bytes received", (uptime_s * 201_354.0).floor(), !legacy),
        ("network_transmit_bytes_total", counter, "Bytes sent", (uptime_s * 130_204.0).floor(), !legacy),
        ("open_fds", gauge, "File descriptors open", (15 + sockets) as f64, true),
        ("resident_memory_bytes", gauge, "Memory in use, bytes", 60_985_344.0, true),
        ("start_time_seconds", gauge, "When the process started, Unix seconds", start_s, true),
        ("virtual_memory_bytes", gauge, "Virtual memory, bytes", 1_342_177_280.0, true),
        ("virtual_memory_max_bytes", gauge, "Virtual memory at most, bytes", 18_446_744_073_709_551_615.0, !legacy),
    ];
    for (name, kind, help, value, shown) in rows {
        if shown {
            page.plain(&format!("process_{name}"), kind, help, value);
        }
    }
}
