//! Pauses: how they grow, what ends them, and what limits the number of attempts.

use super::{
    DAY, HOUR, NOW, PERMANENT, TEMPORARY, VALIDATION, asked, at, attempt, authority, entry, fail,
    good, missing, schedule, v, validity,
};
use crate::level::Level;
use crate::schedule::{
    Attempt, Authority, Failure, FailureKind, Fingerprint, Known, Loading, OrderLimit, Progress,
    Renewal, Schedule, Scope,
};
use crate::time::UnixTime;
use std::time::Duration;

/// Fails whenever it is tried; gives the pauses in seconds.
pub(super) fn pauses(schedule: &mut Schedule, failure: &Failure, number: usize) -> Vec<i64> {
    let mut now = schedule.poll_timeout().expect("it is due some time").max(NOW);
    let pause = |_| {
        let pause = fail(schedule, now, failure);
        now = UnixTime(now.0 + pause);
        pause
    };
    (0..number).map(pause).collect()
}

#[test]
fn refusals_climb_to_a_day_those_that_cost_an_order_sooner() {
    let lost = Failure { ordered: true, is_lost: true, ..TEMPORARY };
    let refused = |scope: Scope| Failure { scope, ..PERMANENT };
    for (failure, expected) in [
        (PERMANENT, [60, 600, HOUR, DAY, DAY]),
        (refused(Scope::Issuer), [60, 600, HOUR, DAY, DAY]),
        (refused(Scope::Provider), [60, 600, HOUR, DAY, DAY]),
        (refused(Scope::Zone("example.test".into())), [60, 600, HOUR, DAY, DAY]),
        (refused(Scope::Certificate), [60, 600, HOUR, DAY, DAY]),
        (VALIDATION, [600, HOUR, DAY, DAY, DAY]),
        (lost, [600, HOUR, DAY, DAY, DAY]),
    ] {
        let mut schedule = schedule(&[missing()], NOW);
        assert_eq!(pauses(&mut schedule, &failure, 5), expected, "{failure:?}");
    }
}

#[test]
fn a_record_that_a_person_adds_is_looked_for_often_and_told_quietly() {
    let waiting = Failure { kind: FailureKind::Waiting, ..TEMPORARY };
    let mut missing_one = schedule(&[missing()], NOW);
    let expected = [10, 10, 10, 15, 15, 60, 60, 60, 120, 300, 600, 900, 900];
    assert_eq!(pauses(&mut missing_one, &waiting, 13), expected);
    let mut schedule = schedule(&[missing()], NOW);
    assert!(entry(&mut schedule, NOW).is_some());
    assert_eq!(schedule.handle_failed(v(0), NOW, &waiting, 0.0).level, Level::Info);
}

/// A process that is started at a time, with what the one before has kept.
fn started(progress: &Progress, now: UnixTime, loading: u64, fingerprint: u64) -> Schedule {
    let (loading, fingerprint) = (Loading(loading), Fingerprint(fingerprint));
    let known = Known { progress: progress.clone(), fingerprint, ..missing() };
    Schedule::new([known], now, loading, || 0.0)
}

#[test]
fn a_reload_tries_at_once_but_three_times_an_hour_only() {
    let quota = Scope::Room("example.test".into());
    for failure in [
        TEMPORARY,
        PERMANENT,
        Failure { scope: Scope::Issuer, ..TEMPORARY },
        Failure { scope: Scope::Provider, ..PERMANENT },
        Failure { scope: Scope::Zone("example.test".into()), ..PERMANENT },
        Failure { scope: quota, ..TEMPORARY },
    ] {
        let mut first = schedule(&[missing()], NOW);
        // Long enough for all that follows.
        pauses(&mut first, &failure, 7);
        let mut progress = first.tracks[v(0)].progress.clone();
        let mut now = UnixTime(progress.last.0 + 1);
        assert_eq!(entry(&mut started(&progress, now, 0, 0), now), None, "respawned: {failure:?}");
        for loading in 1..=3 {
            let mut reloaded = started(&progress, now, loading, 0);
            assert_eq!(entry(&mut reloaded, now), Some(0), "reload {loading}: {failure:?}");
            assert_eq!(reloaded.stands_until(v(0)), None);
            progress = reloaded.handle_failed(v(0), now, &failure, 0.0).progress;
            let respawned = entry(&mut started(&progress, now, loading, 0), now);
            assert_eq!(respawned, None, "respawned after reload {loading}: {failure:?}");
            now = UnixTime(now.0 + 1);
        }
        let mut reloaded = started(&progress, now, 4, 0);
        assert_eq!(entry(&mut reloaded, now), None, "{failure:?}");
        assert_eq!(reloaded.stands_until(v(0)), reloaded.poll_timeout(), "{failure:?}");
        assert!(reloaded.stands_until(v(0)).is_some());
        // A person says so.
        reloaded.renew_now(v(0));
        assert_eq!(entry(&mut reloaded, now), Some(0), "asked for: {failure:?}");
        // Something has changed.
        let mut changed = started(&progress, now, 4, 1);
        assert_eq!(entry(&mut changed, now), Some(0), "changed: {failure:?}");
        // An hour has passed.
        let later = UnixTime(now.0 + HOUR);
        assert_eq!(entry(&mut started(&progress, later, 5, 0), later), Some(0), "{failure:?}");
    }
}

