//! The whole original node: the protocol, and what the original is known to do in histories that a model gets wrong easily.

mod faults;
mod growth;
mod protocol;
mod release;
mod restarts;
mod start;

use std::collections::BTreeMap;

use cni_testkit::original::Original;
use serde_json::{Value, json};

/// A node that is ready, and all calls to EC2 so far.
struct Node {
    original: Original,
    calls: Vec<Value>,
    events: Vec<Value>,
}

impl Node {
    /// Boots a node with `enis` ENIs of `ips` addresses, the primary one included, and waits until it is ready.
    fn boot(enis: u32, ips: u32, settings: &Value, more: &Value) -> Self {
        let mut boot = json!({"limits": {"enis": enis, "ips": ips}, "settings": settings, "node": {"max_pods": 500}});
        for (name, value) in more.as_object().into_iter().flatten() {
            boot[name] = value.clone();
        }
        let mut node = Self { original: Original::node(), calls: Vec::new(), events: Vec::new() };
        node.ask(&json!({ "boot": boot }));
        let answer = node.ask(&json!({"wait_ready": 600_000}));
        assert_eq!(answer["life"]["state"], "ready", "{answer}");
        node
    }

    fn ask(&mut self, command: &Value) -> Value {
        let answer = self.original.ask(command);
        self.calls.extend(answer["calls"].as_array().into_iter().flatten().cloned());
        self.events.extend(answer["events"].as_array().into_iter().flatten().cloned());
        answer
    }

    fn pass(&mut self, seconds: f64) {
        self.ask(&json!({"pass": seconds * 1000.0}));
    }

    /// The address that the pod got, if it was not refused.
    fn add(&mut self, pod: usize) -> Option<String> {
        let answer = self.ask(&json!({"add": format!("c{pod}")}));
        let reply = &answer["replies"][0];
        (reply["success"] == true).then(|| reply["addresses"][0]["v4"].as_str().unwrap_or_default().to_owned())
    }

    /// The same past the RPC and what it asks of the Kubernetes API.
    fn add_directly(&mut self, pod: usize) -> Option<String> {
        let answer = self.ask(&json!({"add": {"key": format!("c{pod}"), "direct": true}}));
        answer["replies"][0]["addresses"][0]["v4"].as_str().map(str::to_owned)
    }

    fn del(&mut self, pod: usize) {
        self.ask(&json!({"del": format!("c{pod}")}));
    }

    fn fault(&mut self, op: &str, code: &str) {
        self.ask(&json!({"fault": {"op": op, "code": code}}));
    }

    fn heal(&mut self, op: &str) {
        self.ask(&json!({"fault": {"op": op}}));
    }

    /// ENIs in EC2, in the order in which they were made.
    fn enis(&mut self) -> Vec<Value> {
        let answer = self.ask(&json!({"report": {}}));
        answer["world"]["enis"].as_array().cloned().unwrap_or_default()
    }

    /// The id of the youngest ENI.
    fn youngest(&mut self) -> String {
        let enis = self.enis();
        enis.last().and_then(|eni| eni["id"].as_str()).unwrap_or_default().to_owned()
    }

    /// The value of a series, 0 if it is not on the page.
    fn count(&self, series: &str) -> i64 {
        whole(self.original.view.metrics.get(series).copied().unwrap_or_default())
    }

    /// Series whose name contains `part`.
    fn series(&self, part: &str) -> BTreeMap<&str, i64> {
        let found = self.original.view.metrics.iter().filter(|(name, _)| name.contains(part));
        found.map(|(name, value)| (name.as_str(), whole(*value))).collect()
    }

    /// Calls of one operation from the `from`th call on.
    fn calls_of(&self, from: usize, op: &str) -> Vec<&Value> {
        self.calls[from..].iter().filter(|call| call["op"] == op).collect()
    }

    /// Which ENI of EC2 has each address now.
    fn owners(&mut self) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        for eni in self.enis() {
            for address in eni["ips"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                owners.insert(address.to_owned(), eni["id"].as_str().unwrap_or_default().to_owned());
            }
        }
        owners
    }

    /// Adds pods until each has an address, and lets the pool settle.
    fn fill(&mut self, pods: usize) -> BTreeMap<usize, String> {
        let mut addresses = BTreeMap::new();
        for pod in 0..pods {
            let mut tries = 0;
            let address = loop {
                if let Some(address) = self.add(pod) {
                    break address;
                }
                tries += 1;
                assert!(tries < 60, "pod {pod} gets no address");
                self.pass(5.0);
            };
            addresses.insert(pod, address);
        }
        self.pass(90.0);
        addresses
    }

    /// How many of `pods` new pods get an address that a live pod has.
    fn duplicates(&mut self, live: &BTreeMap<usize, String>, pods: usize) -> usize {
        let mut duplicates = 0;
        for pod in 100..100 + pods {
            let address = self.add(pod);
            duplicates += usize::from(address.is_some_and(|address| live.values().any(|taken| *taken == address)));
            self.pass(1.0);
        }
        duplicates
    }
}

/// Counters and gauges of the agent are whole numbers.
#[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}
