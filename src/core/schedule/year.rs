//! A year of many certificates of one account: their CA suggests windows, counts new orders, and revokes all on one day.

use super::{
    Authority, Fingerprint, Known, Loading, OrderLimit, Progress, ProviderIdentity, Renewal,
    RenewalInfo, RenewalInfoOutcome, RenewalWindow, Schedule, Task, Validity,
};
use crate::id::{IssuerId, Table, VariantId};
use crate::time::UnixTime;
use std::collections::VecDeque;
use std::time::Duration;

const START: UnixTime = UnixTime(1_800_000_000);
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// Time of an order, and the time after which the CA wants to be asked again.
const TAKES: u64 = 15;
const ASKED_AGAIN: Duration = Duration::from_secs(12 * HOUR);

/// The days on which many lines come, and on which all certificates are revoked.
const LINES: u64 = 50 * DAY;
const REVOCATION: u64 = 200 * DAY;

/// Fleet of certificates.
struct Fleet {
    count: usize,
    /// Lifetime of a certificate in seconds.
    lifetime: u64,
    limit: OrderLimit,
}

/// Outcome of a year.
#[derive(Debug, Default)]
struct Outcome {
    /// Number of certificates that had ended before they were renewed.
    expired: usize,
    /// The most new orders within the span of the CA's limit.
    new_orders: usize,
    /// Renewals of each day.
    days: Vec<usize>,
    /// Renewals of each hour of the day after the revocation.
    revoked: Vec<usize>,
}

struct World {
    fleet: Fleet,
    now: u64,
    validities: Table<VariantId, Option<Validity>>,
    /// Attempts, with their ends.
    under_way: VecDeque<(u64, VariantId)>,
    /// Times of new orders within the span of the limit.
    recent: VecDeque<u64>,
    random: u64,
    outcome: Outcome,
}

impl World {
    fn clock(&self) -> UnixTime {
        START + Duration::from_secs(self.now)
    }

    /// Gives a number from 0 to 1, the same ones each time (Knuth's generator).
    fn random(state: &mut u64) -> f64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn known(&self, number: usize, validity: Option<Validity>) -> Known {
        Known {
            validity,
            renewal: Renewal {
                issued: validity.map(|validity| validity.not_before).unwrap_or_default(),
                ..Renewal::default()
            },
            progress: Progress::default(),
            authorities: [Authority {
                issuer: IssuerId::default(),
                name: "ca".to_owned(),
                has_staging: false,
                limit: Some(self.fleet.limit),
            }]
            .into(),
            provider: ProviderIdentity::default(),
            names: vec![format!("shop{number}.test")],
            fingerprint: Fingerprint::default(),
            is_under_way: false,
        }
    }

    /// Gives a validity that began so long ago.
    fn validity(&self, age: u64) -> Validity {
        let not_before = UnixTime(self.clock().0 - i64::try_from(age).unwrap());
        Validity { not_before, not_after: not_before + Duration::from_secs(self.fleet.lifetime) }
    }

    /// Begins in the middle of everyday life: certificates of all ages.
    fn schedule(&mut self) -> Schedule {
        for number in 0..self.fleet.count {
            let age = self.fleet.lifetime * 2 / 3 * number as u64 / self.fleet.count as u64;
            self.validities.push(Some(self.validity(age)));
        }
        let known: Vec<Known> =
            self.validities.iter().map(|(id, it)| self.known(id.index(), *it)).collect();
        let mut state = self.random;
        Schedule::new(known, self.clock(), Loading::default(), move || Self::random(&mut state))
    }

    fn add_lines(&mut self, schedule: &mut Schedule) {
        let count = self.fleet.count / 50;
        for _ in 0..count {
            let known = self.known(self.validities.len(), None);
            self.validities.push(None);
            let mut state = self.random;
            schedule.add(known, self.clock(), || Self::random(&mut state));
        }
    }

    fn begin(&mut self, variant: VariantId) {
        if self.validities[variant].is_none() {
            let span = self.fleet.limit.span.as_secs();
            self.recent.retain(|time| time + span > self.now);
            self.recent.push_back(self.now);
            self.outcome.new_orders = self.outcome.new_orders.max(self.recent.len());
        }
        self.under_way.push_back((self.now + TAKES, variant));
    }

    fn end(&mut self, schedule: &mut Schedule, variant: VariantId) {
        let before = self.validities[variant];
        self.outcome.expired +=
            usize::from(before.is_some_and(|validity| validity.not_after < self.clock()));
        let validity = self.validity(0);
        self.validities[variant] = Some(validity);
        let random = Self::random(&mut self.random);
        schedule.handle_issued(variant, validity, self.clock(), random);
        count(&mut self.outcome.days, self.now / DAY);
        if let Some(since) = self.now.checked_sub(REVOCATION).filter(|since| *since < DAY) {
            count(&mut self.outcome.revoked, since / HOUR);
        }
    }

