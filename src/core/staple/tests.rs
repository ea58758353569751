use super::{
    CONCURRENCY, StapleAnswer, StapleChange, StapleStanding, StapleTask, StapleWindow,
    StapleWindowError, Staples,
};
use crate::id::VariantId;
use crate::schedule::test_config;
use crate::time::UnixTime;
use proptest::prelude::*;
use std::time::Duration;

const NOW: UnixTime = UnixTime(1_000_000);
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The variant of that number.
fn v(number: usize) -> VariantId {
    VariantId::new(number)
}

fn after(seconds: i64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

/// An answer from so many seconds after [`NOW`] to so many.
fn window(from: i64, to: i64) -> StapleWindow {
    StapleWindow { this_update: after(from), next_update: after(to) }
}

/// One entry whose first question is under way.
fn asking() -> Staples {
    let mut staples = Staples::default();
    staples.begin(v(0), NOW);
    assert_eq!(staples.poll_timeout(), Some(NOW));
    assert_eq!(staples.poll(NOW), Some(StapleTask::Ask(v(0))));
    assert_eq!(staples.poll(after(DAY)), None, "it is under way");
    assert_eq!(staples.poll_timeout(), None);
    staples
}

fn answer(staples: &mut Staples, now: UnixTime, answer: StapleAnswer, jitter: f64) -> StapleChange {
    staples.handle_answer(v(0), now, answer, jitter).expect("there is an entry")
}

#[test]
fn times_are_good_or_told() {
    for (from, to, expected) in [
        (0, Some(1), Ok(window(0, 1))),
        (-DAY, Some(DAY), Ok(window(-DAY, DAY))),
        (5 * MINUTE, Some(DAY), Ok(window(5 * MINUTE, DAY))),
        (5 * MINUTE + 1, Some(DAY), Err(StapleWindowError::Future(after(5 * MINUTE + 1)))),
        (-DAY, None, Err(StapleWindowError::Endless)),
        (-DAY, Some(0), Err(StapleWindowError::Past(NOW))),
        (-DAY, Some(-1), Err(StapleWindowError::Past(after(-1)))),
        (60, Some(60), Err(StapleWindowError::Past(after(60)))),
        (60, Some(30), Err(StapleWindowError::Past(after(30)))),
    ] {
        assert_eq!(StapleWindow::new(after(from), to.map(after), NOW), expected, "{from} {to:?}");
    }
}

#[test]
fn it_is_refreshed_at_half_of_its_time_and_well_before_its_end() {
    for (from, to, jitter, expected, what) in [
        (0, 7 * DAY, 0.0, 84 * HOUR, "half of a week"),
        (0, 7 * DAY, 1.0, 84 * HOUR + 7 * DAY / 10, "and a tenth of it"),
        (-DAY, 7 * DAY, 0.0, 3 * DAY, "half is counted from thisUpdate"),
        (0, 3 * HOUR, 1.0, 108 * MINUTE, "before the margin"),
        (0, 130 * MINUTE, 0.0, 65 * MINUTE, "half is before the margin"),
        (0, 130 * MINUTE, 1.0, 70 * MINUTE, "the margin of an hour"),
        (0, HOUR, 0.0, 30 * MINUTE, "too short for the margin"),
        (0, 10 * MINUTE, 1.0, 6 * MINUTE, "too short for the margin, with jitter"),
        (-6 * DAY, DAY, 0.0, DAY / 10, "from a cache, beyond its half"),
        (-6 * DAY, 5 * MINUTE, 0.0, MINUTE, "never more often than once a minute"),
        (0, MINUTE, 0.0, 30, "unless it ends before"),
        (-HOUR, 20, 1.0, 10, "soon over"),
        (-HOUR, 6, 1.0, 5, "never more often than that"),
    ] {
        let mut staples = asking();
        let change = answer(&mut staples, NOW, StapleAnswer::Good(window(from, to)), jitter);
        assert_eq!(change.next, after(expected), "{what}");
        assert_eq!(change.served_until, Some(after(to)), "{what}");
        assert_eq!(staples.poll_timeout(), Some(change.next), "{what}");
        assert_eq!(staples.poll(after(expected - 1)), None, "{what}");
        assert_eq!(staples.poll(after(expected)), Some(StapleTask::Ask(v(0))), "{what}");
    }
}

#[test]
fn failures_pause_for_a_minute_and_longer_and_what_is_served_stays_to_its_end() {
    let mut staples = asking();
    let first = answer(&mut staples, NOW, StapleAnswer::Good(window(0, 4 * HOUR)), 0.0);
    assert_eq!((first.before, first.failures), (StapleStanding::New, 0));
    let (mut pauses, mut withdrawn) = (Vec::new(), Vec::new());
    let mut now = first.next;
    while now < after(6 * HOUR) {
        while let Some(action) = staples.poll(now) {
            if action == StapleTask::Withdraw(v(0)) {
                withdrawn.push(now);
                continue;
            }
            let change = answer(&mut staples, now, StapleAnswer::Failed, 0.0);
            let end = after(4 * HOUR);
            assert_eq!(change.served_until, (now < end).then_some(end), "at {now}");
            pauses.push(change.next.since(now).as_secs() / 60);
        }
        now = staples.poll_timeout().expect("it is asked again");
    }
    assert_eq!(withdrawn, [after(4 * HOUR)], "not before its end, and not after");
    let (longer, shorter) = pauses.split_at(5);
    assert_eq!(longer, [1, 2, 4, 8, 16]);
    let (shorter, without) = shorter.split_at(shorter.len() - 2);
    assert!(shorter.is_sorted_by(|a, b| a >= b), "towards the end of what is served: {pauses:?}");
    assert_eq!((shorter.first(), shorter.last()), (Some(&22), Some(&1)), "{pauses:?}");
    assert_eq!(without, [60; 2], "{pauses:?}");
}

#[test]
fn pauses_without_a_staple_grow_to_an_hour() {
    let mut staples = asking();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for failures in 1..=9 {
        let change = answer(&mut staples, now, StapleAnswer::Failed, 0.0);
        assert_eq!((change.failures, change.served_until), (failures, None));
        pauses.push(change.next.since(now).as_secs() / 60);
        now = change.next;
        assert_eq!(staples.poll(UnixTime(now.0 - 1)), None);
        assert_eq!(staples.poll(now), Some(StapleTask::Ask(v(0))));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let change = answer(&mut staples, now, StapleAnswer::Good(window(0, 90 * DAY)), 0.0);
    assert_eq!((change.before, change.failures), (StapleStanding::New, 9), "before this one");
    assert_eq!(staples.poll(change.next), Some(StapleTask::Ask(v(0))));
    let change = answer(&mut staples, change.next, StapleAnswer::Failed, 1.0);
    assert_eq!((change.before, change.failures), (StapleStanding::Good, 1), "counted anew");
    assert_eq!(staples.poll_timeout(), Some(change.next));
}

#[test]
fn a_revoked_certificate_is_served_without_and_asked_about_every_hour() {
    let mut staples = asking();
    let good = answer(&mut staples, NOW, StapleAnswer::Good(window(0, DAY)), 0.0);
    assert_eq!(staples.poll(good.next), Some(StapleTask::Ask(v(0))));
    let change = answer(&mut staples, good.next, StapleAnswer::Revoked, 0.0);
    assert_eq!((change.before, change.served_until), (StapleStanding::Good, None));
    assert_eq!(change.next.since(good.next), Duration::from_secs(3600));
    assert_eq!(
        staples.poll(after(DAY - 1)),
        Some(StapleTask::Ask(v(0))),
        "nothing is to be withdrawn"
    );
    let again = answer(&mut staples, after(DAY), StapleAnswer::Revoked, 0.0);
    assert_eq!(again.before, StapleStanding::Revoked);
}

#[test]
fn a_replaced_certificate_is_asked_about_at_once_and_no_answer_about_the_old_one_counts() {
    let mut staples = asking();
    staples.begin(v(0), after(10));
    assert_eq!(staples.poll(after(10)), Some(StapleTask::Ask(v(0))));
    staples.handle_stale();
    assert_eq!(staples.poll(after(DAY)), None, "the new question is still under way");
    let change = answer(&mut staples, after(11), StapleAnswer::Good(window(0, DAY)), 0.0);
    assert_eq!(change.before, StapleStanding::New);
    staples.begin(v(0), after(20));
    assert_eq!(staples.poll(after(20)), Some(StapleTask::Ask(v(0))));
    staples.end(v(0));
    assert_eq!(staples.handle_answer(v(0), after(21), StapleAnswer::Failed, 0.0), None);
    assert_eq!((staples.poll(after(DAY)), staples.poll_timeout()), (None, None));
}

#[test]
fn an_answer_of_the_process_before_is_served_on() {
    for (from, to, expected) in
        [(0, 7 * DAY, 84 * HOUR), (-5 * DAY, 2 * DAY, 0), (-DAY, 30 * MINUTE, 0)]
    {
        let mut staples = Staples::default();
        staples.begin_with(v(3), window(from, to), NOW, 0.0);
        let due = staples.poll_timeout().expect("it is asked again").max(NOW);
        assert_eq!(due, after(expected), "{from} {to}");
        assert_eq!(staples.poll(due), Some(StapleTask::Ask(v(3))));
        assert_eq!(staples.poll(after(to)), Some(StapleTask::Withdraw(v(3))));
    }
}

#[test]
fn a_few_are_asked_about_at_the_same_time() {
    let mut staples = Staples::default();
    for number in 0..3 * CONCURRENCY {
        staples.begin(v(number), NOW);
    }
    let asked: Vec<_> = std::iter::from_fn(|| staples.poll(NOW)).collect();
    let expected: Vec<_> = (0..CONCURRENCY).map(|number| StapleTask::Ask(v(number))).collect();
    assert_eq!(asked, expected);
    assert_eq!(staples.poll_timeout(), None, "until an answer comes");
    staples.handle_answer(v(4), NOW, StapleAnswer::Failed, 0.0);
    assert_eq!(staples.poll_timeout(), Some(NOW));
    assert_eq!(staples.poll(NOW), Some(StapleTask::Ask(v(CONCURRENCY))));
    assert_eq!(staples.poll(NOW), None);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_questions() {
    let mut staples = Staples::default();
    let future = after(365 * DAY);
    staples.begin(v(0), future);
    assert_eq!(staples.poll(future), Some(StapleTask::Ask(v(0))));
    answer(&mut staples, future, StapleAnswer::Failed, 0.0);
    assert_eq!(staples.poll(NOW), Some(StapleTask::Ask(v(0))));
    answer(&mut staples, NOW, StapleAnswer::Failed, 0.0);
    assert_eq!(staples.poll(NOW), None, "once");
}

/// Looks at all entries: gives those whose answer has ended, those that are to be asked about, and
/// when there is something to do.
fn scan(staples: &Staples, now: UnixTime) -> (Vec<VariantId>, Vec<VariantId>, Option<UnixTime>) {
    let entries = || staples.entries.iter().filter_map(|(n, e)| Some((n, e.as_ref()?)));
    let end = |entry: &super::StapleEntry| entry.window.map(|window| window.next_update);
    let over = entries().filter(|(_, entry)| end(entry).is_some_and(|end| end <= now));
    let has_room = staples.asking < CONCURRENCY;
    let idle = || entries().filter(|(_, entry)| has_room && !entry.is_asking);
    let due = idle().filter(|(_, entry)| entry.next <= now);
    let times = entries().filter_map(|(_, entry)| end(entry));
    let times = times.chain(idle().map(|(_, entry)| entry.next));
    (over.map(|(n, _)| n).collect(), due.map(|(n, _)| n).collect(), times.min())
}

proptest! {
    #![proptest_config(test_config(128))]

    #[test]
    fn what_is_to_be_done_is_what_a_look_at_all_entries_says(
        events in proptest::collection::vec((0..30_usize, 0..6_u8, 0..5000_i64), 1..200),
    ) {
        let (mut staples, mut now, mut asked) = (Staples::default(), NOW, Vec::new());
        for (number, what, seconds) in events {
            let variant = v(number);
            let window = StapleWindow { this_update: now, next_update: UnixTime(now.0 + seconds + 1) };
            match what {
                0 => staples.begin(variant, now),
                1 => staples.begin_with(variant, window, now, 0.5),
                2 => staples.end(variant),
                3 | 4 if !asked.is_empty() => {
                    let answer = if what == 3 { StapleAnswer::Good(window) } else { StapleAnswer::Failed };
                    staples.handle_answer(asked.remove(0), now, answer, 0.5);
                }
                _ => now = UnixTime(now.0 + seconds),
            }
            loop {
                let (over, due, next) = scan(&staples, now);
                prop_assert_eq!(staples.poll_timeout(), next);
                match staples.poll(now) {
                    Some(StapleTask::Withdraw(variant)) => prop_assert!(over.contains(&variant)),
                    Some(StapleTask::Ask(variant)) => {
                        prop_assert!(over.is_empty() && due.contains(&variant));
                        asked.push(variant);
                    }
                    None => break prop_assert!(over.is_empty() && due.is_empty()),
                }
            }
        }
    }
}