#[test]
fn neither_a_reload_nor_a_request_shortens_what_was_asked_for() {
    for scope in [Scope::Entry, Scope::Issuer, Scope::Provider] {
        let mut first = schedule(&[missing()], NOW);
        assert_eq!(entry(&mut first, NOW), Some(0));
        let progress = first.handle_failed(v(0), NOW, &asked(3600, scope.clone()), 0.0).progress;
        let mut reloaded = started(&progress, at(1), 1, 1);
        reloaded.renew_now(v(0));
        assert_eq!(entry(&mut reloaded, at(1)), None, "{scope:?}");
        assert_eq!(entry(&mut reloaded, at(3600)), Some(0), "{scope:?}");
    }
}

#[test]
fn a_pause_in_a_damaged_file_is_not_endless() {
    let far = UnixTime(i64::MAX);
    let mut first = schedule(&[missing()], NOW);
    fail(&mut first, NOW, &Failure { scope: Scope::Provider, ..TEMPORARY });
    let mut progress = first.tracks[v(0)].progress.clone();
    (progress.next, progress.pauses[0].next, progress.pauses[0].room) = (far, far, 0);
    let damaged = started(&progress, at(1), 0, 0);
    assert_eq!(damaged.poll_timeout(), Some(at(2 * DAY)));
    assert_eq!(entry(&mut started(&progress, at(2 * DAY), 0, 0), at(2 * DAY)), Some(0));
}

#[test]
fn four_orders_of_a_certificate_may_fail_in_a_day() {
    let failure = Failure { ordered: true, is_lost: true, ..VALIDATION };
    let mut progress = Progress::default();
    let mut orders = Vec::new();
    // A person reloads every five minutes.
    for minute in (0..2 * 24 * 60).step_by(5) {
        let now = at(minute * 60);
        let mut schedule = started(&progress, now, u64::try_from(minute).unwrap_or(0), 0);
        if entry(&mut schedule, now).is_some() {
            orders.push(now.0 - NOW.0);
            progress = schedule.handle_failed(v(0), now, &failure, 0.0).progress;
        }
    }
    for window in orders.windows(5) {
        assert!(window[4] - window[0] >= DAY, "{orders:?}");
    }
    for window in orders.windows(4) {
        assert!(window[3] - window[0] >= HOUR, "{orders:?}");
    }
    assert!(orders.len() >= 8, "{orders:?}");
}

#[test]
fn an_account_fails_a_third_of_a_known_limit() {
    let limit = OrderLimit { orders: 30, span: Duration::from_secs(3 * 3600) };
    let authorities = [Authority { limit: Some(limit), ..authority(0) }].into();
    let known = vec![Known { authorities, ..missing() }; 100];
    let mut schedule = schedule(&known, NOW);
    let failure = Failure { ordered: true, is_lost: true, ..VALIDATION };
    let mut orders = Vec::new();
    for minute in 0..24 * 60 {
        let now = at(minute * 60);
        while let Some(index) = entry(&mut schedule, now) {
            orders.push(now.0);
            schedule.handle_failed(v(index), now, &failure, 0.0);
        }
    }
    for window in orders.windows(11) {
        assert!(window[10] - window[0] >= 3 * HOUR, "{orders:?}");
    }
    assert_eq!(orders.len(), 80, "ten in three hours");
}

#[test]
fn a_ca_that_failed_for_all_is_tried_again_at_the_next_renewal() {
    let known = Known { authorities: [authority(7), authority(8)].into(), ..missing() };
    let mut schedule = schedule(&[known.clone(), known], NOW);
    let away = Failure { scope: Scope::Issuer, ..TEMPORARY };
    let (mut now, mut tried) = (NOW, Vec::new());
    while let Some(next) = schedule.poll_timeout().filter(|next| *next < at(DAY)) {
        now = now.max(next);
        while let Some(Attempt { variant, issuer, .. }) = attempt(&mut schedule, now) {
            tried.push(issuer.index());
            match issuer.index() {
                7 => drop(schedule.handle_failed(variant, now, &away, 0.0)),
                _ => drop(schedule.handle_issued(variant, validity(0, 90 * DAY), now, 0.0)),
            }
        }
        if schedule.renewal(v(0)).is_some() && schedule.renewal(v(1)).is_some() {
            break;
        }
    }
    assert!(tried.ends_with(&[8, 8]) && tried.iter().filter(|issuer| **issuer == 7).count() <= 4);
    assert!(now < at(10 * 60), "{tried:?}");
    // At the renewal it works, and both have it.
    let mut renewed = Vec::new();
    while let Some(Attempt { variant, issuer, .. }) = attempt(&mut schedule, at(70 * DAY)) {
        renewed.push(issuer.index());
        schedule.handle_issued(variant, validity(70 * DAY, 160 * DAY), at(70 * DAY), 0.0);
    }
    assert_eq!(renewed, [7, 7]);
}

