//! Random events, after each of which the schedule has to choose what a look at all certificates
//! chooses.

use super::{HOUR, NOW, authority, missing};
use crate::id::{ProviderId, VariantId};
use crate::schedule::failure::{Failure, FailureKind, Scope};
use crate::schedule::line::Turn;
use crate::schedule::pace::Stake;
use crate::schedule::simulation::config;
use crate::schedule::track::{AFTER_OTHERS, GateSubject, Track};
use crate::schedule::{
    Authority, Known, Loading, OrderLimit, POLLS, Progress, ProviderIdentity, Renewal, RenewalInfo,
    RenewalInfoOutcome, RenewalWindow, Schedule, Task, Validity,
};
use crate::time::UnixTime;
use proptest::prelude::*;
use std::time::Duration;

/// The next attempt, its CA, and when there is something to do, by looking at all certificates.
fn scan(schedule: &Schedule) -> (Option<(VariantId, usize)>, Option<UnixTime>) {
    let now = schedule.now;
    let waiting = || schedule.tracks.iter().filter(|(_, track)| track.is_waiting());
    let start = schedule.throttle.start_time(schedule.working.len(), now);
    let turn = |(variant, track): (VariantId, &Track)| -> Option<(Turn, usize)> {
        let (time, authority) = schedule.wake(track, now);
        let is_paused = schedule.is_paused(track, authority);
        (time <= now).then(|| (schedule.turn(variant, track, is_paused), authority))
    };
    let first = waiting().filter_map(turn).min().filter(|_| start == Some(now));
    let attempt = waiting().map(|(_, track)| schedule.wake(track, now).0).min();
    let attempt = attempt.filter(|time| *time < AFTER_OTHERS);
    let attempt = attempt.zip(start).map(|(time, start)| time.max(start));
    let is_quiet = |track: &Track| track.validity.is_some() && !track.is_asking;
    let quiet = waiting().filter(|(_, track)| is_quiet(track) && !track.is_withdrawn);
    let question = quiet.map(|(_, track)| track.renewal.poll_time(now)).min();
    let question = question.filter(|_| schedule.asking.len() < POLLS);
    let first = first.map(|(turn, authority)| (turn.variant(), authority));
    (first, attempt.into_iter().chain(question).min())
}

/// The number of certificates that are due and need something, and the highest stake among them.
fn count(schedule: &Schedule, subject: GateSubject, scope: &Scope) -> (usize, Stake) {
    let now = schedule.now;
    let needs = |track: &&Track| match (subject, scope) {
        (GateSubject::Zone(provider, _), Scope::Zone(zone) | Scope::Room(zone)) => {
            track.provider.id == provider && track.is_in(zone)
        }
        _ => track.shares().any(|shared| shared == subject),
    };
    let due = schedule.tracks.values().filter(|track| track.is_due(now)).filter(needs);
    due.fold((0, Stake::Calm), |(number, stake), track| {
        (number + 1, stake.max(Stake::of(track.current(), now)))
    })
}

