//! Measures a large cluster: memory, time to warm up, time to advance, time to render, without any socket.
//!
//! `cargo run --release -p cni-sim --example world_size -- 10000`

use cni_sim::api_server::Backend;
use cni_sim::cluster::{Answer, PodKey, SimulatedCluster, Via};
use cni_sim::scenario::Scenario;
use cni_sim::truth::Window;
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes: u32 = std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let mut out = std::io::stdout().lock();
    let start_ms = 1_772_352_000_000;
    let begun = Instant::now();
    let cluster = SimulatedCluster::new(&Scenario::calm(nodes), 1, start_ms)?;
    writeln!(out, "{nodes} nodes: up after {:.1} s, {}", begun.elapsed().as_secs_f64(), memory()?)?;

    let pods: Vec<PodKey> =
        cluster.kube().pods().iter().map(|pod| PodKey::new(&*pod.meta.namespace, &*pod.meta.name)).collect();
    let (mut bytes, mut rendering, mut advancing) = (0_usize, 0.0, 0.0);
    let rounds = 60_i64;
    for round in 1..=rounds {
        let begun = Instant::now();
        cluster.advance_to(start_ms + round * 30_000);
        advancing += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        for pod in &pods {
            if let Answer::Page { body, ticket } = cluster.serve(pod, Via::Proxy) {
                bytes += body.len();
                cluster.delivered(ticket);
            }
        }
        rendering += begun.elapsed().as_secs_f64();
    }
    let pages = cluster.truth().pages() as f64;
    writeln!(
        out,
        "advancing: {:.0} simulated seconds a second; one page: {:.1} us and {:.0} bytes",
        rounds as f64 * 30.0 / advancing,
        rendering / pages * 1e6,
        bytes as f64 / pages
    )?;
    let begun = Instant::now();
    let truth =
        cluster.truth().round(Window { from: 0, to: i64::MAX, collector_start: None, collector_start_api: None });
    writeln!(
        out,
        "truth of {} pages: {:.2} s; after {rounds} rounds {}",
        truth.deliveries,
        begun.elapsed().as_secs_f64(),
        memory()?
    )?;
    Ok(())
}

/// Resident and peak memory, as the kernel counts it.
fn memory() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib: f64 = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0);
        kib / 1024.0
    };
    Ok(format!("{:.0} MiB resident (peak {:.0})", field("VmRSS:"), field("VmHWM:")))
}
