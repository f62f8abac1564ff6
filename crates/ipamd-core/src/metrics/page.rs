//! The text format: families with HELP and TYPE, series with sorted labels.

use super::flavour::PageFlavour;
use super::number;

/// What a family declares itself to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// What agents declared as gauges before 1.19.
const PLAIN_COUNTERS: [&str; 4] = [
    "awscni_add_ip_req_count",
    "awscni_force_removed_enis",
    "awscni_force_removed_ips",
    "awscni_no_available_ip_addresses",
];

/// A page being written; the caller brings families in name order.
pub(super) struct Page<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) flavour: PageFlavour,
}

/// Labels in name order.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page<'_> {
    /// Opens a family; false if this flavour does not have it.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> bool {
        if !self.flavour.exposes(name) {
            return false;
        }
        let shown = match kind {
            Kind::Counter if self.flavour == PageFlavour::CountersAsGauges && name.starts_with("awscni_") => "gauge",
            Kind::Counter if self.flavour.is_before_counters() && PLAIN_COUNTERS.contains(&name) => "gauge",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let name = self.flavour.shown_name(name);
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", shown, "\n"] {
            self.text(part);
        }
        true
    }

    /// A family of one unlabelled series.
    pub(super) fn plain(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        if self.family(name, kind, help) {
            self.sample(name, &[], value);
        }
    }

    /// One series.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text(self.flavour.shown_name(name));
        self.labels(labels);
        self.out.push(b' ');
        number::push(self.out, value);
        self.out.push(b'\n');
    }

    /// One series whose value is a number of observations: always plain digits.
    pub(super) fn count(&mut self, name: &str, labels: Labels<'_>, value: u64) {
        self.text(self.flavour.shown_name(name));
        self.labels(labels);
        number::write(self.out, format_args!(" {value}\n"));
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn labels(&mut self, labels: Labels<'_>) {
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text(if index == 0 { "{" } else { "," });
            self.text(name);
            self.text("=\"");
            self.escaped(value);
            self.text("\"");
        }
        if !labels.is_empty() {
            self.text("}");
        }
    }

    fn escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\\' => self.text("\\\\"),
                b'\n' => self.text("\\n"),
                b'"' => self.text("\\\""),
                other => self.out.push(other),
            }
        }
    }
}
