use super::*;

const LEASE: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(30);
const READY: Wish = Wish { claimed: None, is_ready: true };
const NOON: UnixMillis = UnixMillis(1_800_000_000_000);

fn record(holder: Option<&str>, version: &str) -> Record {
    Record {
        holder: holder.map(str::to_owned),
        duration: LEASE,
        version: version.to_owned(),
        transitions: 0,
        published_until: None,
    }
}

fn candidate(name: &str) -> Candidate {
    Candidate::new(name.to_owned(), LEASE, INTERVAL)
}

fn at(now: Instant) -> Moment {
    Moment { now, wall: NOON }
}

fn holds(step: Step) -> Write {
    match step {
        Step::Hold(write) => write,
        other => panic!("{other:?}"),
    }
}

/// The lease after this write.
fn after(name: Option<&str>, write: Write, version: &str) -> Record {
    Record { transitions: write.transitions, published_until: write.published_until, ..record(name, version) }
}

#[test]
fn a_free_lease_is_taken_at_once_by_a_replica_that_could_lead() {
    let now = Instant::now();
    let mut candidate = candidate("a");
    assert_eq!(candidate.look(at(now), None, Wish { is_ready: false, ..READY }), Step::Wait);
    holds(candidate.look(at(now), None, READY));
    holds(candidate.look(at(now), Some(&record(None, "1")), READY));
}

#[test]
fn anothers_lease_is_taken_only_after_it_stood_still_for_its_whole_duration() {
    let begin = Instant::now();
    let mut candidate = candidate("b");
    let mut look = |after: Duration, version: &str| {
        candidate.look(at(begin + after), Some(&record(Some("a"), version)), READY) == Step::Wait
    };
    assert!(look(Duration::ZERO, "1"));
    assert!(look(Duration::from_millis(14_999), "1"));
    assert!(!look(LEASE, "1"));
    // A renewal in between starts the wait anew.
    assert!(look(LEASE, "2"));
    assert!(!look(LEASE + LEASE, "2"));
}

#[test]
fn a_senseless_duration_in_the_lease_keeps_no_one_waiting_longer_than_a_setting_can() {
    let begin = Instant::now();
    let mut candidate = candidate("b");
    let lease = Record { duration: Duration::from_secs(1 << 31), ..record(Some("a"), "1") };
    assert_eq!(candidate.look(at(begin), Some(&lease), READY), Step::Wait);
    holds(candidate.look(at(begin + LONGEST_LEASE), Some(&lease), READY));
}

#[test]
fn a_leader_that_cannot_renew_stops_before_another_can_start() {
    let begin = Instant::now();
    let mut leader = candidate("a");
    let write = holds(leader.look(at(begin), None, READY));
    let until = leader.held(begin, write);
    assert!(leader.leads(until - Duration::from_millis(1)) && !leader.leads(until));
    // The other saw the renewal at the earliest when it was written, hence after it began.
    let mut other = candidate("b");
    other.look(at(begin), Some(&record(Some("a"), "1")), READY);
    assert_eq!(other.look(at(until), Some(&record(Some("a"), "1")), READY), Step::Wait);
}

#[test]
fn a_lapse_in_which_no_one_else_held_the_lease_is_no_new_tenure() {
    let begin = Instant::now();
    let mut leader = candidate("a");
    let first = holds(leader.look(at(begin), None, READY));
    leader.held(begin, first);
    // The answer to the next write is lost; it may or may not have been done.
    let claimed = Wish { claimed: Some(NOON), ..READY };
    let lost = holds(leader.look(at(begin), Some(&after(Some("a"), first, "1")), claimed));
    let later = begin + Duration::from_hours(1);
    for found in [first, lost] {
        let renewed = holds(leader.look(at(later), Some(&after(Some("a"), found, "2")), claimed));
        assert!(leader.holds() && leader.tenure() == 0 && renewed.was_ours);
    }
    assert_eq!(leader.by_others(), None);
}

#[test]
fn a_lapse_in_which_the_lease_may_have_been_anothers_is_a_new_tenure() {
    let begin = Instant::now();
    let later = begin + Duration::from_hours(1);
    let held = || {
        let mut leader = candidate("a");
        let write = holds(leader.look(at(begin), Some(&record(None, "0")), READY));
        leader.held(begin, write);
        (leader, write)
    };
    let published = |write: Write| Write { published_until: Some(NOON), ..write };
    let moved = |write: Write| Write { transitions: write.transitions + 1, ..write };
    let (_, write) = held();
    let found = [
        Some(after(Some("b"), write, "1")),
        Some(after(None, write, "1")),
        Some(after(Some("a"), moved(write), "1")),
        Some(after(Some("a"), published(write), "1")),
        None,
    ];
    for found in found {
        let (mut leader, _) = held();
        leader.look(at(later), found.as_ref(), READY);
        assert_eq!((leader.tenure(), leader.holds()), (1, false), "{found:?}");
        leader.look(at(later), found.as_ref(), READY);
        assert_eq!(leader.tenure(), 1, "it is counted once: {found:?}");
    }
}

