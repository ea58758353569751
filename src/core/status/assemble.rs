//! The page, made of the configuration and of what shared memory says.
//!
//! Of all certificates only what they are counted and sorted by is read; texts are read of those that are shown. So a
//! page takes about as long with a hundred thousand certificates as with a thousand.

use super::certificate::{
    Activity, CertificateStatus, RENEWAL_INTERVAL, RenewalRequest, RequestState, Served,
    ServedCertificate, VariantStatus,
};
use super::encode::{PLAN, Plan, SERVED, ServedRecord, TEXT, hash};
use super::figure::{BOUNDS, Code, Counted, Figure, Phase};
use super::page::{
    Attempts, Build, Helper, HelperState, Histogram, IssuerStatus, Listing, Page, PhaseDurations,
    ProviderStatus, RequestCount, ShareStatus, Totals, ZoneUse,
};
use super::query::{Filter, Query};
use super::share::{ShareState, SharedVariant};
use super::share_record::{ENGINE, EngineRecord, SHARED};
use crate::config::{Certificate, Config};
use crate::id::{CertificateId, IssuerId, ProviderId, VariantId};
use crate::schedule::Validity;
use crate::time::UnixTime;
use std::collections::HashMap;
use std::time::Duration;

/// Number of the schema of all forms.
const SCHEMA: u32 = 1;

/// The records of a variant, without text.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Record of what is served.
    pub served: [u8; SERVED],
    /// The plan.
    pub plan: [u8; PLAN],
}

/// The part of shared memory that workers may show.
pub trait PublicArea {
    /// Copies the records of a variant. `None`: there are none, or they change all the time.
    fn head(&self, variant: VariantId) -> Option<Head>;

    /// The same with the text, in one piece.
    fn whole(&self, variant: VariantId) -> Option<(Head, [u8; TEXT])>;

    /// Lists the figures by their keys.
    fn figures(&self) -> Vec<(u64, u64)>;

    /// Gives the state of the process that obtains certificates.
    fn helper(&self) -> Helper;

    /// Gives the use of the shared zone.
    fn zone(&self) -> ZoneUse;

    /// Copies the record of the engine that certificates are shared on. `None`: there is no place for one.
    fn engine(&self) -> Option<[u8; ENGINE]>;

    /// Copies the record of a variant that is shared.
    fn shared(&self, variant: VariantId) -> Option<[u8; SHARED]>;

    /// Tells whether the renewal of a certificate was asked for and not looked at yet.
    fn is_requested(&self, certificate: CertificateId) -> bool;
}

/// Order of the certificates of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The most urgent first, for people.
    Urgency,
    /// As in the configuration, so that pages that are read one after the other fit together.
    Configuration,
}

/// Parts that a page is made of.
pub struct Assembly<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Shared memory.
    pub area: &'a dyn PublicArea,
    /// Versions.
    pub build: &'a Build,
    /// Maker of the tokens of certificates that may be renewed by the page.
    pub tokens: Option<&'a dyn Fn(&str) -> String>,
    /// The time.
    pub now: UnixTime,
}

/// Traits that certificates are counted and sorted by.
#[derive(Clone, Copy)]
struct Glimpse {
    served: Served,
    activity: Activity,
    revoked: bool,
    /// End of what is served, or the next attempt where all is well.
    time: UnixTime,
}

impl Glimpse {
    fn has(&self, filter: Filter) -> bool {
        match filter {
            Filter::Served(served) => self.served == served,
            Filter::Activity(activity) => self.activity == activity,
            Filter::Revoked => self.revoked,
        }
    }

    /// Gives its place among others, the most urgent first.
    fn urgency(&self) -> u8 {
        let is_good = self.served == Served::Valid && !self.revoked;
        match (is_good, self.activity) {
            (false, Activity::Failing) => 0,
            (false, _) => 1,
            (true, Activity::Failing) => 2,
            (true, Activity::Waiting) => 3,
            (true, Activity::Issuing) => 4,
            (true, Activity::Idle) => 5,
        }
    }
}

