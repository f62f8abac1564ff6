//! Whether the API server is overloaded or out of reach, or only some nodes say so.
//!
//! A node can answer anything through the API server's proxy, in the API server's own words. So answers that accuse the API
//! server only raise a suspicion, and only when they are a share of all answers; then the API server itself is asked, by a
//! request that no node serves.

use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, timeout};

use crate::scrape::ApiServerEvidence;

/// Timeout of the probe, a request that costs the API server nothing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of probes: where only a part of the requests is refused, one that passes proves little.
const PROBES: u32 = 3;

/// Fewer accusations than this are never a reason to ask, unless there are fewer nodes.
const LEAST_ACCUSATIONS: usize = 2;

/// More than one of this many answers must accuse.
const SHARE: usize = 10;

/// How the API server answered a request that no node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiServerState {
    /// As it should, or with an error that is not about its load.
    Fine,
    /// With a request to slow down.
    RateLimits,
    /// Not in time, or not at all.
    Unreachable,
}

/// One round's suspicion, and what came of it.
#[derive(Debug)]
pub(super) struct Suspicion {
    targets: usize,
    answers: usize,
    accusations: usize,
    /// This number of accusations is a reason to ask; doubled each time that they turned out to be the nodes' own, so that
    /// the times grow with the logarithm of the nodes only.
    needed: usize,
    is_asking: bool,
    evidence: ApiServerEvidence,
}

impl Suspicion {
    pub(super) fn new(targets: usize) -> Self {
        Self {
            targets,
            answers: 0,
            accusations: 0,
            needed: LEAST_ACCUSATIONS.min(targets).max(1),
            is_asking: false,
            evidence: ApiServerEvidence::default(),
        }
    }

    /// Takes in one scrape that ended; true if the API server is to be asked now.
    pub(super) fn note(&mut self, accuses: bool) -> bool {
        self.answers = self.answers.saturating_add(1);
        self.accusations = self.accusations.saturating_add(usize::from(accuses));
        let is_share = self.accusations.saturating_mul(SHARE) > self.answers;
        let asks = !self.is_asking && accuses && self.accusations >= self.needed && is_share;
        self.is_asking |= asks;
        asks
    }

    /// Takes in what the API server did when it was asked; true if it is overloaded or out of reach.
    pub(super) fn asked(&mut self, state: ApiServerState) -> bool {
        self.is_asking = false;
        (self.answers, self.accusations) = (0, 0);
        match state {
            ApiServerState::Fine => self.needed = self.needed.saturating_mul(2).min(self.targets.max(1)),
            ApiServerState::RateLimits => self.evidence.rate_limits = true,
            ApiServerState::Unreachable => self.evidence.unreachable = true,
        }
        state != ApiServerState::Fine
    }

    /// What is known at the end of the round.
    pub(super) fn evidence(&self) -> ApiServerEvidence {
        self.evidence
    }
}

/// Asks the API server itself, a few times as long as it answers fast.
pub(super) async fn ask(client: &Client) -> ApiServerState {
    let began = Instant::now();
    for _ in 0..PROBES {
        let state = probe(client).await;
        if state != ApiServerState::Fine || began.elapsed() >= PROBE_TIMEOUT {
            return state;
        }
    }
    ApiServerState::Fine
}

async fn probe(client: &Client) -> ApiServerState {
    let Ok(request) = Request::get("/version").body(Body::empty()) else { return ApiServerState::Fine };
    match timeout(PROBE_TIMEOUT, client.send(request)).await {
        Ok(Ok(response)) => match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ApiServerState::RateLimits,
            _ => ApiServerState::Fine,
        },
        Ok(Err(_)) | Err(_) => ApiServerState::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_or_a_tenth_of_the_answers_is_no_reason_to_ask() {
        let mut suspicion = Suspicion::new(300);
        assert!((0..100).all(|number| !suspicion.note(number % 10 == 9)));
        let mut suspicion = Suspicion::new(300);
        assert!(!suspicion.note(true));
        assert!(suspicion.note(true));
        assert!(!suspicion.note(true), "it is being asked");
    }

    #[test]
    fn a_single_node_is_all_there_is_where_there_is_one() {
        assert!(Suspicion::new(1).note(true));
    }

    #[test]
    fn what_the_api_server_does_when_asked_decides() {
        let mut suspicion = Suspicion::new(300);
        assert!(!suspicion.asked(ApiServerState::Fine));
        assert_eq!(suspicion.evidence(), ApiServerEvidence::default());
        assert!(suspicion.asked(ApiServerState::RateLimits));
        assert!(suspicion.asked(ApiServerState::Unreachable));
        let evidence = suspicion.evidence();
        assert!(evidence.rate_limits && evidence.unreachable);
    }

    #[test]
    fn a_round_full_of_lying_nodes_asks_a_few_times_only() {
        for targets in [2, 40, 300, 100_000] {
            let mut suspicion = Suspicion::new(targets);
            let mut asked = 0;
            for _ in 0..targets {
                if suspicion.note(true) {
                    asked += 1;
                    suspicion.asked(ApiServerState::Fine);
                }
            }
            assert!((1..=17).contains(&asked), "{targets}: {asked}");
        }
    }
}
