//! A pod as its kubelet keeps it: thousands of nodes have a dozen each.

use ipamd_core::id::RpcId;
use ipamd_core::small_ip::SmallIp;

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its sandbox's ADD is under way, since then; `doomed`: the pod was deleted meanwhile.
    Adding { rpc: RpcId, since_ms: i64, doomed: bool },
    /// Its next sandbox is tried then.
    Waiting { until_ms: i64 },
    /// It runs.
    Running,
}

/// Where a pod is, and its address. Most pods run: what the others need lies elsewhere.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Pending(Box<State>),
    Running(SmallIp),
}

#[derive(Debug, Clone)]
pub(super) struct Pod {
    /// Its present sandbox; each try has another one.
    pub(super) sandbox: u64,
    pub(super) place: Place,
}

impl Pod {
    pub(super) fn state(&self) -> State {
        match &self.place {
            Place::Pending(state) => **state,
            Place::Running(_) => State::Running,
        }
    }

    pub(super) fn set(&mut self, state: State) {
        self.place = Place::Pending(Box::new(state));
    }
}