    fn answer(&mut self, schedule: &mut Schedule, variant: VariantId) {
        let Some(validity) = self.validities[variant] else { return };
        let revoked = START + Duration::from_secs(REVOCATION);
        let window = if self.now >= REVOCATION && validity.not_before < revoked {
            RenewalWindow { start: revoked, end: revoked + Duration::from_secs(DAY) }
        } else {
            let start = validity.not_before + Duration::from_secs(self.fleet.lifetime * 2 / 3);
            RenewalWindow { start, end: start + Duration::from_secs(self.fleet.lifetime / 45) }
        };
        let info = RenewalInfo { window, retry_after: Some(ASKED_AGAIN), explanation_url: None };
        let outcome = RenewalInfoOutcome::Answered(info);
        let random = Self::random(&mut self.random);
        schedule.handle_renewal_info(variant, self.clock(), &outcome, random);
    }
}

fn count(counts: &mut Vec<usize>, at: u64) {
    let at = usize::try_from(at).unwrap();
    counts.resize(counts.len().max(at + 1), 0);
    counts[at] += 1;
}

fn year(fleet: Fleet) -> Outcome {
    let mut world = World {
        fleet,
        now: 0,
        validities: Table::default(),
        under_way: VecDeque::new(),
        recent: VecDeque::new(),
        random: 1,
        outcome: Outcome::default(),
    };
    let mut schedule = world.schedule();
    let mut has_lines = false;
    while world.now < YEAR {
        if world.now >= LINES && !std::mem::replace(&mut has_lines, world.now >= LINES) {
            world.add_lines(&mut schedule);
        }
        while let Some((_, variant)) = world.under_way.pop_front_if(|(end, _)| *end <= world.now) {
            world.end(&mut schedule, variant);
        }
        while let Some(task) = schedule.poll(world.clock()) {
            match task {
                Task::Obtain(attempt) => world.begin(attempt.variant),
                Task::AskRenewalInfo { variant } => world.answer(&mut schedule, variant),
            }
        }
        let next = schedule.poll_timeout().map(|next| u64::try_from(next.0 - START.0).unwrap());
        let end = world.under_way.front().map(|(end, _)| *end);
        let lines = Some(LINES).filter(|lines| *lines > world.now);
        let times = [next, end, lines].into_iter().flatten();
        world.now = times.min().unwrap_or(YEAR).max(world.now + 1);
    }
    let clock = world.clock();
    let is_expired = |validity: &&Option<Validity>| validity.is_none_or(|it| it.not_after < clock);
    world.outcome.expired += world.validities.values().filter(is_expired).count();
    world.outcome
}

/// Plots numbers as bars.
fn plot(title: &str, unit: &str, numbers: impl Iterator<Item = usize> + Clone) -> String {
    let most = numbers.clone().max().unwrap_or(0).max(1);
    let bar = |(at, number): (usize, usize)| {
        format!("{unit} {at:3} {number:7} {}\n", "#".repeat(number * 60 / most))
    };
    format!("{title}\n{}", numbers.enumerate().map(bar).collect::<String>())
}

/// Checks a year, and plots it.
fn check(count: usize, days: u64, limit: usize) {
    let limit = OrderLimit { orders: limit, span: Duration::from_secs(3 * HOUR) };
    let most = limit.orders;
    let outcome = year(Fleet { count, lifetime: days * DAY, limit });
    let title = format!("{count} certificates of {days} days, renewals in each week");
    let weeks = plot(&title, "week", outcome.days.chunks(7).map(|week| week.iter().sum()));
    let title = "in each hour after the revocation of all";
    let hours = plot(title, "hour", outcome.revoked.iter().copied());
    let Outcome { new_orders, expired, .. } = outcome;
    // As a whole: another year may be printed at the same time.
    println!("{weeks}{hours}{new_orders} new orders at most in three hours; {expired} expired\n");
    assert_eq!(outcome.expired, 0, "none expires");
    assert!(outcome.new_orders <= most, "{} new orders, {most} are admitted", outcome.new_orders);
    // From the second life of all to the revocation, and without the day of the new lines.
    let (from, to) = (usize::try_from(days).unwrap(), usize::try_from(REVOCATION / DAY).unwrap());
    let calm = outcome.days.get(from..to).unwrap_or_default();
    let mean = calm.iter().sum::<usize>() / calm.len();
    let peak = calm.iter().max().copied().unwrap_or(0);
    assert!(peak <= mean * 2 + 20, "the load is even: {peak} on a day, {mean} in the mean");
    let hours = outcome.revoked.iter().max().copied().unwrap_or(0);
    assert!(hours <= count / 4, "{hours} of {count} in one hour after the revocation");
}

#[test]
fn in_a_year_none_of_many_certificates_expires_and_no_limit_is_met() {
    check(500, 45, 6);
    check(200, 6, 6);
}

#[test]
#[ignore = "long: make year"]
fn a_year_of_a_hundred_thousand_certificates_of_45_days() {
    check(100_000, 45, 300);
}

#[test]
#[ignore = "long: make year"]
fn a_year_of_a_hundred_thousand_certificates_of_six_days() {
    check(100_000, 6, 300);
}
