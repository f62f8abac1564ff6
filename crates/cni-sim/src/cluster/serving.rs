//! How the cluster answers scrapes.

use super::slot::{Kept, Slot};
use super::state::SimulatedCluster;
use crate::answer::{Answer, PodKey, ServeTicket, Via};
use crate::api_server::{Backend, scrape};
use crate::fault::ApiFault;
use crate::kube_store::KubeStore;
use crate::meter::PageMeter;
use crate::scenario::FaultKind;
use crate::truth::NodeNumbers;
use crate::wall_clock::wall_ms;
use bytes::Bytes;
use cni_types::random::{Random, mix};
use ipamd_core::metrics::Shown as PageShown;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// A page of a busy node; saves growing the buffer a dozen times.
const PAGE_BYTES: usize = 24 * 1024;

impl SimulatedCluster {
    /// The page of a node as it reads now, and its numbers; `None` while the port is closed.
    fn page(&self, slot: &Slot) -> Option<(Bytes, NodeNumbers)> {
        let flavour = self.plans.get(slot.group).filter(|plan| plan.has_metrics)?.flavour;
        let now_ms = self.now_ms();
        let mut text = Vec::with_capacity(PAGE_BYTES);
        let numbers = {
            let cell = slot.lock();
            let node = cell.node.as_ref().filter(|node| node.serving_since_ms().is_some())?;
            let metrics = node.agent()?.metrics();
            let shown = PageShown { now_ms, seed: mix(self.seed ^ slot.index as u64), nftables: false };
            metrics.render(shown, flavour, &mut text);
            metrics.truth(now_ms, flavour)
        };
        Some((Bytes::from(text), NodeNumbers::of(&numbers, flavour)))
    }

    /// The page of a node, compressed, and its numbers: made once for each moment of the cluster's clock, and again when
    /// something happens to the node in that moment. How often it was served is not something; so between two moments
    /// its count of scrapes stands still.
    fn kept_page(&self, slot: &Slot) -> Option<Kept> {
        let now_ms = self.now_ms();
        if let Some(kept) = slot.lock().kept.clone().filter(|kept| kept.at_ms == now_ms) {
            return Some(kept);
        }
        let (text, numbers) = self.page(slot)?;
        let packed = scrape::packed(&text, flate2::Compression::fast());
        let kept = Kept { at_ms: now_ms, packed, numbers: Arc::new(numbers) };
        slot.lock().kept = Some(kept.clone());
        Some(kept)
    }

    /// Makes all pages of this moment at once, on every core, so that serving them costs next to nothing. Only of use
    /// in a cluster that keeps its pages ([`SimulatedCluster::keep_pages`]).
    pub fn prepare_pages(&self) {
        let slots = self.slots();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = slots.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for part in slots.chunks(share) {
                scope.spawn(move || part.iter().for_each(|slot| drop(self.kept_page(slot))));
            }
        });
    }

    /// What this node's page would be now, without counting as a scrape: pod name, text.
    pub fn peek(&self, pod: &PodKey) -> Option<Bytes> {
        Some(self.page(&*self.find(pod)?)?.0)
    }

    /// The numbers of every node that serves, by pod name.
    pub fn numbers(&self) -> Vec<(PodKey, NodeNumbers)> {
        let slots = self.slots();
        slots.iter().filter_map(|slot| Some((slot.pod(), self.page(slot)?.1))).collect()
    }

    fn find(&self, pod: &PodKey) -> Option<Arc<Slot>> {
        let node_index = self.node_index();
        let index = *node_index.by_pod.get(&*pod.name)?;
        node_index.slots.get(index).filter(|slot| slot.pod() == *pod).map(Arc::clone)
    }
}

impl Backend for SimulatedCluster {
    fn kube(&self) -> &KubeStore {
        self.kube()
    }

    fn now_ms(&self) -> i64 {
        self.now_ms()
    }

    fn serve(&self, pod: &PodKey, via: Via) -> Answer {
        let Some(slot) = self.find(pod) else { return Answer::NotFound };
        // A machine that is gone answers nothing, not even a refusal.
        if !slot.alive() {
            return Answer::Dropped;
        }
        let fault = self.active().page(&slot, via).cloned();
        if matches!(fault, Some(FaultKind::Unreachable { .. })) {
            return Answer::Dropped;
        }
        if fault.is_none() && self.keeps_pages() {
            let Some(kept) = self.kept_page(&slot) else { return Answer::Refused };
            let ticket = self.truth().rendered(&slot.pod_uid(), kept.numbers, wall_ms());
            return Answer::KeptPage { packed: kept.packed, ticket };
        }
        let Some((body, numbers)) = self.page(&slot) else { return Answer::Refused };
        let ticket = || self.truth().rendered(&slot.pod_uid(), numbers, wall_ms());
        match fault {
            None => Answer::Page { body, ticket: ticket() },
            Some(FaultKind::SlowPage { bytes_per_second, first_byte_after }) => Answer::SlowPage {
                body,
                bytes_per_second,
                first_byte_after: Duration::from_millis(first_byte_after.ms.unsigned_abs()),
                ticket: ticket(),
            },
            Some(fault) => spoilt(&fault, &body, slot.index),
        }
    }