impl Assembly<'_> {
    /// Makes the page that a query asks for.
    #[must_use]
    pub fn page(&self, query: &Query, order: Order) -> Page {
        let helper = self.area.helper();
        let (mut totals, mut keys) = (Totals::default(), Vec::new());
        for (id, certificate) in self.config.certificates.iter() {
            let glimpse = self.glimpse(certificate, helper);
            count(&mut totals, &glimpse);
            let is_wanted = query.state.is_none_or(|filter| glimpse.has(filter));
            if is_wanted && query.search.as_deref().is_none_or(|text| is_named(certificate, text)) {
                keys.push(match order {
                    Order::Urgency => (glimpse.urgency(), glimpse.time, id),
                    Order::Configuration => (0, UnixTime::default(), id),
                });
            }
        }
        let (matching, size) = (keys.len(), query.size.max(1));
        let pages = matching.div_ceil(size).max(1);
        let page = query.page.clamp(1, pages);
        let shown = slice_sorted(&mut keys, (page - 1) * size, size);
        let shown = shown.iter().filter_map(|(.., id)| self.certificate(*id, helper)).collect();
        let listing = Listing { page, pages, matching, query: query.clone() };
        self.around(helper, totals, listing, shown)
    }

    /// Makes a page of one certificate. `None`: the configuration has none of this name.
    #[must_use]
    pub fn one(&self, name: &str, query: &Query) -> Option<Page> {
        let helper = self.area.helper();
        let id = self.config.certificates.find(|certificate| certificate.name == name)?;
        let mut totals = Totals::default();
        count(&mut totals, &self.glimpse(self.config.certificates.get(id)?, helper));
        let listing = Listing { page: 1, pages: 1, matching: 1, query: query.clone() };
        Some(self.around(helper, totals, listing, vec![self.certificate(id, helper)?]))
    }

    fn around(
        &self,
        helper: Helper,
        totals: Totals,
        listing: Listing,
        certificates: Vec<CertificateStatus>,
    ) -> Page {
        let figures = Figures::of(self.area.figures());
        Page {
            version: SCHEMA,
            now: self.now,
            build: self.build.clone(),
            helper,
            totals,
            listing,
            certificates,
            issuers: self.config.issuers.ids().filter_map(|id| self.issuer(id, &figures)).collect(),
            providers: {
                let ids = self.config.providers.ids();
                ids.filter_map(|id| self.provider(id, &figures)).collect()
            },
            durations: Phase::ALL.iter().map(|phase| figures.durations(*phase)).collect(),
            share: self.share(helper, &figures),
            reloads: figures.attempts(Figure::Reloads),
            shared_zone: self.area.zone(),
        }
    }

    fn glimpse(&self, certificate: &Certificate, helper: Helper) -> Glimpse {
        let variants = certificate.variants.clone().map(|variant| {
            let head = self.area.head(variant);
            let validity = head.and_then(|head| ServedRecord::validity(&head.served));
            let plan = head.and_then(|head| Plan::glimpse(&head.plan));
            let (activity, next, revoked) = plan.unwrap_or((Activity::Idle, None, false));
            let served = served(validity, self.now);
            let activity = now_of(activity, next, self.now, helper);
            let is_well = served == Served::Valid && activity == Activity::Idle;
            let end = validity.map(|validity| validity.not_after);
            let time = next.filter(|_| is_well).or(end).unwrap_or_default();
            Glimpse { served, activity, revoked, time }
        });
        let worst = variants.reduce(|a, b| Glimpse {
            served: a.served.max(b.served),
            activity: a.activity.max(b.activity),
            revoked: a.revoked || b.revoked,
            time: a.time.min(b.time),
        });
        worst.unwrap_or(Glimpse {
            served: Served::None,
            activity: Activity::Idle,
            revoked: false,
            time: UnixTime::default(),
        })
    }

    fn certificate(&self, id: CertificateId, helper: Helper) -> Option<CertificateStatus> {
        let certificate = self.config.certificates.get(id)?;
        let variants = certificate.variants.clone();
        let variants: Vec<(VariantStatus, Plan, Served)> =
            variants.filter_map(|variant| self.variant(variant, helper)).collect();
        let plans = || variants.iter().map(|(_, plan, _)| plan);
        let worst = plans().max_by_key(|plan| (plan.activity, plan.failures));
        let activity = worst.map_or(Activity::Idle, |plan| plan.activity);
        let served = variants.iter().map(|(.., served)| *served).max().unwrap_or(Served::None);
        let next = variants.iter().filter_map(|(variant, ..)| variant.next);
        let own = worst.filter(|plan| plan.activity != Activity::Idle).and_then(|plan| plan.next);
        let failed = plans().max_by_key(|plan| plan.last_error.as_ref().map(|error| error.at));
        let issuers = certificate.issuers.iter().filter_map(|id| self.config.issuers.get(*id));
        let provider = self.config.providers.get(certificate.provider);
        let pending = RenewalRequest { at: self.now, state: RequestState::Pending };
        let pending = self.area.is_requested(id).then_some(pending);
        let answered = plans().filter_map(|plan| plan.requested).max_by_key(|request| request.at);
        Some(CertificateStatus {
            name: certificate.name.clone(),
            state: match activity {
                Activity::Idle => served.word(),
                other => other.word(),
            },
            served,
            activity,
            revoked: plans().any(|plan| plan.revoked),
            sans: certificate.names.iter().map(|name| name.as_str().to_owned()).collect(),
            issuers: issuers.map(|issuer| issuer.name.clone()).collect(),
            provider: provider.map(|provider| provider.name.clone()).unwrap_or_default(),
            failures: plans().map(|plan| plan.failures).max().unwrap_or_default(),
            last_success: plans().filter_map(|plan| plan.last_success).max(),
            last_error: failed.and_then(|plan| plan.last_error.clone()),
            next: match activity {
                Activity::Issuing => None,
                _ => own.or_else(|| next.min_by_key(|next| next.at)),
            },
            step: plans().find_map(|plan| plan.step),
            requested: pending.or(answered.filter(|it| it.at + RENEWAL_INTERVAL > self.now)),
            renew_token: self.tokens.map(|token| token(&certificate.name)),
            variants: variants.into_iter().map(|(variant, ..)| variant).collect(),
        })
    }

    fn variant(&self, id: VariantId, helper: Helper) -> Option<(VariantStatus, Plan, Served)> {
        let wanted = self.config.variants.get(id)?;
        let whole = self.area.whole(id);
        // What cannot be read is not known: another version has written it.
        let record =
            whole.as_ref().and_then(|(head, _)| ServedRecord::decode(&head.served).ok()?);
        let plan = whole.as_ref().and_then(|(head, text)| Plan::decode(&head.plan, text).ok()?);
        let mut plan = plan.unwrap_or_else(Plan::idle);
        let planned = plan.next.map(|next| next.at);
        plan.activity = now_of(plan.activity, planned, self.now, helper);
        if plan.activity == Activity::Issuing {
            plan.next = None;
        } else {
            plan.step = None;
        }
        let served = served(record.as_ref().map(|record| record.validity), self.now);
        let status = VariantStatus {
            key_type: wanted.key,
            certificate: record.map(|record| self.served(record)),
            renewal: plan.renewal,
            next: plan.next,
            share: self.shared(id),
        };
        Some((status, plan, served))
    }

    fn served(&self, record: ServedRecord) -> ServedCertificate {
        let issuer = record.directory.and_then(|directory| {
            let is_it = |url: &str| hash(url.as_bytes()) == directory;
            self.config.issuers.values().find(|issuer| is_it(&issuer.directory))
        });
        ServedCertificate {
            issuer: issuer.map(|issuer| issuer.name.clone()),
            issuer_cn: record.issuer_cn,
            serial_number: hexadecimal(&record.serial),
            cert_fingerprint: hexadecimal(&record.fingerprint),
            not_before: record.validity.not_before,
            not_after: record.validity.not_after,
            profile: record.profile,
            source: record.origin,
            stapled_until: record.stapled_until,
        }
    }

    fn issuer(&self, id: IssuerId, figures: &Figures) -> Option<IssuerStatus> {
        let issuer = self.config.issuers.get(id)?;
        let until = figures.get(Figure::RetryAfter(id));
        let until = UnixTime(i64::try_from(until).unwrap_or_default());
        Some(IssuerStatus {
            name: issuer.name.clone(),
            directory: issuer.directory.clone(),
            is_staging: issuer.is_staging(),
            attempts: figures.attempts(|result| Figure::Attempts(id, result)),
            requests: figures.requests(|figure| match figure {
                Figure::CaRequests(of, action, code) if of == id => Some((action.word(), code)),
                _ => None,
            }),
            retry_after: Some(until).filter(|until| *until > self.now),
        })
    }

    fn provider(&self, id: ProviderId, figures: &Figures) -> Option<ProviderStatus> {
        let provider = self.config.providers.get(id)?;
        Some(ProviderStatus {
            name: provider.name.clone(),
            kind: provider.kind.name().to_owned(),
            requests: figures.requests(|figure| match figure {
                Figure::ProviderRequests(of, action, code) if of == id => {
                    Some((action.word(), code))
                }
                _ => None,
            }),
            txt_records: figures.get(Figure::TxtRecords(id)),
        })
    }

    /// Makes what is shown of the engine; `None`: the configuration has none.
    fn share(&self, helper: Helper, figures: &Figures) -> Option<ShareStatus> {
        let kind = self.config.share.as_ref()?.kind.name();
        // What cannot be read is not known: another version has written it.
        let record = self.area.engine().and_then(|bytes| EngineRecord::decode(&bytes).ok()?);
        let noted = record.as_ref().map(|record| record.state);
        let state = match helper.state {
            HelperState::Following => ShareState::Following,
            HelperState::Working => noted.unwrap_or(ShareState::Joining),
            HelperState::Starting | HelperState::Down => ShareState::Joining,
        };
        Some(ShareStatus {
            kind,
            host: record.as_ref().map(|record| record.host.clone()),
            state,
            since: record.as_ref().filter(|_| noted == Some(state)).map(|record| record.since),
            last_contact: record.as_ref().and_then(|record| record.last_contact),
            records: record.as_ref().map_or(0, |record| record.records),
            hosts: record.as_ref().map(|record| record.hosts),
            last_error: record.and_then(|record| record.last_error),
            lag: figures.histogram(Figure::Lags, Figure::LagSum),
        })
    }

    /// Gives the hosts of a variant; `None`: it is not shared, or nothing is known of it.
    fn shared(&self, variant: VariantId) -> Option<SharedVariant> {
        self.config.share.as_ref()?;
        SharedVariant::decode(&self.area.shared(variant)?).ok()?
    }
}

