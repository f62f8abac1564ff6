use super::*;
use crate::captured::captured_log;

const NOW: i64 = 1_767_225_600_000;
const INTERVAL: i64 = 30_000;
const HERE: Origin<'static> = Origin { cluster: Some("prod"), shard: Some("1/3") };

fn open(id: FindingId, name: &str, severity: Severity, since_ms: i64) -> OpenFinding {
    OpenFinding {
        identity: Identity { id, scope: Scope { kind: id.facts().scope, name: name.into() } },
        severity,
        since_ms,
    }
}

fn two() -> Vec<OpenFinding> {
    vec![
        open(FindingId::SubnetExhausted, "zone-a/\"batch\"\n", Severity::Critical, NOW - 5000),
        open(FindingId::Ec2Throttled, "", Severity::Warning, NOW - 7000),
    ]
}

fn at(text: &str, now_ms: i64) -> Result<Earlier, Unusable> {
    read(text, now_ms, INTERVAL, HERE)
}

#[test]
fn what_is_written_is_read_again() {
    let text = write(&two(), NOW, HERE);
    assert_eq!(at(&text, NOW + 4000), Ok(Earlier { age_ms: 4000, open: two(), ..Earlier::default() }));
    assert_eq!(at(&write(&[], NOW, HERE), NOW), Ok(Earlier::default()), "nothing is open, and that is known");
    for id in FindingId::ALL {
        let name = if id.facts().scope == ScopeKind::Cluster { "" } else { "a" };
        let one = vec![open(id, name, Severity::Info, NOW)];
        assert_eq!(at(&write(&one, NOW, HERE), NOW).map(|earlier| earlier.open), Ok(one));
    }
}

#[test]
fn a_text_has_at_most_sixteen_kibibytes_with_the_worst_first_and_counts_what_is_cut() {
    let name = |number: usize| format!("{:063}/{number:063}", 1);
    let many: Vec<OpenFinding> =
        (0..500).map(|number| open(FindingId::SubnetExhausted, &name(number), Severity::Critical, NOW)).collect();
    let text = write(&many, NOW, HERE);
    assert!(text.len() <= MOST_BYTES && text.len() > MOST_BYTES - 1000, "{}", text.len());
    let read = at(&text, NOW).unwrap();
    assert_eq!(read.open, many[..read.open.len()]);
    assert_eq!((read.open.len() as u64 + read.cut, read.ignored), (500, 0));
    // Names that JSON makes six times as long.
    let names = Origin { cluster: Some(&"\u{1}".repeat(255)), shard: None };
    let many: Vec<OpenFinding> = (0..500)
        .map(|number| open(FindingId::NodeFull, &format!("{}{number}", "\u{1}".repeat(120)), Severity::Info, NOW))
        .collect();
    assert!(write(&many, i64::MIN, names).len() <= MOST_BYTES);
}

#[test]
fn what_is_not_of_this_program_or_not_of_now_is_named() {
    let text = write(&two(), NOW, HERE);
    let elsewhere = |cluster, shard| read(&text, NOW, INTERVAL, Origin { cluster, shard });
    let foreign = |what, theirs: &str, ours: &str| {
        Err(Unusable::Foreign { what, theirs: theirs.to_owned(), ours: ours.to_owned() })
    };
    assert_eq!(elsewhere(Some("test"), Some("1/3")), foreign("cluster", "prod", "test"));
    assert_eq!(elsewhere(Some("prod"), Some("2/3")), foreign("shard", "1/3", "2/3"));
    assert_eq!(elsewhere(Some("prod"), None), foreign("shard", "1/3", "none"));
    assert!(elsewhere(None, Some("1/3")).is_ok(), "not known yet");
    assert_eq!(at(&text.replace("\"version\":1", "\"version\":2"), NOW), Err(Unusable::Version(2)));
    assert_eq!(at(&text.replace("\"version\":1,", "\"version\":7,\"new\":{},"), NOW), Err(Unusable::Version(7)));
    assert_eq!(at(&"x".repeat(MOST_READ_BYTES + 1), NOW), Err(Unusable::TooLong(MOST_READ_BYTES + 1)));
    for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
        assert!(matches!(at(&text[..length], NOW), Err(Unusable::Damaged(_))), "{length}");
    }
    for damaged in
        ["null", "{}", "[]", r#"{"version":-1}"#, r#"{"version":1,"at":"x","findings":[]}"#, r#"{"version":1,"at":1}"#]
    {
        assert!(matches!(at(damaged, NOW), Err(Unusable::Damaged(_))), "{damaged}");
    }
}

#[test]
fn a_clock_that_jumped_makes_it_old_or_young_and_nothing_begins_in_the_future() {
    let text = write(&two(), NOW, HERE);
    assert!(at(&text, NOW + 600_000).is_ok());
    assert_eq!(at(&text, NOW + 600_001), Err(Unusable::Stale(600)));
    assert!(read(&text, NOW + 3_000_000, 300_000, HERE).is_ok(), "ten intervals");
    assert_eq!(at(&text, i64::MAX), Err(Unusable::Stale((i64::MAX - NOW) / 1000)));
    for (back, ahead_ms) in [(40_000, 0), (40_001, 40_001), (86_400_000, 86_400_000)] {
        let read = at(&text, NOW - back).unwrap();
        assert_eq!((read.age_ms, read.ahead_ms), (0, ahead_ms));
        assert!(read.open.iter().all(|open| open.since_ms == NOW - back), "{:?}", read.open);
    }
    assert!(at(&text, i64::MIN).is_ok());
}

#[test]
fn single_findings_that_cannot_be_are_ignored_and_counted() {
    let row = |id: &str, kind: &str, scope: &str, severity: &str| {
        format!(r#"{{"id":"{id}","kind":"{kind}","scope":"{scope}","severity":"{severity}","since":1,"more":[]}}"#)
    };
    let long = "x".repeat(MOST_NAME_BYTES + 1);
    let rows = [
        row("subnet-exhausted", "pool", "a/b", "critical"),
        row("of-tomorrow", "pool", "a/b", "critical"),
        row("subnet-exhausted", "group", "a/b", "critical"),
        row("subnet-exhausted", "pool", "a/b", "fatal"),
        row("subnet-exhausted", "pool", "", "critical"),
        row("ec2-throttled", "cluster", "x", "critical"),
        row("node-full", "group", &long, "critical"),
        "7".to_owned(),
    ];
    let text = format!(r#"{{"version":1,"at":{NOW},"shard":"1/3","cut":5,"findings":[{}]}}"#, rows.join(","));
    let read = at(&text, NOW).unwrap();
    assert_eq!((read.open.len(), read.ignored, read.cut), (1, 7, 5));
}

#[test]
fn what_is_used_and_what_is_not_is_logged() {
    let logged = |read: &Result<Earlier, Unusable>| {
        let (subscriber, lines) = captured_log();
        tracing::subscriber::with_default(subscriber, || log(read, "the lease"));
        lines.lines()
    };
    let all = Earlier { age_ms: 4000, open: two(), cut: 3, ignored: 1, ahead_ms: 90_000 };
    let lines = logged(&Ok(all));
    let parts = [
        "2 open findings go on from the lease, kept 4 s ago",
        "3 open findings",
        "1 open finding in the lease",
        "90 s ahead",
    ];
    assert_eq!(lines.len(), parts.len(), "{lines:#?}");
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    let lines = logged(&Err(Unusable::Version(2)));
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("(format 2)"), "{lines:?}");
}
