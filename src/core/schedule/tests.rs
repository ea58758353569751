//! Each rule of the schedule by itself.

mod pauses;
mod request;
mod scan;
mod shared;

use super::throttle::{CONCURRENCY, FIRST, GROWTH, STARTS};
use super::{
    Attempt, Authority, Environment, Failure, FailureKind, Fingerprint, Known, Loading, Obtained,
    Progress, ProviderIdentity, Renewal, RenewalInfo, RenewalInfoOutcome, RenewalWindow, Schedule,
    Scope, Task, Validity,
};
use crate::id::{IssuerId, ProviderId, VariantId};
use crate::time::UnixTime;
use std::time::Duration;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const NOW: UnixTime = UnixTime(1_800_000_000);

const TEMPORARY: Failure = Failure {
    kind: FailureKind::Temporary,
    retry_after: None,
    scope: Scope::Entry,
    ordered: false,
    is_lost: false,
    published: false,
};
const PERMANENT: Failure = Failure { kind: FailureKind::Permanent, ..TEMPORARY };
const VALIDATION: Failure = Failure { kind: FailureKind::Validation, ..TEMPORARY };

/// The variant of that number.
fn v(number: usize) -> VariantId {
    VariantId::new(number)
}

fn at(seconds: i64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

fn validity(from: i64, to: i64) -> Validity {
    Validity { not_before: at(from), not_after: at(to) }
}

fn authority(issuer: usize) -> Authority {
    Authority {
        issuer: IssuerId::new(issuer),
        name: format!("ca{issuer}"),
        has_staging: false,
        limit: None,
    }
}

fn missing() -> Known {
    Known {
        validity: None,
        renewal: Renewal::default(),
        progress: Progress::default(),
        authorities: [authority(0)].into(),
        provider: ProviderIdentity { id: ProviderId::new(0), name: "dns".into() },
        names: vec!["www.example.test".to_owned()],
        fingerprint: Fingerprint::default(),
        is_under_way: false,
    }
}

fn good(validity: Validity) -> Known {
    // Not asked for renewal information in these tests.
    let renewal = Renewal { next_poll: NOW + Duration::from_secs(86_400), ..Renewal::default() };
    Known { validity: Some(validity), renewal, ..missing() }
}

fn schedule(known: &[Known], now: UnixTime) -> Schedule {
    Schedule::new(known.iter().cloned(), now, Loading::default(), || 0.0)
}

fn asked(seconds: u64, scope: Scope) -> Failure {
    Failure { retry_after: Some(Duration::from_secs(seconds)), scope, ..TEMPORARY }
}

fn attempt(schedule: &mut Schedule, now: UnixTime) -> Option<Attempt> {
    match schedule.poll(now) {
        Some(Task::Obtain(attempt)) => Some(*attempt),
        _ => None,
    }
}

fn entry(schedule: &mut Schedule, now: UnixTime) -> Option<usize> {
    attempt(schedule, now).map(|attempt| attempt.variant.index())
}

/// Fails as soon as it is tried; gives the pause until the next attempt.
fn fail(schedule: &mut Schedule, now: UnixTime, failure: &Failure) -> i64 {
    let attempt = attempt(schedule, now).expect("it is due");
    schedule.handle_failed(attempt.variant, now, failure, 0.0);
    schedule.next_attempt(attempt.variant).map_or(0, |(next, ..)| next.0 - now.0)
}

#[test]
fn what_is_missing_is_due_at_once_and_what_is_good_is_not() {
    let mut schedule = schedule(&[good(validity(0, 90 * DAY)), missing()], NOW);
    assert_eq!(entry(&mut schedule, NOW), Some(1));
    assert_eq!(schedule.poll(NOW), None);
    assert_eq!(entry(&mut schedule, at(60 * DAY)), Some(0));
}

#[test]
fn what_expires_first_comes_first_when_many_are_due() {
    let known =
        [good(validity(-80 * DAY, 10 * DAY)), missing(), good(validity(-89 * DAY, DAY)), missing()];
    let mut schedule = schedule(&known, NOW);
    let order: Vec<_> = std::iter::from_fn(|| entry(&mut schedule, NOW)).collect();
    assert_eq!(order, [1, 3, 2, 0]);
}

#[test]
fn a_failure_holds_up_nobody_else_and_pauses_grow() {
    let mut schedule = schedule(&[missing(), missing()], NOW);
    let mut now = NOW;
    let mut last = 0;
    assert_eq!(entry(&mut schedule, NOW), Some(0));
    schedule.handle_failed(v(0), NOW, &TEMPORARY, 0.0);
    assert_eq!(entry(&mut schedule, NOW), Some(1), "nobody else waits");
    now = UnixTime(now.0 + 10);
    for _ in 0..40 {
        let pause = fail(&mut schedule, now, &TEMPORARY);
        assert!(pause >= last, "{pause} after {last}");
        assert_eq!(attempt(&mut schedule, UnixTime(now.0 + pause - 1)), None);
        (last, now) = (pause, UnixTime(now.0 + pause));
    }
    assert_eq!(last, 6 * HOUR);
}

#[test]
fn pauses_are_shorter_where_less_is_left() {
    let rows = [
        // Lifetime left, failures before, the longest pause and the shortest.
        (30 * DAY, 60, 6 * HOUR, 6 * HOUR),
        (10 * HOUR, 60, HOUR, HOUR),
        (60, 60, 6, 6),
        (20, 60, 5, 5),
        (-DAY, 60, 15 * 60, 15 * 60),
    ];
    for (left, failures, longest, shortest) in rows {
        let progress = Progress { failures, ..Progress::default() };
        let known = Known { progress, ..good(validity(left - 90 * DAY, left)) };
        let mut schedule = schedule(&[known], NOW);
        let pause = fail(&mut schedule, NOW, &TEMPORARY);
        assert!((shortest..=longest).contains(&pause), "{left} left: {pause}");
    }
}

#[test]
fn the_ca_may_ask_for_a_longer_pause_but_not_for_a_shorter_one() {
    for (seconds, expected) in [(0, 10), (5, 10), (3600, 3600)] {
        let mut schedule = schedule(&[missing()], NOW);
        assert_eq!(fail(&mut schedule, NOW, &asked(seconds, Scope::Entry)), expected);
    }
    // A day of rest with an hour to go would take the site down.
    let mut schedule = schedule(&[good(validity(-89 * DAY, HOUR))], NOW);
    assert_eq!(fail(&mut schedule, NOW, &asked(86_400, Scope::Entry)), HOUR / 2);
}

#[test]
fn a_pause_that_is_asked_for_concerns_what_it_is_about() {
    let other = Known { authorities: [authority(1)].into(), ..missing() };
    for (scope, free) in [(Scope::Entry, vec![1, 2]), (Scope::Issuer, vec![2])] {
        let mut schedule = schedule(&[missing(), missing(), other.clone()], NOW);
        assert_eq!(entry(&mut schedule, NOW), Some(0));
        let progress = schedule.handle_failed(v(0), NOW, &asked(3600, scope.clone()), 0.0).progress;
        let found: Vec<_> = std::iter::from_fn(|| entry(&mut schedule, at(1))).collect();
        assert_eq!(found, free, "{scope:?}");
        // A restart does not forget it.
        let kept = Known { progress, ..missing() };
        let mut again = super::tests::schedule(&[kept, missing(), other.clone()], at(2));
        let found: Vec<_> = std::iter::from_fn(|| entry(&mut again, at(2))).collect();
        assert_eq!(found, free, "{scope:?} after a restart");
        // An hour later one tries, and the other follows.
        let found: Vec<_> = std::iter::from_fn(|| entry(&mut again, at(3600))).collect();
        for first in found {
            again.handle_issued(v(first), validity(0, 90 * DAY), at(3600), 0.0);
        }
        let more: Vec<_> = std::iter::from_fn(|| entry(&mut again, at(3601))).collect();
        let is_there = again.renewal(v(0)).is_some() || more.contains(&0);
        assert!(is_there, "{scope:?}: {more:?}");
    }
}

#[test]
fn after_a_failed_validation_staging_comes_first() {
    let authorities = [Authority { has_staging: true, ..authority(0) }].into();
    let mut schedule = schedule(&[Known { authorities, ..missing() }], NOW);
    let mut now = NOW;
    let mut environments = Vec::new();
    for failure in [&TEMPORARY, &VALIDATION, &VALIDATION, &TEMPORARY] {
        let attempt = attempt(&mut schedule, now).expect("it is due");
        environments.push(attempt.environment);
        now = schedule.handle_failed(v(0), now, failure, 0.0).progress.next;
    }
    let (production, staging) = (Environment::Production, Environment::Staging);
    assert_eq!(environments, [production, production, staging, staging]);
    // A restart goes on there.
    let progress = schedule.tracks[v(0)].progress.clone();
    assert!(progress.staging);
    assert_eq!(attempt(&mut schedule, now).map(|a| a.environment), Some(staging));
    schedule.handle_probed(v(0), now);
    assert_eq!(attempt(&mut schedule, now).map(|a| a.environment), Some(production), "at once");
}

#[test]
fn a_pause_of_an_issuer_is_slept_through() {
    let mut schedule = schedule(&[missing(), missing()], NOW);
    assert_eq!(entry(&mut schedule, NOW), Some(0));
    schedule.handle_failed(v(0), NOW, &asked(3600, Scope::Issuer), 0.0);
    assert_eq!(schedule.poll(at(5)), None);
    assert_eq!(schedule.poll_timeout(), Some(at(3600)), "not at once, again and again");
}

#[test]
fn staging_that_is_down_holds_production_up_for_a_while_only() {
    let authorities = [Authority { has_staging: true, ..authority(0) }].into();
    let known = Known { authorities, ..missing() };
    for failure in [TEMPORARY, PERMANENT, asked(3600, Scope::Issuer)] {
        let mut schedule = schedule(std::slice::from_ref(&known), NOW);
        fail(&mut schedule, NOW, &VALIDATION);
        let mut environments = Vec::new();
        for _ in 0..4 {
            let now = schedule.poll_timeout().expect("it is due some time");
            let attempt = attempt(&mut schedule, now).expect("it is due");
            environments.push(attempt.environment);
            schedule.handle_failed(v(0), now, &failure, 0.0);
        }
        let (production, staging) = (Environment::Production, Environment::Staging);
        assert_eq!(environments, [staging, staging, production, production], "{failure:?}");
    }
    // Nor does a pause of it concern those that do not need it.
    let mut two = schedule(&[known.clone(), known], NOW);
    fail(&mut two, NOW, &VALIDATION);
    assert_eq!(entry(&mut two, NOW), Some(1));
    assert_eq!(entry(&mut two, at(600)), Some(0), "in staging");
    two.handle_failed(v(0), at(600), &asked(3600, Scope::Issuer), 0.0);
    two.handle_failed(v(1), at(600), &TEMPORARY, 0.0);
    assert_eq!(entry(&mut two, at(610)), Some(1));
}

#[test]
fn the_next_ca_is_tried_after_repeated_failure_and_the_first_one_at_the_next_renewal() {
    let known = Known { authorities: [authority(7), authority(8)].into(), ..missing() };
    let mut now = NOW;
    let mut first = schedule(std::slice::from_ref(&known), NOW);
    let mut tried = Vec::new();
    for _ in 0..7 {
        let attempt = attempt(&mut first, now).expect("it is due");
        tried.push(attempt.issuer.index());
        now = first.handle_failed(v(0), now, &TEMPORARY, 0.0).progress.next;
    }
    assert_eq!(tried, [7, 7, 7, 8, 8, 8, 7]);
    // Permanent problems, and long pauses, are no reason to wait.
    for failure in [PERMANENT, asked(86_400, Scope::Entry), asked(86_400, Scope::Issuer)] {
        let mut other = schedule(std::slice::from_ref(&known), NOW);
        assert_eq!(fail(&mut other, NOW, &failure), 10, "{failure:?}");
        assert_eq!(attempt(&mut other, at(10)).map(|a| a.issuer.index()), Some(8), "{failure:?}");
        other.handle_issued(v(0), validity(10, 90 * DAY), at(10), 0.0);
        let again = attempt(&mut other, at(80 * DAY)).map(|a| a.issuer.index());
        assert_eq!(again, Some(7), "the renewal begins with the first");
    }
    // When all of them need a person, the pause grows from round to round.
    let mut all = schedule(std::slice::from_ref(&known), NOW);
    assert_eq!(pauses::pauses(&mut all, &PERMANENT, 8), [10, 60, 10, 600, 10, HOUR, 10, DAY]);
    // Certificates that have not failed themselves go to the second while the first is away.
    let mut two = schedule(&[known.clone(), known], NOW);
    assert_eq!(entry(&mut two, NOW), Some(0));
    two.handle_failed(v(0), NOW, &asked(86_400, Scope::Issuer), 0.0);
    assert_eq!(attempt(&mut two, NOW).map(|a| (a.variant.index(), a.issuer.index())), Some((1, 8)));
}

/// The seconds until the issuer is asked again, where the attempts with all others fail and the process
/// is started anew after each; `authorities` is the order in which later configurations name them.
fn asked_again_after(issuer: usize, failure: &Failure, authorities: &[usize]) -> i64 {
    let known = |order: &[usize]| {
        let authorities = order.iter().map(|issuer| authority(*issuer)).collect();
        Known { authorities, ..missing() }
    };
    let mut first = schedule(&[known(&[issuer, issuer + 1])], NOW);
    assert_eq!(attempt(&mut first, NOW).map(|a| a.issuer.index()), Some(issuer));
    let mut progress = first.handle_failed(v(0), NOW, failure, 0.0).progress;
    let mut now = NOW;
    loop {
        let mut next = schedule(&[Known { progress, ..known(authorities) }], now);
        now = now.max(next.poll_timeout().expect("it is due some time"));
        let attempt = attempt(&mut next, now).expect("it is due");
        if attempt.issuer.index() == issuer {
            return now.0 - NOW.0;
        }
        progress = next.handle_failed(v(0), now, &TEMPORARY, 0.0).progress;
    }
}

#[test]
fn a_ca_that_wants_to_be_left_alone_is_while_others_are_tried() {
    for scope in [Scope::Entry, Scope::Issuer] {
        let failure = asked(86_400, scope.clone());
        let pause = asked_again_after(7, &failure, &[7, 8]);
        assert!((DAY..DAY + 7 * HOUR).contains(&pause), "{scope:?}: {pause}");
        // Nor does another order in the configuration hand its pause to another CA.
        let pause = asked_again_after(7, &failure, &[8, 7]);
        assert!((DAY..DAY + 7 * HOUR).contains(&pause), "{scope:?}, reordered: {pause}");
    }
    // A CA that has said nothing has its turn sooner.
    assert!(asked_again_after(7, &TEMPORARY, &[7, 8]) < HOUR);
}

#[test]
fn another_ca_is_no_way_around_a_pause_that_the_dns_provider_wants() {
    let known = Known { authorities: [authority(7), authority(8)].into(), ..missing() };
    let mut schedule = schedule(&[known], NOW);
    assert_eq!(fail(&mut schedule, NOW, &asked(3600, Scope::Provider)), HOUR);
    assert_eq!(attempt(&mut schedule, at(HOUR)).map(|a| a.issuer.index()), Some(7));
}

#[test]
fn a_ca_that_is_no_longer_configured_takes_its_failures_with_it() {
    let known =
        |issuers: [usize; 2]| Known { authorities: issuers.map(authority).into(), ..missing() };
    let mut first = schedule(&[known([7, 8])], NOW);
    let progress = (0..4).fold(Progress::default(), |_, n| {
        attempt(&mut first, at(n * HOUR)).expect("it is due");
        first.handle_failed(v(0), at(n * HOUR), &TEMPORARY, 0.0).progress
    });
    assert_eq!(progress.authority.as_deref(), Some("ca8"));
    let now = at(4 * HOUR);
    let mut next = schedule(&[Known { progress, ..known([9, 10]) }], now);
    let attempt = attempt(&mut next, now).expect("it is due");
    assert_eq!((attempt.issuer.index(), attempt.progress.failures_here), (9, 0));
}

#[test]
fn the_ca_says_when_and_is_asked_seldom() {
    let known = Known { renewal: Renewal::default(), ..good(validity(0, 90 * DAY)) };
    let mut schedule = schedule(&vec![known; 8], NOW);
    let questions = |schedule: &mut Schedule, now| {
        std::iter::from_fn(|| match schedule.poll(now) {
            Some(Task::AskRenewalInfo { variant }) => Some(variant.index()),
            _ => None,
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(questions(&mut schedule, NOW), [0; 0], "not at the start");
    assert_eq!(questions(&mut schedule, at(1)), [0, 1, 2, 3, 4], "a few at once");
    let window = RenewalWindow { start: at(DAY), end: at(3 * DAY) };
    let info = RenewalInfo { window, retry_after: None, explanation_url: None };
    let answer = RenewalInfoOutcome::Answered(info);
    let kept = schedule.handle_renewal_info(v(0), NOW, &answer, 0.5);
    assert_eq!(schedule.renewal(v(0)).map(|(time, _)| time), Some(at(2 * DAY)));
    assert_eq!(questions(&mut schedule, at(1)), [5]);
    // A restart keeps the time, and the time of the next question.
    let known = Known { renewal: kept, ..good(validity(0, 90 * DAY)) };
    let mut again = super::tests::schedule(&[known], at(60));
    assert_eq!(again.renewal(v(0)).map(|(time, _)| time), Some(at(2 * DAY)));
    assert_eq!(questions(&mut again, at(6 * HOUR - 1)), [0; 0]);
    assert_eq!(questions(&mut again, at(6 * HOUR)), [0]);
    assert_eq!(entry(&mut again, at(2 * DAY)), Some(0));
}

#[test]
fn success_forgets_the_failures() {
    let mut schedule = schedule(&[missing()], NOW);
    fail(&mut schedule, NOW, &TEMPORARY);
    assert!(attempt(&mut schedule, at(10)).is_some());
    schedule.handle_issued(v(0), validity(0, 90 * DAY), at(10), 0.0);
    let (renewal, _) = schedule.renewal(v(0)).expect("there is a certificate");
    let progress = attempt(&mut schedule, renewal).expect("it is due").progress;
    assert_eq!(progress.failures, 0);
}

#[test]
fn attempts_that_ended_with_the_certificate_are_told_from_those_of_its_renewal() {
    let progress = Progress::default().begun(NOW);
    let known = |validity| Known { progress: progress.clone(), ..good(validity) };
    assert!(known(validity(0, 90 * DAY)).has_ended(at(1)));
    assert!(!known(validity(-80 * DAY, 10 * DAY)).has_ended(at(1)), "it is being renewed");
    assert!(!Known { progress: progress.clone(), ..missing() }.has_ended(at(1)));
    assert!(!good(validity(0, 90 * DAY)).has_ended(at(1)), "there is nothing to forget");
}

#[test]
fn a_renewal_that_is_asked_for_is_due_at_once() {
    let mut schedule = schedule(&[good(validity(0, 90 * DAY))], NOW);
    schedule.renew_now(v(0));
    assert_eq!(entry(&mut schedule, NOW), Some(0));
    schedule.handle_issued(v(0), validity(0, 90 * DAY), NOW, 0.0);
    assert_eq!(entry(&mut schedule, NOW), None);
}

#[test]
fn a_process_that_dies_while_it_works_pauses_longer_each_time() {
    let mut progress = Progress::default();
    let mut now = NOW;
    for expected in [1, 2, 4, 8] {
        progress = progress.begun(now);
        let schedule = schedule(&[Known { progress: progress.clone(), ..missing() }], now);
        let next = schedule.poll_timeout().unwrap_or_default();
        assert_eq!(next.since(now).as_secs(), expected);
        now = next;
    }
    for _ in 0..40 {
        progress = progress.begun(now);
    }
    let kept = Known { progress: progress.clone(), ..missing() };
    let schedule = schedule(&[kept], now);
    assert_eq!(schedule.poll_timeout().unwrap_or_default().since(now).as_secs(), 600);
    assert_eq!(progress.interrupted().unfinished, 0, "a stop in good order is no crash");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_work() {
    let mut late = schedule(&[missing()], at(1_000_000));
    fail(&mut late, at(1_000_000), &asked(86_400, Scope::Issuer));
    let progress = late.tracks[v(0)].progress.clone();
    let mut schedule = schedule(&[Known { progress, ..missing() }], NOW);
    assert_eq!(entry(&mut schedule, NOW), Some(0));
}

#[test]
fn a_pause_that_was_asked_for_by_a_wrong_clock_holds_no_more() {
    let mut schedule = schedule(&[missing(), missing()], at(1_000_000));
    assert_eq!(entry(&mut schedule, at(1_000_000)), Some(0));
    schedule.handle_failed(v(0), at(1_000_000), &asked(3600, Scope::Issuer), 0.0);
    assert_eq!(entry(&mut schedule, at(1_000_001)), None);
    let found = std::iter::from_fn(|| entry(&mut schedule, NOW)).count();
    assert_eq!(found, 2, "both go on");
}

#[test]
fn a_machine_that_slept_for_a_week_goes_on() {
    let mut schedule = schedule(&[good(validity(-57 * DAY, 33 * DAY)), missing()], NOW);
    fail(&mut schedule, NOW, &TEMPORARY);
    let found: Vec<_> = std::iter::from_fn(|| entry(&mut schedule, at(7 * DAY))).collect();
    assert_eq!(found, [1, 0]);
}

#[test]
fn work_is_bounded_and_more_after_successes_until_one_fails() {
    let mut schedule = schedule(&vec![missing(); 2 * CONCURRENCY], NOW);
    let start_all = |schedule: &mut Schedule, now| {
        std::iter::from_fn(|| entry(schedule, now)).map(VariantId::new).collect::<Vec<_>>()
    };
    let first = start_all(&mut schedule, NOW);
    assert_eq!(first.len(), FIRST);
    assert_eq!(schedule.poll_timeout(), None, "only an outcome makes room");
    let mut now = at(5);
    for variant in first {
        schedule.handle_issued(variant, validity(0, 90 * DAY), now, 0.0);
    }
    let room = FIRST + FIRST * GROWTH;
    // As many as a CA takes in a second, and no more than there is room for.
    let mut working = Vec::new();
    while working.len() < room {
        let started = start_all(&mut schedule, now);
        assert_eq!(started.len(), STARTS, "at {now:?}");
        working.extend(started);
        now = now + Duration::from_secs(1);
    }
    assert_eq!(start_all(&mut schedule, now), []);
    assert_eq!(schedule.interrupted().count(), room);
    schedule.handle_failed(working[0], now, &TEMPORARY, 0.0);
    for variant in &working[1..=room - FIRST] {
        assert_eq!(start_all(&mut schedule, now), []);
        schedule.handle_failed(*variant, now, &TEMPORARY, 0.0);
    }
    assert_eq!(start_all(&mut schedule, now).len(), 1);
}

/// A certificate of 90 days that was obtained at a time by our clock, which is ahead by `skew`.
fn fresh(now: UnixTime, skew: i64) -> Obtained {
    let there = now.0 - skew;
    let validity = Validity { not_before: UnixTime(there), not_after: UnixTime(there + 90 * DAY) };
    Obtained { validity, skew, follows: None }
}

#[test]
fn a_fresh_certificate_is_not_ordered_again_whatever_our_clock_says() {
    for skew in [0, 2 * HOUR, 75 * DAY, 100 * DAY, 3650 * DAY, -2 * HOUR, -365 * DAY] {
        let mut schedule = schedule(&[missing()], NOW);
        assert_eq!(entry(&mut schedule, NOW), Some(0), "{skew}");
        let renewal = schedule.handle_issued(v(0), fresh(NOW, skew), NOW, 0.0);
        // The CA suggests a window by its own clock.
        let window = RenewalWindow { start: at(30 * DAY - skew), end: at(31 * DAY - skew) };
        let info = RenewalInfo { window, retry_after: None, explanation_url: None };
        assert_eq!(schedule.poll(at(1)), Some(Task::AskRenewalInfo { variant: v(0) }), "{skew}");
        let answer = RenewalInfoOutcome::Answered(info);
        let informed = schedule.handle_renewal_info(v(0), at(1), &answer, 0.0);
        for (what, kept, due) in
            [("by its lifetime", renewal, 60 * DAY), ("as suggested", informed, 30 * DAY)]
        {
            let validity = Some(fresh(NOW, skew).validity);
            let known = Known { validity, renewal: kept, ..missing() };
            let mut restarted = self::schedule(&[known], at(10));
            assert_eq!(
                restarted.renewal(v(0)).map(|(time, _)| time),
                Some(at(due)),
                "{skew} {what}"
            );
            assert_eq!(entry(&mut restarted, at(due - 1)), None, "{skew} {what}");
            assert_eq!(entry(&mut restarted, at(due)), Some(0), "{skew} {what}");
        }
    }
}

#[test]
fn a_clock_that_is_set_right_makes_dates_what_they_are() {
    let skew = 100 * DAY;
    for is_restarted in [false, true] {
        let mut schedule = schedule(&[missing()], NOW);
        entry(&mut schedule, NOW);
        let obtained = fresh(NOW, skew);
        let renewal = schedule.handle_issued(v(0), obtained, NOW, 0.0);
        let right = at(HOUR - skew);
        if is_restarted {
            let known = Known { validity: Some(obtained.validity), renewal, ..missing() };
            schedule = self::schedule(&[known], right);
        }
        assert_eq!(entry(&mut schedule, right), None, "{is_restarted}");
        let due = at(60 * DAY - skew);
        assert_eq!(schedule.renewal(v(0)).map(|(time, _)| time), Some(due), "{is_restarted}");
        assert_eq!(entry(&mut schedule, due), Some(0), "{is_restarted}");
    }
}

/// A CA that hands out an old certificate again and again.
#[test]
fn a_certificate_that_is_due_when_it_comes_is_ordered_with_growing_pauses() {
    for (row, validity) in [
        ("a third is left", validity(-65 * DAY, 25 * DAY)),
        ("little is left", validity(-89 * DAY, DAY)),
        ("it has expired", validity(-90 * DAY, -DAY)),
    ] {
        let mut schedule = schedule(&[missing()], NOW);
        let mut orders = Vec::new();
        let mut now = NOW;
        while now < at(DAY) {
            if entry(&mut schedule, now).is_some() {
                orders.push(now.0 - NOW.0);
                schedule.handle_issued(v(0), validity, now, 0.0);
            }
            now = UnixTime(now.0 + 60);
        }
        assert!(orders.len() <= 12, "{row}: {orders:?}");
        assert!(orders[1] >= 600, "{row}: {orders:?}");
        let pauses: Vec<i64> = orders.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.iter().all(|pause| *pause >= 600), "{row}: {pauses:?}");
    }
}
