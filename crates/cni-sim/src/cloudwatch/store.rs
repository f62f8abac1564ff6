//! What CloudWatch has accepted, and the log of every request. Tests read both directly.

pub use super::datum::{Datum, SeriesKey};
use super::put::{GivenDatum, Put};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// HTTP 200.
    Accepted,
    /// An error answer; nothing of the request was stored.
    Rejected {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
    },
    /// Never answered; nothing was stored.
    Hung,
    /// The connection was reset; nothing was stored.
    Reset,
    /// Stored, but the connection was reset before the answer.
    AcceptedThenReset,
    /// Stored, and never answered.
    AcceptedThenHung,
}

/// One line of the request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Counts from 1 in the order of arrival.
    pub number: u64,
    /// When it arrived by the service's clock.
    pub at_ms: i64,
    /// For example `PutMetricData`; empty if the request never got that far.
    pub operation: String,
    /// `smithy-rpc-v2-cbor`, `json` or `query`.
    pub protocol: &'static str,
    /// Body bytes as they came, packed or not.
    pub wire_bytes: usize,
    /// Body bytes after unpacking.
    pub body_bytes: usize,
    /// Data in a `PutMetricData` request.
    pub data_count: usize,
    /// Who signed it.
    pub access_key_id: String,
    /// The session token it came with.
    pub session_token: Option<String>,
    /// The client's name for itself.
    pub user_agent: String,
    /// Wall time the service spent on it.
    pub handling_us: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl RequestRecord {
    pub(super) fn begun(at_ms: i64, protocol: &'static str) -> Self {
        Self {
            number: 0,
            at_ms,
            operation: String::new(),
            protocol,
            wire_bytes: 0,
            body_bytes: 0,
            data_count: 0,
            access_key_id: String::new(),
            session_token: None,
            user_agent: String::new(),
            handling_us: 0,
            outcome: Outcome::Accepted,
        }
    }

    /// This request's number, taken from `store` on first use.
    pub(super) fn sequence(&mut self, store: &CloudWatchStore) -> u64 {
        if self.number == 0 {
            self.number = store.next_number();
        }
        self.number
    }
}

/// Accepted data and the request log.
#[derive(Debug)]
pub struct CloudWatchStore {
    inner: Mutex<StoreState>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct StoreState {
    data: Vec<Arc<Datum>>,
    series: BTreeMap<Arc<SeriesKey>, Vec<Arc<Datum>>>,
    requests: Vec<RequestRecord>,
    numbers: u64,
}

impl Default for CloudWatchStore {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl CloudWatchStore {
    /// Everything accepted, in the order of arrival.
    pub fn data(&self) -> Vec<Arc<Datum>> {
        self.lock().data.clone()
    }

    /// How many data were accepted.
    pub fn len(&self) -> usize {
        self.lock().data.len()
    }

    /// Whether nothing was accepted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The request log, in the order the requests ended.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.lock().requests.clone()
    }

    /// One series' data in the order of arrival; empty if there is no such series.
    pub fn series(&self, namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Vec<Arc<Datum>> {
        self.series_of(&SeriesKey::new(namespace, name, dimensions))
    }

    /// The same by key.
    pub fn series_of(&self, key: &SeriesKey) -> Vec<Arc<Datum>> {
        self.lock().series.get(key).cloned().unwrap_or_default()
    }

    /// Every series and the timestamp of its latest datum, in order.
    pub fn keys(&self) -> Vec<(Arc<SeriesKey>, i64)> {
        let latest = |data: &[Arc<Datum>]| data.iter().map(|datum| datum.timestamp_ms).max().unwrap_or(i64::MIN);
        self.lock().series.iter().map(|(key, data)| (Arc::clone(key), latest(data))).collect()
    }

    /// Deletes everything; request numbers continue.
    pub fn clear(&self) {
        self.take();
    }

    /// Everything accepted since the last call, in the order of arrival; it and the request log are forgotten in the
    /// same step, so that nothing that arrives meanwhile is lost. Request numbers continue.
    pub fn take(&self) -> Vec<Arc<Datum>> {
        let mut inner = self.lock();
        let numbers = inner.numbers;
        std::mem::replace(&mut *inner, StoreState { numbers, ..StoreState::default() }).data
    }

    /// Waits until `done` holds, looking again after every change; false if that took longer than `limit`.
    pub async fn wait_until(&self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut changes = self.changed.subscribe();
        let wait = async {
            while !done(self) {
                // The sender lives in self, so it cannot be gone.
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut inner = self.lock();
        inner.numbers += 1;
        inner.numbers
    }

    pub(super) fn log(&self, mut record: RequestRecord) {
        record.sequence(self);
        self.lock().requests.push(record);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Stores a checked request.
    pub(super) fn accept(&self, put: Put, arrived_ms: i64, request: u64) {
        let namespace = put.namespace.unwrap_or_default();
        let mut inner = self.lock();
        for given in put.data {
            let key = inner.intern(&namespace, &given);
            let datum = Arc::new(Datum::from_given(given, key, arrived_ms, request));
            inner.series.entry(Arc::clone(&datum.key)).or_default().push(Arc::clone(&datum));
            inner.data.push(datum);
        }
    }

    fn lock(&self) -> MutexGuard<'_, StoreState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreState {
    fn intern(&self, namespace: &str, given: &GivenDatum) -> Arc<SeriesKey> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut dimensions: Vec<_> = given.dimensions.iter().map(|(n, v)| (text(n), text(v))).collect();
        dimensions.sort();
        let key = SeriesKey { namespace: namespace.to_owned(), name: text(&given.name), dimensions };
        self.series.get_key_value(&key).map_or_else(|| Arc::new(key), |(known, _)| Arc::clone(known))
    }
}
