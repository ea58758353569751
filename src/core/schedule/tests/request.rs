//! Renewals that are asked for by whoever may have taken over a worker.

use super::{
    DAY, HOUR, NOW, PERMANENT, TEMPORARY, asked, at, entry, fail, good, missing, schedule, v,
    validity,
};
use crate::schedule::{NotNow, Scope};

#[test]
fn a_certificate_is_renewed_once() {
    let mut schedule = schedule(&[good(validity(0, 90 * DAY)), good(validity(0, 90 * DAY))], NOW);
    assert_eq!(schedule.request(v(0), NOW), Ok(()));
    assert_eq!(schedule.request(v(0), NOW), Err(NotNow::UnderWay), "it is due");
    assert_eq!(entry(&mut schedule, NOW), Some(0));
    assert_eq!(schedule.request(v(0), NOW), Err(NotNow::UnderWay));
    assert_eq!(entry(&mut schedule, NOW), None, "one order, and nothing for the other");
    schedule.handle_issued(v(0), validity(0, 90 * DAY), NOW, 0.0);
    assert_eq!(entry(&mut schedule, at(HOUR)), None);
}

#[test]
fn a_request_that_fails_is_tried_again_at_the_pace_of_all_others() {
    let mut schedule = schedule(&[good(validity(0, 90 * DAY))], NOW);
    assert_eq!(schedule.request(v(0), NOW), Ok(()));
    let pause = fail(&mut schedule, NOW, &TEMPORARY);
    assert!(pause > 0);
    assert_eq!(entry(&mut schedule, at(pause - 1)), None);
    assert_eq!(entry(&mut schedule, at(pause)), Some(0));
}

#[test]
fn a_pause_that_was_asked_for_is_not_shortened() {
    for scope in [Scope::Issuer, Scope::Provider, Scope::Entry] {
        let known = [missing(), good(validity(0, 90 * DAY))];
        let mut schedule = schedule(&known, NOW);
        fail(&mut schedule, NOW, &asked(7200, scope.clone()));
        let held = schedule.request(v(0), at(60));
        assert!(matches!(held, Err(NotNow::Held(until)) if until > at(60)), "{scope:?}: {held:?}");
        // What concerns all certificates concerns the one that has nothing to do with it, too.
        if scope != Scope::Entry {
            assert_eq!(schedule.request(v(1), at(60)), Err(NotNow::Held(at(7200))), "{scope:?}");
            assert_eq!(entry(&mut schedule, at(60)), None, "{scope:?}");
            assert_eq!(schedule.request(v(1), at(7201)), Ok(()), "{scope:?}");
        }
    }
}

#[test]
fn what_has_failed_is_tried_at_once_as_often_as_reloads_may() {
    for scope in [Scope::Entry, Scope::Provider, Scope::Zone("example.test".to_owned())] {
        let failure = crate::schedule::Failure { scope: scope.clone(), ..PERMANENT };
        let mut schedule = schedule(&[missing()], NOW);
        for _ in 0..6 {
            let (next, ..) = schedule.next_attempt(v(0)).unwrap();
            fail(&mut schedule, next.max(NOW), &failure);
        }
        let (mut now, mut granted) = (schedule.now, 0);
        let refusal = loop {
            now = crate::time::UnixTime(now.0 + 60);
            match schedule.request(v(0), now) {
                Ok(()) => granted += 1,
                Err(why) => break why,
            }
            fail(&mut schedule, now, &failure);
        };
        assert_eq!(granted, 3, "{scope:?}");
        assert!(matches!(refusal, NotNow::Paused(until) if until > now), "{scope:?}: {refusal:?}");
        assert_eq!(entry(&mut schedule, now), None, "{scope:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_not_ordered() {
    let mut schedule = schedule(&[missing()], NOW);
    schedule.bar(v(0));
    assert_eq!(schedule.request(v(0), NOW), Err(NotNow::Unreadable));
    assert_eq!(entry(&mut schedule, NOW), None);
}

#[test]
fn a_request_of_the_process_before_is_gone_on_with() {
    let mut schedule = schedule(&[good(validity(0, 90 * DAY))], NOW);
    schedule.want(v(0));
    assert_eq!(entry(&mut schedule, NOW), Some(0));
}
