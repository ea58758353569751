//! The first day of one certificate and of five hundred, under what goes wrong most often: how many
//! attempts, orders and lines of the log that takes.

use super::{
    Authority, Extent, Failure, FailureKind, Fingerprint, Known, Loading, OrderLimit, Progress,
    ProviderIdentity, Renewal, RenewalInfoOutcome, Schedule, Scope, Task, Validity,
};
use crate::id::{IssuerId, ProviderId, Table, VariantId};
use crate::level::Level;
use crate::time::UnixTime;
use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const START: UnixTime = UnixTime(1_800_000_000);

/// An attempt takes so many seconds, whatever becomes of it.
const TAKES: i64 = 5;

/// Fault, for as long as it lasts.
#[derive(Clone, Debug)]
struct Fault {
    failure: Failure,
    /// Until so many seconds after the start.
    until: i64,
    /// Only for every so manieth certificate.
    every: usize,
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Day {
    attempts: usize,
    orders: usize,
    issued: usize,
    errors: usize,
    warnings: usize,
    /// Minute in which the last certificate was issued.
    done: i64,
}

fn known(number: usize) -> Known {
    let limit = Some(OrderLimit { orders: 300, span: Duration::from_secs(3 * 3600) });
    let name = "le".to_owned();
    Known {
        validity: None,
        renewal: Renewal::default(),
        progress: Progress::default(),
        authorities: [Authority { issuer: IssuerId::default(), name, has_staging: false, limit }]
            .into(),
        provider: ProviderIdentity { id: ProviderId::default(), name: "dns".into() },
        names: vec![format!("h{number}.zone{}.test", number % 50)],
        fingerprint: Fingerprint::default(),
        is_under_way: false,
    }
}

/// A day of so many certificates. `room`: how many orders at once find room for their records.
fn day(certificates: usize, fault: &Fault, room: usize) -> Day {
    let mut schedule = Schedule::new((0..certificates).map(known), START, Loading(0), || 0.0);
    let mut day = Day::default();
    let mut under_way: VecDeque<(i64, VariantId, bool)> = VecDeque::new();
    let mut holding: Table<VariantId, bool> = vec![false; certificates].into();
    let mut now = 0;
    while now < DAY {
        let clock = UnixTime(START.0 + now);
        while let Some((_, variant, has_room)) = under_way.pop_front_if(|(end, ..)| *end <= now) {
            holding[variant] = false;
            end(&mut schedule, &mut day, (clock, now), variant, fault, has_room);
        }
        while let Some(action) = schedule.poll(clock) {
            let attempt = match action {
                Task::Obtain(attempt) => attempt,
                Task::AskRenewalInfo { variant } => {
                    let answer = RenewalInfoOutcome::Unsupported;
                    schedule.handle_renewal_info(variant, clock, &answer, 0.0);
                    continue;
                }
            };
            day.attempts += 1;
            let has_room = holding.values().filter(|holds| **holds).count() < room;
            holding[attempt.variant] = has_room;
            under_way.push_back((now + TAKES, attempt.variant, has_room));
        }
        let next = schedule.poll_timeout().map_or(DAY, |next| next.0 - START.0);
        let end = under_way.front().map_or(DAY, |(end, ..)| *end);
        assert!(next.min(end) > now, "it spins at {now}");
        now = next.min(end);
    }
    day
}

fn end(
    schedule: &mut Schedule,
    day: &mut Day,
    (clock, now): (UnixTime, i64),
    variant: VariantId,
    fault: &Fault,
    has_room: bool,
) {
    let is_struck = now < fault.until && variant.index().is_multiple_of(fault.every);
    let zone = format!("zone{}.test", variant.index() % 50);
    let scope = match &fault.failure.scope {
        Scope::Zone(_) => Scope::Zone(zone.clone()),
        other => other.clone(),
    };
    let full = Failure { scope: Scope::Room("test".to_owned()), ..fault.failure.clone() };
    let failure = match (is_struck, has_room) {
        (true, _) => Failure { scope, ..fault.failure.clone() },
        (false, false) => full,
        (false, true) => {
            let end = clock + Duration::from_secs(90 * 86_400);
            let validity = Validity { not_before: clock, not_after: end };
            schedule.handle_issued(variant, validity, clock, 0.0);
            (day.issued, day.done) = (day.issued + 1, now / MINUTE);
            day.orders += 1;
            return;
        }
    };
    day.orders += usize::from(failure.ordered);
    let setback = schedule.handle_failed(variant, clock, &failure, 0.0);
    match (setback.extent, setback.level) {
        (Extent::Known, _) => {}
        (_, Level::Error) => day.errors += 1,
        (..) => day.warnings += 1,
    }
}

fn failure(kind: FailureKind, scope: Scope) -> Failure {
    let cost = kind == FailureKind::Validation;
    Failure { kind, retry_after: None, scope, ordered: cost, is_lost: cost, published: cost }
}

#[test]
fn what_the_first_day_costs() {
    use FailureKind::{Permanent, Temporary, Validation};
    let zone = || Scope::Zone(String::new());
    let rows = [
        // What fails, for how long, for which certificates: the most attempts, orders and lines of one
        // certificate, then of 500; and how many are issued, after at most so many minutes. The CA's limit makes 500 of
        // them wait for three hours.
        ("wrong token", failure(Permanent, Scope::Provider), DAY, 1, (4, 0, 4), (24, 0, 4), 0, 0),
        (
            "four seconds of 403",
            failure(Permanent, Scope::Provider),
            6,
            1,
            (2, 1, 1),
            (520, 500, 1),
            500,
            190,
        ),
        ("zones of others", failure(Permanent, zone()), DAY, 1, (4, 0, 4), (250, 0, 200), 0, 0),
        (
            "no zone",
            failure(Permanent, Scope::Certificate),
            DAY,
            1,
            (4, 0, 4),
            (2000, 0, 2000),
            0,
            0,
        ),
        ("CA is away", failure(Temporary, Scope::Issuer), DAY, 1, (24, 0, 24), (50, 0, 24), 0, 0),
        (
            "CA is away for an hour",
            failure(Temporary, Scope::Issuer),
            HOUR,
            1,
            (10, 1, 9),
            (530, 500, 9),
            500,
            290,
        ),
        (
            "contact is refused",
            failure(Permanent, Scope::Issuer),
            DAY,
            1,
            (4, 0, 4),
            (24, 0, 4),
            0,
            0,
        ),
        (
            "validation fails",
            failure(Validation, Scope::Entry),
            DAY,
            1,
            (3, 3, 3),
            (820, 820, 820),
            0,
            0,
        ),
        (
            "one in ten fails",
            failure(Validation, Scope::Entry),
            DAY,
            10,
            (3, 3, 3),
            (600, 600, 150),
            450,
            400,
        ),
    ];
    for (what, failure, until, every, one, many, issued, done) in rows {
        let fault = Fault { failure, until, every };
        for (certificates, (attempts, orders, lines)) in [(1, one), (500, many)] {
            let day = day(certificates, &fault, usize::MAX);
            println!("{what}, {certificates}: {day:?}");
            let said = day.errors + day.warnings;
            assert!(day.attempts <= attempts, "{what}, {certificates}: {day:?}");
            assert!(day.orders <= orders, "{what}, {certificates}: {day:?}");
            assert!(said <= lines && said > 0, "{what}, {certificates}: {day:?}");
            if certificates > 1 {
                assert_eq!(day.issued, issued, "{what}: {day:?}");
                assert!(day.done <= done, "{what}: {day:?}");
            }
        }
    }
}

#[test]
fn room_that_we_fill_ourselves_is_waited_for() {
    // Never struck, but for the want of room.
    let failure = failure(FailureKind::Temporary, Scope::Entry);
    let fault = Fault { failure, until: 0, every: 1 };
    for (room, minutes) in [(10, 10), (3, 20), (1, 60)] {
        let day = day(100, &fault, room);
        println!("room for {room}: {day:?}");
        assert_eq!(day.issued, 100, "room for {room}: {day:?}");
        assert!(day.done <= minutes, "room for {room}: {day:?}");
        assert!(day.attempts <= 200, "room for {room}: {day:?}");
    }
}

#[test]
fn one_certificate_that_always_fails_does_not_hold_up_the_others() {
    // It fails by what all need, whatever happens.
    for scope in [Scope::Issuer, Scope::Provider] {
        for kind in [FailureKind::Temporary, FailureKind::Permanent] {
            let fault = Fault { failure: failure(kind, scope.clone()), until: DAY, every: 100 };
            let day = day(100, &fault, usize::MAX);
            println!("{scope:?}, {kind:?}: {day:?}");
            assert_eq!(day.issued, 99, "{scope:?}, {kind:?}: {day:?}");
            assert!(day.done <= 10, "{scope:?}, {kind:?}: {day:?}");
        }
    }
}
