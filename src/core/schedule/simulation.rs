//! Years of a schedule, with a CA that is away, refuses, suggests and revokes, a clock that jumps and
//! a process that is started anew.

use super::{
    Authority, Failure, FailureKind, Fingerprint, Known, Loading, Progress, ProviderIdentity,
    Renewal, RenewalInfo, RenewalInfoOutcome, RenewalWindow, Schedule, Scope, Task, Validity,
};
use crate::id::IssuerId;
use crate::time::UnixTime;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::time::Duration;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const START: UnixTime = UnixTime(1_800_000_000);

/// A stretch of time, in seconds since the start.
type Span = (i64, i64);

/// Events of a simulation.
#[derive(Clone, Debug)]
struct Plan {
    /// The lifetime of certificates in seconds.
    lifetime: i64,
    /// Number of CAs; all of them fail together.
    authorities: usize,
    has_staging: bool,
    /// Times in which the CA is away or refuses, and the kind of failure.
    outages: Vec<(Span, FailureKind, Option<u64>)>,
    /// Starts of a new process.
    restarts: Vec<i64>,
    /// Jumps of the clock, with their length; it jumps back an hour later.
    jumps: Vec<(i64, i64)>,
    /// From when on the CA suggests a window that begins so long after the last issue.
    suggestions: Vec<(i64, i64)>,
    /// Numbers from 0 to 1.
    random: Vec<f64>,
    length: i64,
}

/// Outcome of a simulation.
#[derive(Debug, Default)]
struct Result {
    issued: usize,
    /// The most orders on one day.
    busiest_day: i64,
    /// Stretches in which no certificate was valid, or less than 1/50 was left of it.
    unserved: Vec<Span>,
}

struct World {
    plan: Plan,
    now: i64,
    known: Known,
    validity: Option<(i64, i64)>,
    last_issue: i64,
    drawn: usize,
}

impl World {
    /// Gives the time that the machine's clock shows.
    fn clock(&self) -> UnixTime {
        let is_on = |(at, _): &&(i64, i64)| (*at..*at + HOUR).contains(&self.now);
        let offset = self.plan.jumps.iter().find(is_on).map_or(0, |(_, by)| *by);
        UnixTime(START.0 + self.now + offset)
    }

    fn random(&mut self) -> f64 {
        self.drawn += 1;
        self.plan.random[self.drawn % self.plan.random.len()]
    }

    fn outage(&self) -> Option<(FailureKind, Option<u64>)> {
        let is_on =
            |((from, to), ..): &&(Span, FailureKind, Option<u64>)| (*from..*to).contains(&self.now);
        self.plan.outages.iter().find(is_on).map(|(_, kind, asked)| (*kind, *asked))
    }

    /// Begins the schedule of a process that is started now: what was kept went through JSON.
    fn schedule(&mut self) -> Schedule {
        let progress = serde_json::to_string(&self.known.progress).unwrap();
        let renewal = serde_json::to_string(&self.known.renewal).unwrap();
        self.known.progress = serde_json::from_str(&progress).unwrap();
        self.known.renewal = serde_json::from_str(&renewal).unwrap();
        let (clock, random) = (self.clock(), self.random());
        Schedule::new([self.known.clone()], clock, Loading::default(), move || random)
    }

    fn act(&mut self, schedule: &mut Schedule, action: &Task) -> bool {
        let (clock, random) = (self.clock(), self.random());
        match action {
            Task::Obtain(attempt) => {
                self.known.progress = attempt.progress.clone();
                // A CA does not issue for a machine whose clock is wrong: what comes is refused.
                let is_wrong = clock.0 != START.0 + self.now;
                let outage = self.outage().or(is_wrong.then_some((FailureKind::Temporary, None)));
                if let Some((kind, asked)) = outage {
                    let failure = Failure {
                        kind,
                        retry_after: asked.map(Duration::from_secs),
                        scope: match kind {
                            FailureKind::Validation => Scope::Entry,
                            _ => Scope::Issuer,
                        },
                        ordered: kind == FailureKind::Validation,
                        is_lost: kind == FailureKind::Validation,
                        published: kind == FailureKind::Validation,
                    };
                    self.known.progress =
                        schedule.handle_failed(attempt.variant, clock, &failure, random).progress;
                    return false;
                }
                let validity = (self.now, self.now + self.plan.lifetime);
                let known = Validity {
                    not_before: UnixTime(START.0 + validity.0),
                    not_after: UnixTime(START.0 + validity.1),
                };
                self.known.renewal = schedule.handle_issued(attempt.variant, known, clock, random);
                self.known.progress = Progress::default();
                self.known.validity = Some(known);
                (self.validity, self.last_issue) = (Some(validity), self.now);
                true
            }
            Task::AskRenewalInfo { variant } => {
                let outcome = self.renewal_info();
                self.known.renewal =
                    schedule.handle_renewal_info(*variant, clock, &outcome, random);
                false
            }
        }
    }

