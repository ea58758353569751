//! Work of other hosts for a certificate.

use super::super::{
    Authority, Failure, Obtained, OrderLimit, Progress, Renewal, Schedule, Scope, Task,
};
use super::{DAY, NOW, TEMPORARY, at, missing, v, validity};
use crate::schedule::Loading;
use std::time::Duration;

fn two() -> Schedule {
    Schedule::new([missing(), missing()], NOW, Loading(1), || 0.0)
}

/// Certificates that are missing, at a CA that admits so many orders in an hour, nine tenths of them for these.
fn limited(certificates: usize, orders: usize) -> Schedule {
    let limit = Some(OrderLimit { orders, span: Duration::from_secs(3600) });
    let known = (0..certificates).map(|_| {
        let mut known = missing();
        let with_limit = |it: &Authority| Authority { limit, ..it.clone() };
        known.authorities = known.authorities.iter().map(with_limit).collect();
        known
    });
    Schedule::new(known, NOW, Loading(1), || 0.0)
}

/// Takes the certificates that are due at a time.
fn due(schedule: &mut Schedule, seconds: i64) -> Vec<usize> {
    let mut due = Vec::new();
    while let Some(Task::Obtain(attempt)) = schedule.poll(at(seconds)) {
        due.push(attempt.variant.index());
    }
    due
}

#[test]
fn an_attempt_that_another_host_makes_is_no_failure() {
    let mut schedule = two();
    assert_eq!(due(&mut schedule, 0), [0, 1]);
    schedule.postpone(v(0), at(30), at(1));
    schedule.postpone(v(1), at(30), at(1));
    assert_eq!(due(&mut schedule, 29), [0; 0]);
    assert_eq!(schedule.poll_timeout(), Some(at(30)));
    schedule.recall(v(1), at(29));
    assert_eq!(due(&mut schedule, 29), [1], "the other host is done");
    let Some(Task::Obtain(attempt)) = schedule.poll(at(30)) else { panic!("it is time") };
    assert_eq!((attempt.progress.failures, attempt.progress.unfinished), (0, 1));
}

#[test]
fn an_order_of_another_host_counts_there() {
    let mut schedule = limited(2, 2);
    assert_eq!(due(&mut schedule, 0), [0]);
    schedule.postpone(v(0), at(30), at(1));
    assert_eq!(due(&mut schedule, 1), [1]);
}

#[test]
fn hosts_divide_the_limit_of_new_orders() {
    let mut schedule = limited(20, 20);
    schedule.share_limits(2, NOW);
    assert_eq!(due(&mut schedule, 0).len(), 6);
    schedule.share_limits(0, at(1));
    assert_eq!(due(&mut schedule, 1).len(), 12, "the others have left");
}

#[test]
fn what_a_person_asks_for_waits_for_the_other_host_too() {
    let mut schedule = two();
    let valid = validity(-DAY, 89 * DAY);
    schedule.handle_adopted(v(0), valid, Renewal::default(), NOW);
    schedule.handle_adopted(v(1), valid, Renewal::default(), NOW);
    assert_eq!(due(&mut schedule, 0), [0; 0]);
    schedule.renew_now(v(0));
    assert_eq!(due(&mut schedule, 1), [0]);
    schedule.postpone(v(0), at(30), at(1));
    assert_eq!(due(&mut schedule, 29), [0; 0]);
    assert_eq!(due(&mut schedule, 30), [0]);
}

#[test]
fn a_certificate_of_another_host_ends_what_is_due_and_brings_its_renewal() {
    let mut schedule = two();
    assert_eq!(due(&mut schedule, 0), [0, 1]);
    schedule.handle_failed(v(0), at(1), &TEMPORARY, 0.0);
    let renewal = Renewal { jitter: Some(1.0), issued: NOW, number: 7, ..Renewal::default() };
    for variant in [v(0), v(1)] {
        let kept = schedule.handle_adopted(variant, validity(0, 90 * DAY), renewal, at(2));
        assert_eq!((kept.number, kept.jitter), (7, Some(1.0)));
        assert_eq!(schedule.progress(variant), Some(&Progress::default()));
    }
    assert!(!schedule.has_failures());
    let (time, _) = schedule.renewal(v(0)).unwrap();
    assert_eq!(time, validity(0, 90 * DAY).renewal_time(1.0));
}

#[test]
fn what_has_failed_elsewhere_is_not_tried_here() {
    let mut leader = two();
    assert_eq!(due(&mut leader, 0), [0, 1]);
    let busy = Duration::from_secs(4000);
    let failure = Failure { scope: Scope::Issuer, retry_after: Some(busy), ..TEMPORARY };
    let progress = leader.handle_failed(v(0), at(1), &failure, 0.0).progress;
    let mut other = two();
    let kept = other.handle_failed_elsewhere(v(0), progress.clone(), at(1)).unwrap();
    assert_eq!((kept.failures, kept.next), (1, progress.next));
    assert_eq!(due(&mut other, 3000), [0; 0], "the CA has asked all of us to wait");
    assert_eq!(due(&mut other, 4100).len(), 1, "one finds out");
    assert_eq!(
        other.handle_failed_elsewhere(v(1), Progress::default(), at(2)),
        None,
        "it is older"
    );
}

#[test]
fn certificates_are_counted_from_the_first_one_in_a_fleet() {
    let mut schedule = two();
    let obtained = |follows| Obtained { validity: validity(0, DAY), skew: 0, follows };
    let rows = [(None, 0), (None, 0), (Some(0), 1), (Some(7), 8), (Some(3), 9), (None, 10)];
    for (row, (follows, expected)) in rows.into_iter().enumerate() {
        assert_eq!(
            schedule.handle_issued(v(0), obtained(follows), NOW, 0.0).number,
            expected,
            "{row}"
        );
    }
    let json = serde_json::to_string(&Renewal::default()).unwrap();
    assert!(!json.contains("number"), "a host without a fleet writes what it always did: {json}");
}