    fn delivered(&self, ticket: ServeTicket) {
        self.meter().delivered();
        let pod = self.truth().delivered(ticket);
        if let Some(slot) = pod.and_then(|pod| self.find(&PodKey::new(super::objects::AGENT_NAMESPACE, pod)))
            && let Some(agent) = slot.lock().node.as_mut().and_then(|node| node.agent_mut())
        {
            agent.metrics_mut().scraped(200);
        }
    }

    fn pod_by_ip(&self, ip: IpAddr) -> Option<PodKey> {
        let IpAddr::V4(ip) = ip else { return None };
        let node_index = self.node_index();
        let index = *node_index.by_ip.get(&ip)?;
        node_index.slots.get(index).map(|slot| slot.pod())
    }

    fn api_fault(&self) -> ApiFault {
        self.api_fault()
    }

    fn metrics_port(&self) -> u16 {
        self.metrics_port()
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.scenario().cluster.node_latency.ms.unsigned_abs())
    }

    fn page_meter(&self) -> Option<&Arc<PageMeter>> {
        Some(self.meter())
    }
}

/// Instead of a page.
fn spoilt(fault: &FaultKind, page: &Bytes, index: usize) -> Answer {
    let ok = |content_type, body| Answer::Status { code: 200, retry_after_s: None, content_type, body };
    match fault {
        FaultKind::Hang => Answer::Hang,
        FaultKind::Endless => Answer::EndlessSlow,
        FaultKind::Reset => Answer::Reset,
        FaultKind::Empty => ok(TEXT, Bytes::new()),
        FaultKind::Html => ok("text/html; charset=utf-8", Bytes::from_static(PORTAL)),
        FaultKind::Garbage => ok(TEXT, noise(index)),
        FaultKind::Huge { bytes } => Answer::Huge { bytes: *bytes },
        FaultKind::GzipBomb { bytes } => Answer::GzipBomb { unpacked_bytes: *bytes },
        FaultKind::Truncated => {
            Answer::Truncated { body: page.slice(..page.len() / 2), announced_bytes: page.len() as u64 }
        }
        FaultKind::PageStatus { code, retry_after_s } => Answer::Status {
            code: *code,
            retry_after_s: *retry_after_s,
            content_type: "text/plain; charset=utf-8",
            body: Bytes::from_static(b"the simulation says no\n"),
        },
        FaultKind::ForgedStatus { code, retry_after_s } => Answer::Status {
            code: *code,
            retry_after_s: *retry_after_s,
            content_type: "application/json",
            body: forged_status(*code),
        },
        FaultKind::ShortLines { bytes } => ok(TEXT, short_lines(*bytes)),
        FaultKind::OddValues { value } => ok(TEXT, odd_values(page, value)),
        FaultKind::LongHeaders { count } => Answer::LongHeaders { count: *count },
        // `Refused`; the rest are not page faults and never get here.
        _ => Answer::Refused,
    }
}

const PORTAL: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Please sign in to use \
this network</h1><form action=\"/login\"><input name=\"user\"></form></body></html>\n";

/// Bytes that are neither text nor metrics, the same for the same node.
fn noise(index: usize) -> Bytes {
    let mut random = Random::stream(index as u64, 0);
    (0..512).flat_map(|_| random.bits().to_le_bytes()).collect()
}

/// As the API server writes it, but for what a node adds.
fn forged_status(code: u16) -> Bytes {
    let message = "Too many requests, please try again later.\n2026-01-01T00:00:00Z  INFO Produce COUNTER metrics: \
                   ipamdErr, value: 666.000000\n\u{1b}[2J";
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "TooManyRequests", "code": code,
    });
    status.to_string().into()
}

/// The page of the last size asked for: making it is much more work than serving it.
static SHORT_LINES: Mutex<Option<(u64, Bytes)>> = Mutex::new(None);

fn short_lines(bytes: u64) -> Bytes {
    let mut kept = SHORT_LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, page)) = kept.as_ref().filter(|(size, _)| *size == bytes) {
        return page.clone();
    }
    let most = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut text = Vec::new();
    let mut number = 9_999_999_u32;
    while text.len() + 40 < most {
        text.extend_from_slice(b"awscni_add_ip_req_count{a=\"");
        text.extend_from_slice(number.to_string().as_bytes());
        text.extend_from_slice(b"\"} 1\n");
        number = number.saturating_sub(1);
    }
    let page = Bytes::from(text);
    *kept = Some((bytes, page.clone()));
    page
}

/// Comments stay; of each sample the last word is replaced.
fn odd_values(page: &[u8], value: &str) -> Bytes {
    let text = String::from_utf8_lossy(page);
    let mut odd = String::with_capacity(text.len());
    for line in text.lines() {
        match line.rsplit_once(' ') {
            Some((series, _)) if line.starts_with("awscni_") => odd.extend([series, " ", value]),
            _ => odd.push_str(line),
        }
        odd.push('\n');
    }
    odd.into()
}
