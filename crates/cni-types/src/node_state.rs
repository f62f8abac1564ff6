//! What a round finds a node to be: the states that tables, JSON and the label `state` of `cni_cluster_nodes` name.

/// A state of a node. A node has each state that applies to it, except that [`NodeState::Ok`] is a node with no other, and
/// [`NodeState::Silent`] excludes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// None of the others.
    Ok,
    /// It refused at least one request for a pod address since its last page.
    Refusing,
    /// It holds all pod addresses that it can use, and needed them: in one of its last two rounds it refused a request, or
    /// in one of its last four all of them were assigned.
    Full,
    /// Its page has implausible values, which are left out.
    Implausible,
    /// Its page has lines of ipamd's metrics that could not be read.
    Damaged,
    /// It should have answered, and gave no page.
    Silent,
}

/// How many states there are.
pub const NODE_STATES: usize = 6;

impl NodeState {
    /// Every state, in the order in which they are shown.
    pub const ALL: [Self; NODE_STATES] =
        [Self::Ok, Self::Refusing, Self::Full, Self::Implausible, Self::Damaged, Self::Silent];

    /// The stable name: label of the metric, JSON value, text in tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refusing => "refusing",
            Self::Full => "full",
            Self::Implausible => "implausible",
            Self::Damaged => "damaged",
            Self::Silent => "silent",
        }
    }
}

/// The states of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeStates(u8);

const _: () = assert!(NODE_STATES <= u8::BITS as usize, "a bit for each state");

impl NodeStates {
    /// Adds a state. [`NodeState::Ok`] adds nothing: it is the absence of the others.
    pub fn insert(&mut self, state: NodeState) {
        if state != NodeState::Ok {
            self.0 |= 1 << state as u8;
        }
    }

    /// True if the node is in that state.
    pub fn contains(self, state: NodeState) -> bool {
        if state == NodeState::Ok { self.0 == 0 } else { self.0 & (1 << state as u8) != 0 }
    }

    /// The node's states, at least one, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = NodeState> {
        NodeState::ALL.into_iter().filter(move |state| self.contains(*state))
    }
}

impl FromIterator<NodeState> for NodeStates {
    fn from_iter<I: IntoIterator<Item = NodeState>>(states: I) -> Self {
        let mut set = Self::default();
        states.into_iter().for_each(|state| set.insert(state));
        set
    }
}

/// How many nodes are in each state. A node with two states counts under both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts([u64; NODE_STATES]);

impl StateCounts {
    /// Counts a node.
    pub fn add(&mut self, states: NodeStates) {
        for (count, state) in self.0.iter_mut().zip(NodeState::ALL) {
            *count += u64::from(states.contains(state));
        }
    }

    /// How many nodes are in that state.
    pub fn get(&self, state: NodeState) -> u64 {
        self.0.get(state as usize).copied().unwrap_or(0)
    }

    /// Each state with its number of nodes, 0 included.
    pub fn iter(&self) -> impl Iterator<Item = (NodeState, u64)> + '_ {
        NodeState::ALL.into_iter().zip(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ok_exactly_if_it_is_in_no_other_state() {
        let labels = |states: NodeStates| states.iter().map(NodeState::label).collect::<Vec<_>>();
        assert_eq!(labels(NodeStates::default()), ["ok"]);
        assert_eq!(labels(NodeStates::from_iter([NodeState::Ok])), ["ok"]);
        let both = NodeStates::from_iter([NodeState::Full, NodeState::Ok, NodeState::Refusing]);
        assert_eq!(labels(both), ["refusing", "full"]);
        let mut counts = StateCounts::default();
        counts.add(both);
        counts.add(NodeStates::default());
        assert_eq!(counts.iter().map(|(_, nodes)| nodes).collect::<Vec<_>>(), [1, 1, 1, 0, 0, 0]);
        for (number, state) in NodeState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert!(NodeStates::from_iter([state]).contains(state));
        }
    }
}
