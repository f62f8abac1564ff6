use super::*;

fn name(pod: u64) -> PodName {
    PodName { namespace: "default".into(), name: format!("pod-{pod}").into() }
}

fn kubelet(broken_namespaces: f64) -> Kubelet {
    Kubelet::new(KubeletSpec { broken_namespaces, ..KubeletSpec::default() }, 1)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn added(last: u8) -> Reply {
    Reply::Added { address: address(last), device: 0, vpc_cidrs: Vec::new() }
}

/// The RPC of the only ADD among these.
fn add_of(sends: &[Send]) -> &AddRequest<u64> {
    match sends {
        [Send::Add(request)] => request,
        other => panic!("one ADD was expected, not {other:?}"),
    }
}

#[test]
fn a_refused_add_is_followed_by_one_del_and_another_sandbox() {
    let mut kubelet = kubelet(0.0);
    let sends = kubelet.start_pod(0, 1, name(1));
    let first = add_of(&sends).clone();
    let sends = kubelet.answered(100, first.rpc, &Reply::AddRefused);
    let [Send::Del(del)] = &*sends else { panic!("{sends:?}") };
    assert_eq!((del.key, del.reason, del.pod.clone()), (first.key, DelReason::PodDeleted, name(1)));
    assert!(kubelet.answered(101, del.rpc, &Reply::UnknownPod).is_empty());
    let again_ms = kubelet.next_ms().unwrap();
    assert!((8_100..=14_100).contains(&again_ms) && kubelet.due(again_ms - 1).is_empty());
    let sends = kubelet.due(again_ms);
    let second = add_of(&sends).clone();
    assert!(second.key != first.key && second.rpc != first.rpc);
    let sends = kubelet.answered(again_ms, second.rpc, &added(9));
    assert_eq!(sends, [Send::Up { pod: 1, name: name(1), address: address(9) }]);
    assert_eq!(kubelet.running().collect::<Vec<_>>(), [(1, address(9))]);
    assert_eq!(kubelet.tally(), Tally { adds: 2, refused: 1, deleted: 1, ..Tally::default() });
    assert!(kubelet.answered(again_ms, second.rpc, &Reply::AddRefused).is_empty(), "answered once");
}

#[test]
fn a_del_that_reaches_no_agent_is_never_repeated() {
    let mut kubelet = kubelet(0.0);
    let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
    kubelet.answered(0, rpc, &added(9));
    let sends = kubelet.stop_pod(1);
    let [Send::Del(del), Send::Down { pod: 1 }] = &*sends else { panic!("{sends:?}") };
    assert!(kubelet.unanswered(5, del.rpc).is_empty());
    assert_eq!((kubelet.next_ms(), kubelet.open(), kubelet.tally().lost), (None, Vec::new(), 1));
}

#[test]
fn an_add_that_reaches_no_agent_is_tried_again_with_a_del_before() {
    let mut kubelet = kubelet(0.0);
    let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
    let sends = kubelet.unanswered(0, rpc);
    assert!(matches!(&*sends, [Send::Del(_)]), "{sends:?}");
    assert!(kubelet.next_ms().is_some());
    assert_eq!((kubelet.tally().unreachable, kubelet.tally().refused), (1, 0));
}

#[test]
fn the_plugin_says_why_where_the_namespace_failed() {
    let mut kubelet = kubelet(1.0);
    let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
    let sends = kubelet.answered(0, rpc, &added(9));
    let reasons: Vec<_> =
        sends.iter().map(|send| if let Send::Del(del) = send { Some(del.reason) } else { None }).collect();
    assert_eq!(reasons, [Some(DelReason::SetupNsFailed), Some(DelReason::PodDeleted)]);
    assert_eq!(kubelet.running().count(), 0);
}

#[test]
fn a_pod_deleted_during_its_add_gives_back_what_it_gets() {
    for reply in [added(9), Reply::AddRefused] {
        let mut kubelet = kubelet(0.0);
        let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
        assert!(kubelet.stop_pod(1).is_empty());
        let sends = kubelet.answered(10, rpc, &reply);
        assert_eq!(sends.iter().filter(|send| matches!(send, Send::Del(_))).count(), 1, "{sends:?}");
        assert_eq!((kubelet.running().count(), kubelet.waiting(), kubelet.next_ms()), (0, 0, None));
    }
}

#[test]
fn an_add_without_an_answer_ends_with_its_caller() {
    let mut kubelet = kubelet(0.0);
    let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
    assert_eq!(kubelet.next_ms(), Some(120_000));
    let sends = kubelet.due(120_000);
    assert!(matches!(&*sends, [Send::Gone(gone), Send::Del(_)] if *gone == rpc), "{sends:?}");
    assert!(kubelet.answered(120_001, rpc, &added(9)).is_empty(), "nobody listens any more");
}

#[test]
fn a_leaked_pod_leaves_no_del() {
    let mut kubelet = kubelet(0.0);
    let rpc = add_of(&kubelet.start_pod(0, 1, name(1))).rpc;
    kubelet.answered(0, rpc, &added(9));
    assert_eq!(kubelet.leak_pod(1), [Send::Down { pod: 1 }]);
    assert!(kubelet.leak_pod(1).is_empty() && kubelet.open().is_empty());
}

#[test]
fn a_pod_deleted_by_force_is_torn_down_when_the_runtime_comes_to_it() {
    let mut kubelet = kubelet(0.0);
    let first = add_of(&kubelet.start_pod(0, 1, name(7))).clone();
    kubelet.answered(0, first.rpc, &added(9));
    let sandbox = kubelet.force_stop(1).unwrap();
    assert!(kubelet.running().next().is_none() && kubelet.force_stop(1).is_none());
    // The next pod of the name comes first.
    let second = add_of(&kubelet.start_pod(5, 2, name(7))).clone();
    assert!(second.pod == first.pod && second.key != first.key);
    for _ in 0..2 {
        let Send::Del(del) = kubelet.late_del(sandbox.clone()) else { panic!("no DEL") };
        assert_eq!((del.key, del.pod), (first.key, name(7)));
    }
}