/// Gives the quality of what is served.
fn served(validity: Option<Validity>, now: UnixTime) -> Served {
    match validity {
        Some(validity) if validity.not_before <= now && now <= validity.not_after => Served::Valid,
        Some(_) => Served::Expired,
        None => Served::None,
    }
}

/// Gives what is done now: a time has come, or the process is not there any more.
fn now_of(activity: Activity, next: Option<UnixTime>, now: UnixTime, helper: Helper) -> Activity {
    match activity {
        Activity::Idle if next.is_some_and(|next| next <= now) => Activity::Waiting,
        Activity::Issuing if !helper.up => Activity::Waiting,
        other => other,
    }
}

fn count(totals: &mut Totals, glimpse: &Glimpse) {
    totals.total += 1;
    match glimpse.served {
        Served::Valid => totals.valid += 1,
        Served::Expired => totals.expired += 1,
        Served::None => totals.none += 1,
    }
    match glimpse.activity {
        Activity::Idle => {}
        Activity::Issuing => totals.issuing += 1,
        Activity::Waiting => totals.waiting += 1,
        Activity::Failing => totals.failing += 1,
    }
    totals.revoked += usize::from(glimpse.revoked);
}

/// Tells whether a text is a part of one of a certificate's names.
fn is_named(certificate: &Certificate, text: &str) -> bool {
    holds(&certificate.name, text)
        || certificate.names.iter().any(|name| holds(name.as_str(), text))
}