#[test]
fn a_replica_whose_rounds_do_not_turn_gives_the_lease_back_and_takes_it_again_as_its_own() {
    let begin = Instant::now();
    let mut leader = candidate("a");
    let write = holds(leader.look(at(begin), None, READY));
    leader.held(begin, write);
    let stuck = Wish { is_ready: false, ..READY };
    let Step::Release(free) = leader.look(at(begin), Some(&after(Some("a"), write, "1")), stuck) else { panic!() };
    assert!(!leader.leads(begin), "it stops at once, whether or not the release succeeds");
    assert_eq!(leader.look(at(begin), Some(&after(None, free, "2")), stuck), Step::Wait);
    holds(leader.look(at(begin), Some(&after(None, free, "2")), READY));
    assert_eq!(leader.tenure(), 0);
}

#[test]
fn a_published_until_ahead_of_our_clock_is_not_believed_and_not_handed_on() {
    let begin = Instant::now();
    let ahead = UnixMillis(NOON.0 + 30 * 60_000);
    let mut standby = candidate("b");
    let lease = Record { published_until: Some(ahead), ..record(Some("a"), "1") };
    standby.look(at(begin), Some(&lease), READY);
    assert_eq!(standby.by_others(), Some(NOON));
    assert_eq!(standby.doubt(), Some(Doubt { said: ahead, assumed: NOON }));
    // The same word, later: it means what it meant.
    let later = Moment { now: begin + LEASE, wall: UnixMillis(NOON.0 + 15_000) };
    let write = holds(standby.look(later, Some(&lease), READY));
    assert_eq!((standby.by_others(), write.published_until), (Some(NOON), Some(NOON)));
    // Little differences of clocks are believed.
    let near = Record { published_until: Some(UnixMillis(NOON.0 + 35_000)), ..record(Some("c"), "3") };
    standby.look(at(begin), Some(&near), READY);
    assert_eq!(standby.by_others(), near.published_until);
}

#[test]
fn a_clock_that_is_set_back_takes_what_others_published_along() {
    let begin = Instant::now();
    let mut standby = candidate("b");
    let lease = Record { published_until: Some(NOON), ..record(Some("a"), "1") };
    standby.look(at(begin), Some(&lease), READY);
    let hour_back = Moment { now: begin, wall: UnixMillis(NOON.0 - 3_600_000) };
    standby.look(hour_back, Some(&lease), READY);
    assert_eq!(standby.by_others(), Some(hour_back.wall));
    let claimed = Wish { claimed: Some(NOON), ..READY };
    let write = holds(standby.look(hour_back, Some(&record(None, "2")), claimed));
    assert_eq!(write.published_until, Some(UnixMillis(hour_back.wall.0 + 30_000)), "at most an interval ahead");
    assert_eq!(write.claimed, Some(NOON));
}

/// Two replicas, one lease, and everything that can go wrong between them.
struct World {
    random: fastrand::Rng,
    now: Instant,
    wall: i64,
    replicas: [Replica; 2],
    lease: Option<Record>,
    version: u64,
}

struct Replica {
    name: &'static str,
    candidate: Candidate,
    /// How far its clock is ahead.
    ahead_ms: i64,
    claimed: Option<UnixMillis>,
    /// A write that was given up, and may still be done much later.
    late: Option<(Option<String>, Step)>,
    /// Its tenure when it last began to lead or went on, and what others had done to the lease by then.
    led: Option<(u64, Others)>,
    others: Others,
}