    fn renewal_info(&self) -> RenewalInfoOutcome {
        if self.outage().is_some() {
            return RenewalInfoOutcome::Failed { retry_after: None };
        }
        let suggested = self.plan.suggestions.iter().rev().find(|(from, _)| *from <= self.now);
        let Some((_, after)) = suggested else { return RenewalInfoOutcome::Unsupported };
        let start = UnixTime(START.0 + self.last_issue + after);
        let window = RenewalWindow { start, end: start + Duration::from_secs(86_400) };
        let retry_after = Some(Duration::from_secs(6 * 3600));
        RenewalInfoOutcome::Answered(RenewalInfo { window, retry_after, explanation_url: None })
    }
}

fn run(plan: &Plan) -> Result {
    let known = Known {
        validity: None,
        renewal: Renewal::default(),
        progress: Progress::default(),
        authorities: (0..plan.authorities)
            .map(|issuer| Authority {
                issuer: IssuerId::new(issuer),
                name: format!("ca{issuer}"),
                has_staging: plan.has_staging,
                limit: None,
            })
            .collect(),
        provider: ProviderIdentity::default(),
        names: vec!["example.test".to_owned()],
        fingerprint: Fingerprint::default(),
        is_under_way: false,
    };
    let plan = plan.clone();
    let (length, mut restarts) = (plan.length, plan.restarts.clone());
    restarts.sort_unstable();
    restarts.reverse();
    let mut world = World { plan, now: 0, known, validity: None, last_issue: 0, drawn: 0 };
    let mut schedule = world.schedule();
    let mut result = Result::default();
    let mut orders: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
    while world.now < length {
        if restarts.last().is_some_and(|at| *at <= world.now) {
            restarts.pop();
            schedule = world.schedule();
        }
        while let Some(action) = schedule.poll(world.clock()) {
            if matches!(action, Task::Obtain(_)) {
                *orders.entry(world.now / DAY).or_default() += 1;
            }
            result.issued += usize::from(world.act(&mut schedule, &action));
        }
        // With nothing to do now, the service must not be told to look again at once.
        if let Some(next) = schedule.poll_timeout() {
            assert!(next > world.clock(), "it would spin at {}", world.now);
        }
        // The loop of the service looks at the clock at least so often.
        let next = schedule.poll_timeout().map_or(600, |next| next.0 - world.clock().0);
        let until = world.now + next.clamp(1, 600);
        let until =
            restarts.last().map_or(until, |restart| until.min(*restart.max(&(world.now + 1))));
        let served = world.validity.map_or(0, |(_, end)| end - world.plan.lifetime / 50);
        if until > served {
            result.unserved.push((served.max(world.now), until));
        }
        world.now = until;
    }
    result.busiest_day = orders.values().copied().max().unwrap_or(0);
    result
}

fn plan(lifetime: i64, length: i64) -> Plan {
    Plan {
        lifetime,
        authorities: 1,
        has_staging: false,
        outages: Vec::new(),
        restarts: Vec::new(),
        jumps: Vec::new(),
        suggestions: Vec::new(),
        random: vec![0.1, 0.9, 0.5, 0.3],
        length,
    }
}

#[test]
fn three_years_without_a_fault() {
    for (lifetime, expected) in [(90 * DAY, 17..=20), (6 * DAY, 350..=400)] {
        let result = run(&plan(lifetime, 3 * 365 * DAY));
        assert!(expected.contains(&result.issued), "{lifetime}: {result:?}");
        assert_eq!((result.unserved.as_slice(), result.busiest_day), ([].as_slice(), 1));
    }
}

#[test]
fn a_ca_that_is_away_for_most_of_the_last_third_is_caught_in_the_rest() {
    // The certificate of the first minute is due after 60 of 90 days; the CA is there for 8 hours.
    for there in [62 * DAY, 70 * DAY, 80 * DAY, 87 * DAY] {
        let away = |span| (span, FailureKind::Temporary, None);
        let outages = vec![away((DAY, there)), away((there + 8 * HOUR, there + 60 * DAY))];
        let result = run(&Plan { outages, ..plan(90 * DAY, 100 * DAY) });
        assert_eq!(result.unserved, [], "{there}");
        assert!(result.busiest_day <= 25, "{there}: {result:?}");
    }
}