/// Tells whether a text is a part of a name. Names are short and many: nothing is prepared for one search.
fn holds(name: &str, text: &str) -> bool {
    let (name, text) = (name.as_bytes(), text.as_bytes());
    let Some(first) = text.first() else { return true };
    // Most places differ in their first letter, which is cheaper to compare than all.
    name.windows(text.len()).any(|part| {
        part.first().is_some_and(|byte| byte.eq_ignore_ascii_case(first))
            && part.eq_ignore_ascii_case(text)
    })
}

/// Gives a part of a list as if it was sorted, without sorting the rest.
fn slice_sorted<T: Ord>(items: &mut [T], start: usize, length: usize) -> &[T] {
    let end = (start + length).min(items.len());
    if start >= end {
        return &[];
    }
    if end < items.len() {
        items.select_nth_unstable(end);
    }
    let Some(first) = items.get_mut(..end) else { return &[] };
    if start > 0 {
        first.select_nth_unstable(start);
    }
    let Some(part) = first.get_mut(start..) else { return &[] };
    part.sort_unstable();
    part
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Figures by their keys.
struct Figures(HashMap<u64, u64>);

impl Figures {
    fn of(figures: Vec<(u64, u64)>) -> Self {
        Self(figures.into_iter().collect())
    }

    fn get(&self, figure: Figure) -> u64 {
        self.0.get(&figure.key()).copied().unwrap_or_default()
    }

    fn attempts(&self, figure: impl Fn(Counted) -> Figure) -> Attempts {
        Attempts { ok: self.get(figure(Counted::Ok)), failed: self.get(figure(Counted::Failed)) }
    }

    /// Lists requests, sorted by action and code.
    fn requests(
        &self,
        select: impl Fn(Figure) -> Option<(&'static str, Code)>,
    ) -> Vec<RequestCount> {
        let select = |(key, count): (&u64, &u64)| {
            let (action, code) = select(Figure::of(*key)?)?;
            Some(RequestCount { action, code: code.label(), count: *count })
        };
        let mut requests: Vec<RequestCount> = self.0.iter().filter_map(select).collect();
        requests.sort_unstable_by(|a, b| (a.action, &a.code).cmp(&(b.action, &b.code)));
        requests
    }

    /// Gives how often something took how long.
    fn histogram(&self, figure: impl Fn(u8) -> Figure, sum: Figure) -> Histogram {
        let at = |place: usize| self.get(figure(u8::try_from(place).unwrap_or(u8::MAX)));
        let mut count = 0;
        let buckets = BOUNDS.iter().enumerate().map(|(place, bound)| {
            count += at(place);
            (*bound, count)
        });
        let buckets = buckets.collect();
        let sum = Duration::from_millis(self.get(sum)).as_secs_f64();
        Histogram { buckets, count: count + at(BOUNDS.len()), sum }
    }

    fn durations(&self, phase: Phase) -> PhaseDurations {
        let took = self.histogram(|at| Figure::Durations(phase, at), Figure::DurationSum(phase));
        PhaseDurations { phase, took }
    }
}