/// What happened to the lease that was not this replica's doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Others {
    /// It was another's.
    held: u64,
    /// It was written by another replica, or by a request of ours that was given up.
    touched: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let replica = |name: &'static str| Replica {
            name,
            candidate: Candidate::new(name.to_owned(), LEASE, INTERVAL),
            ahead_ms: 0,
            claimed: None,
            late: None,
            led: None,
            others: Others::default(),
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: Instant::now(),
            wall: NOON.0,
            replicas: [replica("a"), replica("b")],
            lease: None,
            version: 0,
        }
    }

    fn wall_of(&self, replica: usize) -> UnixMillis {
        UnixMillis(self.wall + self.replicas[replica].ahead_ms)
    }

    fn leaders(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.candidate.leads(self.now)).count()
    }

    fn step(&mut self) {
        let pass = Duration::from_millis(self.random.u64(0..2500));
        self.now += pass;
        self.wall += i64::try_from(pass.as_millis()).unwrap();
        let replica = self.random.usize(0..2);
        match self.random.u32(0..100) {
            0..=70 => self.look(replica),
            71..=74 => self.replicas[replica].ahead_ms = self.random.i64(-100_000_000..100_000_000),
            75..=78 => self.replicas[replica].ahead_ms = 0,
            79 => self.garble(),
            80..=84 => self.others(),
            85..=89 => {
                let wall = self.wall_of(replica);
                self.replicas[replica].claimed = Some(wall);
            }
            // The API server does not answer, or the replica was stopped: time passes.
            90..=92 => self.now += LEASE * self.random.u32(1..4),
            _ => {}
        }
        if self.random.u8(0..4) == 0 {
            let replica = self.random.usize(0..2);
            self.land(replica);
        }
    }

    fn look(&mut self, replica: usize) {
        let at = Moment { now: self.now, wall: self.wall_of(replica) };
        let is_ready = self.random.u8(0..20) != 0;
        let lease = self.lease.clone();
        let Replica { candidate, claimed, .. } = &mut self.replicas[replica];
        let step = candidate.look(at, lease.as_ref(), Wish { claimed: *claimed, is_ready });
        let by_others = candidate.by_others().map_or(i64::MIN, |until| until.0);
        assert!(by_others <= at.wall.0 + 40_000, "silent until {by_others} at {:?}", at.wall);
        let (Step::Hold(write) | Step::Release(write)) = step else { return };
        let latest = at.wall.0 + 30_000;
        assert!(write.published_until.is_none_or(|until| until.0 <= latest), "{write:?} at {:?}", at.wall);
        let read = lease.map(|lease| lease.version);
        match self.random.u8(0..20) {
            // The request is given up: it never comes, or late.
            0 => return,
            1 | 2 => return self.replicas[replica].late = Some((read, step)),
            // Another writes in between.
            3..=6 => self.land(1 - replica),
            7 | 8 => self.garble(),
            _ => {}
        }
        self.now += Duration::from_millis(self.random.u64(0..1500));
        let done = self.store(replica, read.as_deref(), step);
        let candidate = &mut self.replicas[replica].candidate;
        match step {
            // The answer is lost.
            _ if self.random.u8(0..10) == 0 => {}
            Step::Hold(write) if done => {
                candidate.held(at.now, write);
                self.check_tenure(replica);
            }
            _ => candidate.lost(),
        }
    }

    /// The tenure changes if the lease was another's since it was last held, and only if it was touched.
    fn check_tenure(&mut self, replica: usize) {
        let Replica { candidate, led, others, .. } = &mut self.replicas[replica];
        let now = (candidate.tenure(), *others);
        if let Some((tenure, before)) = led.replace(now) {
            assert!(before.held == others.held || tenure < now.0, "another has led meanwhile: {before:?} {others:?}");
            assert!(
                before.touched != others.touched || tenure == now.0,
                "no other replica touched it: {tenure} {now:?}"
            );
        }
    }

    fn touch(&mut self, by: Option<usize>, held: bool) {
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            if by != Some(number) {
                replica.others.touched += 1;
                replica.others.held += u64::from(held);
            }
        }
    }

    /// The API server does the write unless another came first.
    fn store(&mut self, replica: usize, read: Option<&str>, step: Step) -> bool {
        let (Step::Hold(write) | Step::Release(write)) = step else { return false };
        if self.lease.as_ref().map(|lease| lease.version.as_str()) != read {
            return false;
        }
        self.version += 1;
        let holder = matches!(step, Step::Hold(_)).then_some(self.replicas[replica].name);
        self.lease = Some(after(holder, write, &self.version.to_string()));
        self.touch(Some(replica), matches!(step, Step::Hold(_)));
        true
    }

    fn land(&mut self, replica: usize) {
        if let Some((read, step)) = self.replicas[replica].late.take() {
            self.replicas[replica].others.touched += 1;
            self.store(replica, read.as_deref(), step);
        }
    }

    /// Somebody writes nonsense into the lease, without touching its holder.
    fn garble(&mut self) {
        self.version += 1;
        let (version, until) = (self.version.to_string(), self.random.i64(..));
        if let Some(lease) = &mut self.lease {
            lease.version = version;
            lease.published_until = Some(UnixMillis(until));
            self.touch(None, false);
        }
    }

    /// A third replica, of an older version, takes a lease that is free and gives it back.
    fn others(&mut self) {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.holder.is_none()) else { return };
        self.version += 1;
        lease.version = self.version.to_string();
        lease.transitions = lease.transitions.wrapping_add(1).max(0);
        self.touch(None, true);
    }
}

/// A million steps: never two leaders, published-until bounded, and a lease that can be held is held again.
#[test]
fn whatever_happens_two_replicas_never_lead_at_once_and_no_one_is_silenced() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let mut led = 0_u64;
        for number in 0..50_000 {
            world.step();
            assert!(world.leaders() <= 1, "seed {seed}, step {number}");
            led += world.leaders() as u64;
        }
        assert!(led > 5_000, "seed {seed}: led in {led} steps of 50,000");
        // From any state whatever: once everything works, one of them leads after a lease's duration and a look.
        for _ in 0..24 {
            world.now += LEASE / 8;
            world.wall += 1_875;
            for replica in [0, 1] {
                let at = Moment { now: world.now, wall: world.wall_of(replica) };
                let lease = world.lease.clone();
                let candidate = &mut world.replicas[replica].candidate;
                if let Step::Hold(write) = candidate.look(at, lease.as_ref(), READY) {
                    candidate.held(world.now, write);
                    world.version += 1;
                    let name = world.replicas[replica].name;
                    world.lease = Some(after(Some(name), write, &world.version.to_string()));
                }
            }
        }
        assert_eq!(world.leaders(), 1, "seed {seed}");
    }
}
