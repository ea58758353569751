//! Cost of a step of the schedule: it is to grow with the logarithm of the number of certificates.
//!
//! Nothing is started here. Each step is timed on a clock, as its processor time is all that it takes.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use acme_dns_core::id::{IssuerId, ProviderId, VariantId};
use acme_dns_core::schedule::{
    Authority, Failure, FailureKind, Fingerprint, Known, Loading, Progress, ProviderIdentity,
    Renewal, RenewalInfoOutcome, Schedule, Scope, Task, Validity,
};
use acme_dns_core::staple::{StapleAnswer, StapleTask, StapleWindow, Staples};
use acme_dns_core::time::UnixTime;

use crate::report::Report;
use crate::setup::Setup;
use crate::turns::{Competitor, Turns};

/// Time that each kind of step is measured.
const TIME: Duration = Duration::from_secs(10);

/// The steps of one turn.
const STEPS: u32 = 200;

/// Numbers of certificates; all others are compared to the first, of which there are two.
const SIZES: [(&str, usize); 4] =
    [("1000", 1000), ("control", 1000), ("10000", 10_000), ("100000", 100_000)];

const START: UnixTime = UnixTime(1_800_000_000);
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// Measures all kinds of steps.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "schedule: time of a step with so many certificates: a renewal, a question for renewal \
         information, a failed attempt while all wait for their CA, and a question for a staple; \
         ratios to 1,000, of which control is another",
    );
    let time = setup.time(TIME);
    take(time, renewing, renew)?.report(report, "schedule_renewal");
    take(time, waiting, probe)?.report(report, "schedule_pause");
    take(time, stapled, staple)?.report(report, "schedule_staple");
    Ok(())
}

/// Takes turns with steps of worlds of all sizes.
fn take<T>(
    time: Duration,
    begin: impl Fn(usize) -> T,
    step: impl Fn(&mut T) -> Result<(), String>,
) -> Result<Turns, String> {
    let start = || {
        let world = |(name, size)| Competitor { name, server: RefCell::new(begin(size)) };
        Ok(SIZES.map(world).into_iter().collect())
    };
    Turns::take(time, start, |world| {
        let world = &mut *world.borrow_mut();
        let begin = Instant::now();
        for _ in 0..STEPS {
            step(world)?;
        }
        Ok(begin.elapsed().as_nanos() as f64 / f64::from(STEPS))
    })
}

/// A certificate that expires after so long, if there is one.
fn known(number: usize, left: Option<Duration>) -> Known {
    let validity =
        left.map(|left| Validity { not_before: START + left - LIFETIME, not_after: START + left });
    Known {
        validity,
        renewal: Renewal::default(),
        progress: Progress::default(),
        authorities: [Authority {
            issuer: IssuerId::default(),
            name: "ca".to_owned(),
            has_staging: false,
            limit: None,
        }]
        .into(),
        provider: ProviderIdentity { id: ProviderId::default(), name: "dns".into() },
        names: vec![format!("www.shop{number}.example")],
        fingerprint: Fingerprint::default(),
        is_under_way: false,
    }
}

/// Certificates whose renewals are spread over the whole of their lifetime.
fn renewing(size: usize) -> (Schedule, UnixTime) {
    let left = |number: usize| LIFETIME.mul_f64(0.34 + 0.65 * number as f64 / size as f64);
    let known = (0..size).map(|number| known(number, Some(left(number))));
    (Schedule::new(known, START, Loading::default(), || 0.5), START)
}

/// Does what is to be done next.
fn renew((schedule, now): &mut (Schedule, UnixTime)) -> Result<(), String> {
    *now = schedule.poll_timeout().ok_or("nothing is to be done")?.max(*now);
    match schedule.poll(*now) {
        Some(Task::Obtain(attempt)) => {
            let validity = Validity { not_before: *now, not_after: *now + LIFETIME };
            schedule.handle_issued(attempt.variant, validity, *now, 0.5);
        }
        Some(Task::AskRenewalInfo { variant }) => {
            schedule.handle_renewal_info(variant, *now, &RenewalInfoOutcome::Unsupported, 0.5);
        }
        None => {}
    }
    Ok(())
}

/// Certificates of which none is there, while their CA is away.
fn waiting(size: usize) -> (Schedule, UnixTime) {
    let known = (0..size).map(|number| known(number, None));
    let mut world = (Schedule::new(known, START, Loading::default(), || 0.5), START);
    while let Some(Task::Obtain(attempt)) = world.0.poll(START) {
        world.0.handle_failed(attempt.variant, START, &away(), 0.5);
    }
    world
}

fn away() -> Failure {
    Failure {
        kind: FailureKind::Temporary,
        retry_after: None,
        scope: Scope::Issuer,
        ordered: false,
        is_lost: false,
        published: false,
    }
}

/// Finds out in vain whether the CA is there again.
fn probe((schedule, now): &mut (Schedule, UnixTime)) -> Result<(), String> {
    *now = schedule.poll_timeout().ok_or("nobody tries")?.max(*now);
    if let Some(Task::Obtain(attempt)) = schedule.poll(*now) {
        schedule.handle_failed(attempt.variant, *now, &away(), 0.5);
    }
    match schedule.poll(*now) {
        None => Ok(()),
        Some(action) => Err(format!("not all wait: {action:?}")),
    }
}

/// Certificates to which an answer is stapled, of all ages.
fn stapled(size: usize) -> (Staples, UnixTime) {
    let mut staples = Staples::default();
    for number in 0..size {
        let jitter = number as f64 / size as f64;
        staples.begin_with(VariantId::new(number), answer(START), START, jitter);
    }
    (staples, START)
}

fn answer(now: UnixTime) -> StapleWindow {
    StapleWindow { this_update: now, next_update: now + Duration::from_secs(7 * 86_400) }
}

/// Asks the next responder.
fn staple((staples, now): &mut (Staples, UnixTime)) -> Result<(), String> {
    *now = staples.poll_timeout().ok_or("nothing is to be asked")?.max(*now);
    match staples.poll(*now) {
        Some(StapleTask::Ask(variant)) => {
            let jitter = f64::from(variant.index() as u32 % 1000) / 1000.0;
            staples.handle_answer(variant, *now, StapleAnswer::Good(answer(*now)), jitter);
            Ok(())
        }
        other => Err(format!("no question is due: {other:?}")),
    }
}
