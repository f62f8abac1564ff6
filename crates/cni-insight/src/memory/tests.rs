use super::*;
use crate::evidence::Source;
use crate::play::{Node, Play, error};
use crate::scope::{Scope, ScopeKind};
use crate::severity::Certainty;
use crate::verdict::{Figures, Verdict};

#[test]
fn a_uuid_takes_its_own_bytes_and_no_two_texts_are_one_key() {
    let uid = "01234567-89ab-cdef-0123-456789abcdef";
    let NodeKey::Uuid(bytes) = NodeKey::of(uid) else { panic!("no UUID") };
    assert_eq!(bytes, [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    for other in [
        "",
        "a",
        "01234567-89AB-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdef",
        "0123456-789ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "01234567-89ab-cdef-0123-456789abcde-",
        "01234567-89ab-cdef-0123-456789abcdef0",
    ] {
        assert_eq!(NodeKey::of(other), NodeKey::Text(other.into()));
    }
    assert!(size_of::<(NodeKey, NodeMemory)>() <= 120, "{}", size_of::<(NodeKey, NodeMemory)>());
}

#[test]
fn a_cause_is_the_same_after_it_was_kept() {
    let full = NodeCause {
        verdict: Verdict {
            id: FindingId::SubnetExhausted,
            certainty: Certainty::Likely,
            lacks: vec![Source::Subnets, Source::Pods],
            figures: Figures {
                refused: 7.0,
                refused_now: 2.0,
                is_inferred: true,
                api: Some("A".into()),
                code: Some("C".into()),
                errors: 3.0,
                assigned: Some(0.0),
                held: Some(18.0),
                usable: Some(27.0),
                max_pods: Some(58),
                type_enis: Some(3),
                setting: Some(0),
                count: 4.0,
                word: Some("w".into()),
            },
            is_info: true,
        },
        scope: Scope { kind: ScopeKind::Pool, name: "a/b".into() },
        since_ms: 5,
        refused_ms: 6,
        has_lasted: true,
    };
    let bare = NodeCause {
        verdict: Verdict::without_page(FindingId::NodeFull),
        scope: Scope { kind: ScopeKind::Cluster, name: "".into() },
        ..full.clone()
    };
    let mut shared = Shared::default();
    for cause in [full, bare] {
        assert_eq!(KeptCause::new(cause.clone(), &mut shared).cause(), cause);
    }
}

#[test]
fn what_nodes_share_is_kept_once_and_dropped_with_the_last_of_them() {
    let mut play = Play::every(30);
    let refusing = |number: u32| {
        let node = Node::new(&format!("n{number}")).pool(18.0, 18.0, 27).refusing(2.0);
        node.counting(error("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", 1.0))
    };
    let nodes: Vec<Node> = (0..100).map(refusing).collect();
    for _ in 0..5 {
        play.round(&nodes);
        assert_eq!(play.insight.shared_values(), 2, "one label set, and the words of one verdict");
    }
    // The errors and the refusals are over after five minutes.
    let calm: Vec<Node> = (0..100).map(|number| Node::new(&format!("n{number}"))).collect();
    (0..12).for_each(|_| drop(play.round(&calm)));
    assert_eq!(play.insight.shared_values(), 0);
    // New codes in every round leave nothing behind.
    for round in 0..200 {
        let code: &'static str = Box::leak(format!("Code{round}").into_boxed_str());
        play.round(&[Node::new("a").refusing(1.0).counting(error("CreateNetworkInterface", code, 1.0))]);
        assert!(play.insight.shared_values() <= 24, "{}", play.insight.shared_values());
    }
}

#[test]
fn a_restart_is_forgotten_once_no_rule_asks_for_it() {
    let mut play = Play::every(30);
    let node = |restarts| Node { restarts, ..Node::new("a") };
    play.round(&[node(0)]);
    play.round(&[node(1)]);
    let remembers = |play: &Play| play.insight.remembers_trouble("a");
    (0..60).for_each(|_| drop(play.round(&[node(1)])));
    assert!(remembers(&play));
    play.round(&[node(1)]);
    assert!(!remembers(&play));
}
