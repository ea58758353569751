//! Pages with certificates in every state, for tests, for a look at them in a browser, and for the picture in the
//! documentation.

use super::*;
use crate::key::KeyType;
use crate::time::UnixTime;

/// The moment at which the samples were made: 29 November 2026, 12:00 UTC.
pub const NOW: UnixTime = UnixTime(1_795_953_600);

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Words of a CA that wants to be markup, to hide and to turn the line around.
pub const HOSTILE: &str =
    "\u{202e}<script>alert('x')</script>\" onload=\"x\" & <!-- \u{0} ]]> </p></main>";

fn at(seconds: i64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

fn next(seconds: i64, reason: WhyNext) -> Option<NextStep> {
    Some(NextStep { at: at(seconds), reason })
}

/// A certificate of which so much of 90 days is over.
fn served(days_over: i64) -> ServedCertificate {
    ServedCertificate {
        issuer: Some("letsencrypt".to_owned()),
        issuer_cn: "E7".to_owned(),
        serial_number: "04f1a2b3c4d5e6f708192a3b4c5d6e7f8091".to_owned(),
        cert_fingerprint: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
            .to_owned(),
        not_before: at(-days_over * DAY),
        not_after: at((90 - days_over) * DAY),
        profile: None,
        source: Origin::Issued,
        stapled_until: None,
    }
}

fn variant(certificate: Option<ServedCertificate>, renewal: Option<NextStep>) -> VariantStatus {
    VariantStatus { key_type: KeyType::EcdsaP256, certificate, renewal, next: renewal, share: None }
}

/// A valid certificate with names below `example.com`.
pub fn valid(name: &str, days_over: i64) -> CertificateStatus {
    let renewal = next((60 - days_over) * DAY, WhyNext::Ari);
    CertificateStatus {
        name: name.to_owned(),
        state: Served::Valid.word(),
        served: Served::Valid,
        activity: Activity::Idle,
        revoked: false,
        sans: vec![name.to_owned(), format!("www.{name}")],
        issuers: vec!["letsencrypt".to_owned()],
        provider: "cloudflare".to_owned(),
        failures: 0,
        last_success: Some(at(-days_over * DAY)),
        last_error: None,
        next: renewal,
        step: None,
        requested: None,
        renew_token: None,
        variants: vec![variant(Some(served(days_over)), renewal)],
    }
}

/// One whose attempts fail.
pub fn failing(name: &str, error: &str) -> CertificateStatus {
    CertificateStatus {
        state: Activity::Failing.word(),
        served: Served::None,
        activity: Activity::Failing,
        failures: 4,
        last_success: None,
        last_error: Some(LastError {
            text: error.to_owned(),
            at: at(-12 * 60),
            remedy: Remedy::Reload,
        }),
        next: next(32 * 60, WhyNext::Retry),
        variants: vec![variant(None, None)],
        ..valid(name, 0)
    }
}

/// One whose renewal is at a step.
pub fn issuing(name: &str, step: Step) -> CertificateStatus {
    CertificateStatus {
        state: Activity::Issuing.word(),
        activity: Activity::Issuing,
        next: None,
        step: Some(StepUnderWay { name: step, since: at(-11) }),
        ..valid(name, 61)
    }
}

/// One certificate in each state.
pub fn states() -> Vec<CertificateStatus> {
    let alias = "the servers of zone \"example.net\" do not have the TXT record: \"_acme-challenge.shop.example.com\" \
                 is an alias of \"x.acme.example.net\", and no provider may write zone \"example.net\"";
    let mut expired = valid("old.example.org", 93);
    (expired.served, expired.activity) = (Served::Expired, Activity::Failing);
    (expired.state, expired.failures) = (Activity::Failing.word(), 41);
    let text = "issuer \"letsencrypt\": HTTP 429: too many certificates already issued".to_owned();
    expired.last_error = Some(LastError { text, at: at(-3 * HOUR), remedy: Remedy::Wait });
    expired.next = next(9 * HOUR, WhyNext::Retry);
    let mut revoked = valid("leaked.example.org", 20);
    (revoked.revoked, revoked.next) = (true, next(-5, WhyNext::Request));
    (revoked.activity, revoked.state) = (Activity::Waiting, Activity::Waiting.word());
    let mut first = failing("new.example.com", "");
    (first.activity, first.state) = (Activity::Waiting, Activity::Waiting.word());
    (first.failures, first.last_error, first.next) = (0, None, next(0, WhyNext::Config));
    let mut parked = failing(
        "cloud.example.com",
        "no provider here can write what is missing, add it: _validation-persist.cloud.example.com. IN TXT \
         \"letsencrypt.org; accounturi=https://ca.example/acct/7\"",
    );
    if let Some(error) = &mut parked.last_error {
        error.remedy = Remedy::Record;
    }
    let mut both = valid("mail.example.org", 27);
    both.variants[0].certificate =
        Some(ServedCertificate { stapled_until: Some(at(4 * DAY)), ..served(27) });
    both.variants.push(VariantStatus { key_type: KeyType::Rsa2048, ..both.variants[0].clone() });
    both.issuers.push("zerossl".to_owned());
    both.renew_token = Some("9f86d081884c7d659a2feaa0c55ad015".to_owned());
    let mut many = valid("edge", 2);
    many.requested = Some(RenewalRequest { at: at(-31 * 60), state: RequestState::Granted });
    many.sans = (0..29).map(|number| format!("*.edge-{number}.example.net")).collect();
    vec![
        failing("shop.example.com", alias),
        parked,
        expired,
        revoked,
        first,
        issuing("example.com", Step::Propagation),
        both,
        many,
        valid("xn--mgbh0fb.example.com", 40),
    ]
}

/// A page of certificates.
pub fn page(certificates: Vec<CertificateStatus>) -> Page {
    let count = |is_it: &dyn Fn(&CertificateStatus) -> bool| {
        certificates.iter().filter(|it| is_it(it)).count()
    };
    let totals = Totals {
        total: certificates.len(),
        valid: count(&|it| it.served == Served::Valid),
        expired: count(&|it| it.served == Served::Expired),
        none: count(&|it| it.served == Served::None),
        issuing: count(&|it| it.activity == Activity::Issuing),
        waiting: count(&|it| it.activity == Activity::Waiting),
        failing: count(&|it| it.activity == Activity::Failing),
        revoked: count(&|it| it.revoked),
    };
    let requests = |action: &'static str, code: &str, count| {
        let code = code.to_owned();
        RequestCount { action, code, count }
    };
    Page {
        version: 1,
        now: NOW,
        build: Build {
            version: "0.1.0".to_owned(),
            nginx: "1.28.3".to_owned(),
            openssl: "OpenSSL 3.5.4".to_owned(),
        },
        helper: Helper {
            up: true,
            state: HelperState::Working,
            pid: Some(4242),
            started: Some(at(-5 * DAY)),
        },
        totals,
        listing: Listing {
            page: 1,
            pages: 1,
            matching: certificates.len(),
            query: Query {
                page: 1,
                size: 100,
                state: None,
                search: None,
                still: false,
                asked: None,
            },
        },
        certificates,
        issuers: vec![IssuerStatus {
            name: "letsencrypt".to_owned(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            is_staging: false,
            attempts: Attempts { ok: 14, failed: 3 },
            requests: vec![requests("newOrder", "201", 14), requests("newOrder", "429", 3)],
            retry_after: Some(at(9 * HOUR)),
        }],
        providers: vec![ProviderStatus {
            name: "cloudflare".to_owned(),
            kind: "cloudflare".to_owned(),
            requests: vec![requests("create", "ok", 1_438)],
            txt_records: 2,
        }],
        durations: Vec::new(),
        share: None,
        reloads: Attempts { ok: 2, failed: 0 },
        shared_zone: ZoneUse { used: 48 * 1024, total: 1024 * 1024 },
    }
}

/// Shares the certificates of a page with other hosts: those that are there are in step, or `why` the engine is away, which
/// may be hostile words, as the names of the other hosts.
#[must_use]
pub fn shared(page: Page, other: &str, why: Option<&str>) -> Page {
    let by = |hours: i64, leader: Option<&str>| SharedVariant {
        obtained_by: Some(other.to_owned()),
        issued: Some(at(-hours * HOUR)),
        taken_over: Some(at(-hours * HOUR + 2)),
        leader: leader.map(str::to_owned),
    };
    let share = ShareStatus {
        kind: "etcd",
        host: Some("edge-1".to_owned()),
        state: if why.is_some() { ShareState::Away } else { ShareState::Reached },
        since: Some(at(-7 * HOUR)),
        last_contact: Some(at(if why.is_some() { -7 * HOUR } else { -1 })),
        records: 118,
        hosts: Some(3),
        last_error: why.map(|why| ShareFailure { text: why.to_owned(), at: at(-60) }),
        lag: Histogram { buckets: vec![(1, 9), (5, 12)], count: 12, sum: 9.6 },
    };
    let mut page = Page { share: Some(share), ..page };
    for (number, certificate) in (1_i64..).zip(&mut page.certificates) {
        for variant in &mut certificate.variants {
            variant.share = Some(by(number * 31, (number == 1).then_some(other)));
        }
    }
    page
}