/// Compares the schedule with a look at all certificates.
fn check(schedule: &Schedule) -> Result<(), TestCaseError> {
    let (_, expected) = scan(schedule);
    let found = schedule.poll_timeout();
    // It may wake up in vain, as a pause that others share is looked at when something is due.
    prop_assert!(
        found.unwrap_or(AFTER_OTHERS) <= expected.unwrap_or(AFTER_OTHERS).max(schedule.now)
    );
    let is_failing = |track: &Track| {
        track.is_waiting() && *track.progress != Progress::default() && !track.is_withdrawn
    };
    prop_assert_eq!(schedule.has_failures(), schedule.tracks.values().any(is_failing));
    for (subject, scope) in schedule.gates.all() {
        let pool = schedule.pools.get(&subject).map(|pool| pool.waiting(schedule.now));
        let found = pool.unwrap_or((0, Stake::Calm));
        prop_assert_eq!(found, count(schedule, subject, &scope), "{:?}", subject);
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Event {
    /// Time passes, or the clock is set back.
    Passes(i64),
    /// All that is to be done is begun.
    Poll,
    /// The oldest attempt ends with a certificate of so many seconds, of which so many have passed.
    Issued(i64, i64),
    Failed(FailureKind, u8, Option<u64>, bool),
    Informed(i64, i64),
    Renew(VariantId),
    Bar(VariantId),
    Unbar(VariantId),
    /// One more is there, with a certificate that ends after so long.
    Added(Option<i64>),
    Withdrawn(VariantId),
    Restored(VariantId),
}

fn variant() -> impl Strategy<Value = VariantId> {
    (0..16_usize).prop_map(VariantId::new)
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        3 => Just(FailureKind::Temporary),
        1 => Just(FailureKind::Validation),
        1 => Just(FailureKind::Permanent),
    ];
    let asked = proptest::option::weighted(0.3, 1..90_000_u64);
    prop_oneof![
        6 => prop_oneof![Just(0), 1..30_i64, 30..3000_i64, 3000..400_000_i64].prop_map(Event::Passes),
        1 => (-200_000..0_i64).prop_map(Event::Passes),
        8 => Just(Event::Poll),
        3 => (100..9_000_000_i64, 0..3_i64).prop_map(|(life, part)| Event::Issued(life, life * part / 3)),
        8 => (kind, 0..6_u8, asked, any::<bool>()).prop_map(|(k, s, a, o)| Event::Failed(k, s, a, o)),
        2 => (-HOUR..900_000_i64, 1..900_000_i64).prop_map(|(from, long)| Event::Informed(from, long)),
        1 => variant().prop_map(Event::Renew),
        1 => variant().prop_map(Event::Bar),
        1 => variant().prop_map(Event::Unbar),
        1 => proptest::option::of(-100_000..4_000_000_i64).prop_map(Event::Added),
        1 => variant().prop_map(Event::Withdrawn),
        1 => variant().prop_map(Event::Restored),
    ]
}

/// Certificates of several CAs, DNS providers and zones, in all stages of their lives.
fn known(number: usize, left: Option<i64>, is_under_way: bool) -> Known {
    let limit = number
        .is_multiple_of(5)
        .then_some(OrderLimit { orders: 6, span: Duration::from_secs(3600) });
    let first = Authority { has_staging: number.is_multiple_of(2), limit, ..authority(0) };
    let authorities = match number % 3 {
        0 => [first].into(),
        1 => [authority(0), authority(1)].into(),
        _ => [authority(1), authority(2), authority(0)].into(),
    };
    let validity = left.map(|left| Validity {
        not_before: UnixTime(NOW.0 + left - 90 * 86_400),
        not_after: UnixTime(NOW.0 + left),
    });
    let names =
        vec![format!("h{number}.z{}.test", number % 4), format!("h{number}.z{}.test", number % 3)];
    let provider = ProviderIdentity {
        id: ProviderId::new(number % 2),
        name: format!("dns{}", number % 2).into(),
    };
    Known { validity, authorities, names, provider, is_under_way, ..missing() }
}

struct World {
    schedule: Schedule,
    now: UnixTime,
    attempts: Vec<VariantId>,
    questions: Vec<VariantId>,
}

impl World {
    fn poll(&mut self) -> Result<(), TestCaseError> {
        loop {
            self.schedule.set_right(self.now);
            self.schedule.tell(self.now);
            let (expected, _) = scan(&self.schedule);
            let expected = expected.map(|(variant, authority)| {
                (variant, self.schedule.tracks[variant].issuer(authority))
            });
            let action = self.schedule.poll(self.now);
            check(&self.schedule)?;
            let found = match &action {
                Some(Task::Obtain(attempt)) => Some((attempt.variant, attempt.issuer)),
                _ => None,
            };
            prop_assert_eq!(found, expected);
            match action {
                Some(Task::Obtain(attempt)) => self.attempts.push(attempt.variant),
                Some(Task::AskRenewalInfo { variant }) => self.questions.push(variant),
                None => break,
            }
        }
        let next = self.schedule.poll_timeout();
        prop_assert!(next.is_none_or(|next| next > self.now), "it would spin");
        Ok(())
    }

    fn fail(&mut self, kind: FailureKind, scope: u8, asked: Option<u64>, ordered: bool) {
        if self.attempts.is_empty() {
            return;
        }
        let variant = self.attempts.remove(0);
        let zone = format!("z{}.test", variant.index() % 4);
        let scope = match scope {
            0 => Scope::Entry,
            1 => Scope::Certificate,
            2 => Scope::Issuer,
            3 => Scope::Provider,
            4 => Scope::Zone(zone),
            _ => Scope::Room("test".to_owned()),
        };
        let retry_after = asked.map(Duration::from_secs);
        let failure =
            Failure { kind, retry_after, scope, ordered, is_lost: ordered, published: ordered };
        self.schedule.handle_failed(variant, self.now, &failure, 0.3);
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Passes(seconds) => self.now = UnixTime(self.now.0 + seconds),
            Event::Poll => self.poll()?,
            Event::Issued(life, passed) if !self.attempts.is_empty() => {
                let variant = self.attempts.remove(0);
                let not_before = UnixTime(self.now.0 - passed);
                let not_after = UnixTime(not_before.0 + life);
                let validity = Validity { not_before, not_after };
                self.schedule.handle_issued(variant, validity, self.now, 0.5);
            }
            Event::Failed(kind, scope, asked, ordered) => self.fail(kind, scope, asked, ordered),
            Event::Informed(from, long) if !self.questions.is_empty() => {
                let start = UnixTime(self.now.0 + from);
                let window = RenewalWindow { start, end: UnixTime(start.0 + long) };
                let info = RenewalInfo { window, retry_after: None, explanation_url: None };
                let outcome = RenewalInfoOutcome::Answered(info);
                let variant = self.questions.remove(0);
                self.schedule.handle_renewal_info(variant, self.now, &outcome, 0.5);
            }
            Event::Renew(variant) => self.schedule.renew_now(variant),
            Event::Bar(variant) => self.schedule.bar(variant),
            Event::Unbar(variant) => {
                let not_after = self.now + Duration::from_secs(86_400);
                let validity = Validity { not_before: self.now, not_after };
                let found =
                    variant.index().is_multiple_of(2).then_some((validity, Renewal::default()));
                self.schedule.unbar(variant, found, self.now, 0.5);
            }
            Event::Added(left) => {
                let number = self.schedule.tracks.len();
                self.schedule.add(known(number, left, number.is_multiple_of(3)), self.now, || 0.4);
            }
            Event::Withdrawn(variant) => _ = self.schedule.withdraw(variant),
            Event::Restored(variant) => self.schedule.restore(variant, self.now),
            Event::Issued(..) | Event::Informed(..) => {}
        }
        check(&self.schedule)
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn the_schedule_chooses_what_a_look_at_all_certificates_chooses(
        lives in proptest::collection::vec(
            (proptest::option::of(-100_000..4_000_000_i64), any::<bool>()), 1..16),
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let known = lives.iter().enumerate().map(|(n, (left, under_way))| known(n, *left, *under_way));
        let schedule = Schedule::new(known, NOW, Loading::default(), || 0.4);
        let mut world = World { schedule, now: NOW, attempts: Vec::new(), questions: Vec::new() };
        for event in &events {
            world.happen(event)?;
        }
        world.poll()?;
    }
}
