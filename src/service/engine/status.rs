//! The plan that is shown for each variant: what is done for it, what comes next, and what has gone wrong.
//!
//! A plan is made anew whenever something has happened to its variant, from the schedule and what is shown already. So
//! an event costs the same however many certificates there are.

use super::clock::{let_others_work, now};
use super::failing::Failed;
use super::listener::Listener;
use super::site::Site;
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::schedule::{self, FailureKind, Reason, Schedule};
use acme_dns_core::status::{
    Activity, Counted, Figure, HelperState, LastError, NextStep, Plan, Remedy, RenewalRequest,
    StepUnderWay, WhyNext,
};
use acme_dns_core::time::UnixTime;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The part of the engine that shows plans and failures.
pub(super) struct Status {
    site: Rc<Site>,
    listener: Arc<Listener>,
}

impl Status {
    pub(super) fn new(site: Rc<Site>, listener: Arc<Listener>) -> Self {
        Self { site, listener }
    }

    /// Shows that this process works, and all plans. Errors that the process before has met stay, as far as they are
    /// not settled: they are nowhere else.
    pub(super) async fn show_all(&self, schedule: &Schedule) {
        self.listener.enter(HelperState::Working);
        for variant in self.site.variants() {
            let_others_work(variant.index()).await;
            self.show(schedule, variant);
        }
        self.note_pauses(schedule);
        self.count_records();
    }

    /// Shows the plan for a variant.
    pub(super) fn show(&self, schedule: &Schedule, variant: VariantId) {
        let before = self.site.host.shown_plan(variant);
        let plan = planned(schedule, variant, before.unwrap_or_else(Plan::idle), now());
        self.site.host.show_plan(variant, &plan);
    }

    /// Shows that an attempt begins.
    pub(super) fn begin(&self, schedule: &Schedule, variant: VariantId) {
        let step = self.listener.begin(self.site.name(variant), variant);
        self.change(schedule, variant, |plan| plan.step = Some(step));
    }

    /// Shows that a certificate was obtained.
    pub(super) fn issued(&self, schedule: &Schedule, (variant, issuer): (VariantId, IssuerId)) {
        self.listener.end(self.site.name(variant), true);
        self.site.host.add(Figure::Attempts(issuer, Counted::Ok), 1);
        self.change(schedule, variant, |plan| (plan.last_error, plan.revoked) = (None, false));
    }

    /// Shows that the staging environment was satisfied.
    pub(super) fn probed(&self, schedule: &Schedule, variant: VariantId) {
        self.listener.end(self.site.name(variant), false);
        self.show(schedule, variant);
    }

    /// Shows that an attempt has failed.
    pub(super) fn failed(
        &self,
        schedule: &Schedule,
        failed: Failed,
        kind: FailureKind,
        why: String,
    ) {
        let variant = failed.variant;
        self.listener.end(self.site.name(variant), false);
        self.site.host.add(Figure::Attempts(failed.issuer, Counted::Failed), 1);
        let remedy = match (kind, schedule.remedy(variant)) {
            (FailureKind::Waiting, _) => Remedy::Record,
            (_, schedule::Remedy::Reload) => Remedy::Reload,
            (_, schedule::Remedy::Request) => Remedy::Request,
            (_, schedule::Remedy::None) => Remedy::Wait,
        };
        let error = LastError { text: why, at: now(), remedy };
        self.change(schedule, variant, |plan| plan.last_error = Some(error));
        self.note_pauses(schedule);
    }

    /// Shows whether the responder says that a certificate is revoked.
    pub(super) fn note_revocation(&self, schedule: &Schedule, variant: VariantId, is_so: bool) {
        if self.site.host.shown_plan(variant).is_some_and(|plan| plan.revoked != is_so) {
            self.change(schedule, variant, |plan| plan.revoked = is_so);
        }
    }

    /// Shows that a renewal was asked for, and what has become of that.
    pub(super) fn note_request(
        &self,
        schedule: &Schedule,
        variant: VariantId,
        request: RenewalRequest,
    ) {
        self.change(schedule, variant, |plan| plan.requested = Some(request));
    }

    /// Counts the TXT records that exist or may exist, by the journal.
    pub(super) fn count_records(&self) {
        let Ok(entries) = self.site.store.journal_all() else { return };
        let mut counts: HashMap<String, u64> = HashMap::new();
        let records = entries.into_iter().filter_map(|(_, entry)| entry.ok());
        for record in records.flat_map(|entry| entry.records) {
            *counts.entry(record.provider).or_default() += 1;
        }
        for (id, provider) in &self.site.config.providers {
            let count = counts.get(&provider.name).copied().unwrap_or_default();
            self.site.host.note(Figure::TxtRecords(id), count);
        }
    }

    fn change(&self, schedule: &Schedule, variant: VariantId, change: impl FnOnce(&mut Plan)) {
        let mut plan = self.site.host.shown_plan(variant).unwrap_or_else(Plan::idle);
        change(&mut plan);
        let plan = planned(schedule, variant, plan, now());
        self.site.host.show_plan(variant, &plan);
    }

    fn note_pauses(&self, schedule: &Schedule) {
        for issuer in self.site.config.issuers.ids() {
            let until = schedule.asked_pause(issuer).unwrap_or_default();
            let until = u64::try_from(until.0).unwrap_or_default();
            self.site.host.note(Figure::RetryAfter(issuer), until);
        }
    }
}

