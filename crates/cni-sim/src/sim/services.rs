//! The simulator's AWS services, and how the cluster's faults reach them.

use crate::aws::fault::Fault;
use crate::aws::{Clock, WallClock, serve};
use crate::cloudwatch::{self, CloudWatch};
use crate::cluster::SimulatedCluster;
use crate::ec2::{self, Ec2};
use crate::fault::{CloudWatchFault, Ec2Fault, ImdsFault};
use crate::imds::{self, Imds, Mode};
use crate::pod_identity::{self, PodIdentity};
use crate::port::HeldPort;
use crate::sts::{self, Sts};
use axum::Router;
use cni_types::random::mix;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the metadata service checks the cluster for its fault.
const FOLLOW: Duration = Duration::from_millis(50);

/// The services. Their clock is the machine's, since a helper of its own process stamps its points and judges its
/// credentials by that; only in lockstep does CloudWatch go by the cluster's, as the driver of the cluster does.
pub(super) struct Services {
    pub(super) cloudwatch: CloudWatch,
    pub(super) cloudwatch_address: SocketAddr,
    pub(super) ec2: Ec2,
    pub(super) ec2_address: SocketAddr,
    pub(super) sts: Sts,
    pub(super) sts_address: SocketAddr,
    pub(super) imds: Imds,
    pub(super) imds_address: SocketAddr,
    pub(super) pod_identity: PodIdentity,
    pub(super) pod_identity_address: SocketAddr,
}

/// The cluster's own time.
struct ClusterClock(Arc<SimulatedCluster>);

impl Clock for ClusterClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
}

impl Services {
    pub(super) async fn start(
        cluster: &Arc<SimulatedCluster>,
        seed: u64,
        lockstep: bool,
        stop: &CancellationToken,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> io::Result<Self> {
        let clock = Arc::new(WallClock);
        let points_clock: Arc<dyn Clock> =
            if lockstep { Arc::new(ClusterClock(cluster.clone())) } else { clock.clone() };
        let cloudwatch = CloudWatch::new(points_clock, seed);
        let ec2 = Ec2::new(clock.clone(), cluster.clone(), seed);
        let sts = Sts::new(clock.clone(), seed);
        let imds = Imds::new(clock.clone(), cluster.identity());
        let pod_identity = PodIdentity::new(clock, seed);
        let draw = Draw::new(seed);
        let source = (cluster.clone(), draw.clone());
        cloudwatch
            .faults()
            .set_source(Some(Arc::new(move |_| cloudwatch_fault(&source.0.cloudwatch_fault(), &source.1))));
        let source = (cluster.clone(), draw);
        ec2.faults().set_source(Some(Arc::new(move |_| ec2_fault(&source.0.ec2_fault(), &source.1))));

        let cloudwatch_address = spawn(cloudwatch::router(cloudwatch.clone()), stop, tasks).await?;
        let ec2_address = spawn(ec2::router(ec2.clone()), stop, tasks).await?;
        let sts_address = spawn(sts::router(sts.clone()), stop, tasks).await?;
        let pod_identity_address = spawn(pod_identity::router(pod_identity.clone()), stop, tasks).await?;
        let port = HeldPort::take(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let imds_address = port.address();
        tasks.push(tokio::spawn(imds::serve(port, imds.clone(), stop.clone())));
        tasks.push(tokio::spawn(follow(cluster.clone(), imds.clone(), stop.clone())));
        Ok(Self {
            cloudwatch,
            cloudwatch_address,
            ec2,
            ec2_address,
            sts,
            sts_address,
            imds,
            imds_address,
            pod_identity,
            pod_identity_address,
        })
    }
}

/// A listener on loopback.
pub(super) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

async fn spawn(router: Router, stop: &CancellationToken, tasks: &mut Vec<JoinHandle<()>>) -> io::Result<SocketAddr> {
    let listener = bind(0).await?;
    let address = listener.local_addr()?;
    tasks.push(tokio::spawn(serve::serve(listener, router, stop.clone())));
    Ok(address)
}

/// Sets the metadata service's mode when the cluster's fault changes, and only then: what a test sets by hand stays.
async fn follow(cluster: Arc<SimulatedCluster>, imds: Imds, stop: CancellationToken) {
    let mut last = ImdsFault::None;
    let mut ticks = tokio::time::interval(FOLLOW);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = cluster.imds_fault();
        if now != last {
            imds.set_mode(match now {
                ImdsFault::None => Mode::Normal,
                ImdsFault::Hang => Mode::Blackhole,
                ImdsFault::Refused => Mode::Refused,
                ImdsFault::HopLimit => Mode::HopLimited,
                ImdsFault::NoTags => Mode::TagsOff,
            });
            last = now;
        }
    }
}

/// Decides which requests a share hits.
#[derive(Debug, Clone)]
struct Draw {
    seed: u64,
    requests: Arc<AtomicU64>,
}

impl Draw {
    fn new(seed: u64) -> Self {
        Self { seed, requests: Arc::default() }
    }

    fn hits(&self, share: f64) -> bool {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let unit = (mix(self.seed ^ mix(number)) >> 11) as f64 / (1_u64 << 53) as f64;
        unit < share
    }
}

fn cloudwatch_fault(fault: &CloudWatchFault, draw: &Draw) -> Fault {
    match fault {
        CloudWatchFault::Throttle { share } if draw.hits(*share) => Fault::Throttle,
        CloudWatchFault::ServerError { share } if draw.hits(*share) => Fault::Internal,
        CloudWatchFault::AccessDenied => Fault::AccessDenied,
        CloudWatchFault::Down => Fault::Unavailable,
        CloudWatchFault::NoAnswer => Fault::Reset,
        CloudWatchFault::LostAnswer => Fault::ResetAfter,
        CloudWatchFault::Latency { delay_ms } => Fault::Delay(u64::from(*delay_ms)),
        CloudWatchFault::None | CloudWatchFault::Throttle { .. } | CloudWatchFault::ServerError { .. } => Fault::None,
    }
}

fn ec2_fault(fault: &Ec2Fault, draw: &Draw) -> Fault {
    match fault {
        Ec2Fault::Throttle { share } if draw.hits(*share) => Fault::Throttle,
        Ec2Fault::Unauthorized => Fault::AccessDenied,
        Ec2Fault::Down => Fault::Reset,
        Ec2Fault::None | Ec2Fault::Throttle { .. } => Fault::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_is_hit() {
        let draw = Draw::new(3);
        let fault = CloudWatchFault::Throttle { share: 0.3 };
        let hits = (0..10_000).filter(|_| cloudwatch_fault(&fault, &draw) == Fault::Throttle).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert_eq!(cloudwatch_fault(&CloudWatchFault::Down, &draw), Fault::Unavailable);
        assert_eq!(cloudwatch_fault(&CloudWatchFault::NoAnswer, &draw), Fault::Reset);
        assert_eq!(cloudwatch_fault(&CloudWatchFault::LostAnswer, &draw), Fault::ResetAfter);
        assert_eq!(ec2_fault(&Ec2Fault::Throttle { share: 0.0 }, &draw), Fault::None);
    }
}