#[test]
fn a_ca_that_asks_for_long_pauses_is_left_alone() {
    let outages = vec![((DAY, 300 * DAY), FailureKind::Temporary, Some(86_400))];
    let result = run(&Plan { outages, ..plan(90 * DAY, 85 * DAY) });
    assert!(result.busiest_day <= 2, "{} on a day", result.busiest_day);
    let outages = vec![((0, 300 * DAY), FailureKind::Permanent, None)];
    let result = run(&Plan { outages, ..plan(90 * DAY, 60 * DAY) });
    assert_eq!(result.busiest_day, 4, "{:?}", result.issued);
}

#[test]
fn a_window_is_obeyed_and_a_revocation_too() {
    let suggestions = vec![(0, 30 * DAY)];
    let result = run(&Plan { suggestions, ..plan(90 * DAY, 300 * DAY) });
    assert!((9..=11).contains(&result.issued), "{result:?}");
    // From the 100th day on what was issued is to be replaced at once; a day later all is well.
    let suggestions =
        vec![(0, 60 * DAY), (100 * DAY, -90 * DAY), (100 * DAY + 13 * HOUR, 60 * DAY)];
    let result = run(&Plan { suggestions, ..plan(90 * DAY, 110 * DAY) });
    assert!((4..=9).contains(&result.issued), "{result:?}");
    assert_eq!(result.unserved, []);
}

fn outages(length: i64) -> impl Strategy<Value = Vec<(Span, FailureKind, Option<u64>)>> {
    let kind = prop_oneof![
        Just(FailureKind::Temporary),
        Just(FailureKind::Validation),
        Just(FailureKind::Permanent),
    ];
    // Each is over before the last day of what was obtained before, and leaves a day between.
    let outage = (0..length, DAY..25 * DAY, kind, proptest::option::of(1..90_000_u64));
    proptest::collection::vec(outage, 0..6).prop_map(|mut list| {
        list.sort_by_key(|(from, ..)| *from);
        let mut free = 30 * DAY;
        let mut spans = Vec::new();
        for (from, length, kind, asked) in list {
            let from = from.max(free);
            spans.push(((from, from + length), kind, asked));
            free = from + length + 2 * DAY;
        }
        spans
    })
}

/// Settings of a property test with so many cases, the same ones each time; `PROPTEST_CASES` and
/// `PROPTEST_RNG_SEED` try others.
#[expect(clippy::disallowed_methods, reason = "proptest itself reads these variables")]
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let environment = ProptestConfig::default();
    let is_set = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if is_set("PROPTEST_CASES") { environment.cases } else { cases },
        rng_seed: if is_set("PROPTEST_RNG_SEED") {
            environment.rng_seed
        } else {
            RngSeed::Fixed(1)
        },
        failure_persistence: None,
        ..environment
    }
}

proptest! {
    #![proptest_config(config(48))]

    /// Outages of up to 25 days with two days between them: there is always a day or two of the last
    /// thirty in which the CA can be reached, which the longest pause, a day, cannot miss. A CA that
    /// suggests a later renewal than ours and is away then is beyond help, and not among these.
    #[test]
    fn no_certificate_runs_out_while_the_ca_can_be_reached(
        outages in outages(700 * DAY),
        restarts in proptest::collection::vec(0..730 * DAY, 0..20),
        jumps in proptest::collection::vec(
            (0..730 * DAY, prop_oneof![-40 * DAY..40 * DAY, Just(-10_000 * DAY)]), 0..4),
        suggestions in proptest::collection::vec((0..730 * DAY, -DAY..60 * DAY), 0..4),
        random in proptest::collection::vec(0.0..1.0_f64, 1..16),
        authorities in 1..4_usize,
        has_staging in any::<bool>(),
    ) {
        let mut suggestions = suggestions;
        suggestions.sort_unstable();
        let plan = Plan {
            outages, restarts, jumps, suggestions, random, authorities, has_staging,
            ..plan(90 * DAY, 730 * DAY)
        };
        let result = run(&plan);
        prop_assert_eq!(&result.unserved, &[]);
        let bound = 40 * i64::try_from(authorities).unwrap();
        prop_assert!(result.busiest_day <= bound, "{} orders on a day", result.busiest_day);
    }
}