/// Makes the plan of a variant, by the schedule; what that does not know is as before.
fn planned(schedule: &Schedule, variant: VariantId, before: Plan, now: UnixTime) -> Plan {
    let standing = schedule.standing(variant);
    let renewal = schedule.renewal(variant).map(|(at, reason)| match reason {
        Reason::Suggested => NextStep { at, reason: WhyNext::Ari },
        Reason::Lifetime | Reason::Late => NextStep { at, reason: WhyNext::Lifetime },
        Reason::Asked => NextStep { at: now, reason: WhyNext::Request },
    });
    let is_failing = standing.failures > 0 && standing.is_due;
    let activity = match (standing.is_working, is_failing) {
        (true, _) => Activity::Issuing,
        (false, true) => Activity::Failing,
        (false, false) => Activity::Idle,
    };
    let reason = match (is_failing, renewal) {
        (true, _) => WhyNext::Retry,
        (false, Some(renewal)) => renewal.reason,
        (false, None) => WhyNext::Config,
    };
    let next = schedule.next_attempt(variant).filter(|_| !standing.is_working);
    Plan {
        activity,
        step: before.step.filter(|_: &StepUnderWay| standing.is_working),
        renewal,
        next: next.map(|(at, ..)| NextStep { at, reason }),
        failures: standing.failures,
        last_success: standing.issued.or(before.last_success.filter(|_| renewal.is_some())),
        last_error: before.last_error.filter(|_| standing.failures > 0),
        revoked: before.revoked && renewal.is_some(),
        requested: before.requested,
    }
}

#[cfg(test)]
mod tests {
    use super::planned;
    use crate::engine::clock::now;
    use acme_dns_core::id::{IssuerId, ProviderId, VariantId};
    use acme_dns_core::schedule::{
        Authority, Failure, FailureKind, Fingerprint, Known, Loading, Progress, ProviderIdentity,
        Renewal, Schedule, Scope, Validity,
    };
    use acme_dns_core::status::{
        Activity, LastError, NextStep, Plan, Remedy, Step, StepUnderWay, WhyNext,
    };
    use acme_dns_core::time::UnixTime;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);
    const VARIANT: VariantId = VariantId::new(0);

    fn schedule(now: UnixTime, validity: Option<Validity>) -> Schedule {
        let issuer = Authority {
            issuer: IssuerId::default(),
            name: "ca".to_owned(),
            has_staging: false,
            limit: None,
        };
        let known = Known {
            validity,
            renewal: Renewal { issued: now - DAY, ..Renewal::default() },
            progress: Progress::default(),
            authorities: [issuer].into(),
            provider: ProviderIdentity { id: ProviderId::default(), name: "dns".into() },
            names: vec!["a.test".to_owned()],
            fingerprint: Fingerprint::default(),
            is_under_way: false,
        };
        Schedule::new([known], now, Loading::default(), || 0.0)
    }

    /// Makes a plan that was shown before: whatever does not fit goes.
    fn before(now: UnixTime) -> Plan {
        let error = LastError { text: "an error".to_owned(), at: now, remedy: Remedy::Reload };
        Plan {
            step: Some(StepUnderWay { name: Step::Records, since: now }),
            last_error: Some(error),
            revoked: true,
            ..Plan::idle()
        }
    }

    #[test]
    fn a_plan_follows_the_schedule() {
        let now = now();
        let validity = Validity { not_before: now - DAY, not_after: now + 89 * DAY };
        let plan = |schedule: &Schedule| planned(schedule, VARIANT, before(now), now);

        let good = plan(&schedule(now, Some(validity)));
        let renewal = Some(NextStep { at: now + 59 * DAY, reason: WhyNext::Lifetime });
        assert_eq!((good.activity, good.renewal, good.next), (Activity::Idle, renewal, renewal));
        assert_eq!((good.last_error, good.step, good.revoked), (None, None, true));
        assert_eq!(good.last_success, Some(now - DAY));

        let mut missing = schedule(now, None);
        let first = plan(&missing);
        let at_once = NextStep { at: now, reason: WhyNext::Config };
        assert_eq!((first.activity, first.renewal), (Activity::Idle, None));
        assert!(
            first.next.is_some_and(|next| next.at <= at_once.at && next.reason == at_once.reason)
        );
        assert!(!first.revoked);

        assert!(missing.poll(now).is_some());
        let under_way = plan(&missing);
        assert_eq!((under_way.activity, under_way.next), (Activity::Issuing, None));
        assert_eq!(under_way.step, before(now).step);

        let failure = Failure {
            kind: FailureKind::Temporary,
            retry_after: None,
            scope: Scope::Entry,
            ordered: false,
            is_lost: false,
            published: false,
        };
        missing.handle_failed(VARIANT, now, &failure, 0.5);
        let failing = plan(&missing);
        assert_eq!((failing.activity, failing.failures), (Activity::Failing, 1));
        assert!(failing.next.is_some_and(|next| next.at > now && next.reason == WhyNext::Retry));
        assert_eq!((failing.last_error, failing.step), (before(now).last_error, None));

        let mut asked = schedule(now, Some(validity));
        asked.renew_now(VARIANT);
        let wanted = plan(&asked).renewal;
        assert_eq!(wanted, Some(NextStep { at: now, reason: WhyNext::Request }));
    }
}