#[test]
fn what_is_under_way_goes_first_and_then_what_expires_soonest() {
    let mut known = vec![missing(); 30];
    known[29].is_under_way = true;
    known[28] = Known { is_under_way: true, ..good(validity(-80 * DAY, 10 * DAY)) };
    known[3] = good(validity(-89 * DAY, DAY));
    let mut schedule = schedule(&known, NOW);
    let order: Vec<_> = std::iter::from_fn(|| entry(&mut schedule, NOW)).collect();
    assert_eq!(order[..4], [29, 28, 0, 1]);
    assert!(!order.contains(&3), "after what is missing");
}

/// Starts at these times, in seconds; gives those at which an attempt was made. What becomes of an attempt is
/// up to `end`, which gives what is on disk then.
fn starts(
    times: impl Iterator<Item = i64>,
    mut end: impl FnMut(&mut Schedule, Attempt, UnixTime) -> Progress,
) -> Vec<i64> {
    let (mut progress, mut tried) = (Progress::default(), Vec::new());
    for (number, time) in times.enumerate() {
        let loading = u64::try_from(number).unwrap_or(0) + 1;
        let mut schedule = started(&progress, at(time), loading, 7);
        if let Some(attempt) = attempt(&mut schedule, at(time)) {
            tried.push(time);
            progress = end(&mut schedule, attempt, at(time));
        }
    }
    tried
}

#[test]
fn a_container_that_is_started_again_and_again_tries_three_times_more_in_an_hour() {
    let refused = |scope: Scope| Failure { scope, ..PERMANENT };
    // Six seconds apart: what is limited is what goes beyond the pauses.
    let quick = || (0..9).map(|start| start * 6);
    for failure in [PERMANENT, refused(Scope::Issuer), refused(Scope::Provider)] {
        let tried = starts(quick(), |schedule, attempt, now| {
            schedule.handle_failed(attempt.variant, now, &failure, 0.0).progress
        });
        assert_eq!(tried, [0, 6, 12, 18], "{failure:?}");
    }
    // Killed in the middle of each attempt: every start of the next hour, too.
    let killed = |_: &mut Schedule, attempt: Attempt, _: UnixTime| attempt.progress;
    assert_eq!(starts(quick(), killed), [0, 6, 12, 18]);
    let tried = starts((0..27).map(|start| start * 400), killed);
    for window in tried.windows(5) {
        assert!(window[4] - window[0] >= HOUR, "{tried:?}");
    }
    assert!(tried.len() >= 9, "it goes on: {tried:?}");
    // A clock that is set back by a day after each of the first starts.
    let set_back = || (0..9).map(|start| if start < 6 { start * -DAY } else { -6 * DAY + start });
    assert_eq!(starts(set_back(), killed).len(), 4);
    for failure in [PERMANENT, refused(Scope::Issuer)] {
        let tried = starts(set_back(), |schedule, attempt, now| {
            schedule.handle_failed(attempt.variant, now, &failure, 0.0).progress
        });
        assert_eq!(tried.len(), 4, "{failure:?}: {tried:?}");
    }
}

#[test]
fn what_cannot_be_seen_is_not_ordered() {
    let mut schedule = schedule(&[missing(), missing(), missing()], NOW);
    (0..2).for_each(|number| schedule.bar(v(number)));
    assert_eq!(entry(&mut schedule, NOW), Some(2));
    assert_eq!((entry(&mut schedule, at(DAY)), schedule.poll_timeout()), (None, None));
    assert!(!schedule.is_due(v(0)) && schedule.stands_until(v(0)).is_none());
    // It is there, and good.
    schedule.unbar(v(0), Some((validity(-DAY, 80 * DAY), Renewal::default())), at(DAY), 0.5);
    assert_eq!(entry(&mut schedule, at(DAY)), None);
    assert!(schedule.renewal(v(0)).is_some_and(|(time, _)| time > at(DAY)));
    assert_eq!(entry(&mut schedule, at(75 * DAY)), Some(0), "it is renewed in time");
    // It is none.
    schedule.unbar(v(1), None, at(75 * DAY), 0.5);
    assert_eq!(entry(&mut schedule, at(75 * DAY)), Some(1));
    // A person wants it all the same.
    let mut schedule = super::schedule(&[missing()], NOW);
    schedule.bar(v(0));
    schedule.renew_now(v(0));
    assert_eq!(entry(&mut schedule, NOW), Some(0));
    schedule.handle_issued(v(0), validity(0, 90 * DAY), NOW, 0.0);
    assert_eq!(entry(&mut schedule, at(80 * DAY)), Some(0), "it is like any other");
}
