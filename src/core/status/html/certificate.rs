//! One certificate: its state, its names, its lifetime as a bar, and what happens next.

use super::share::Hosts;
use super::text::{Counted, Day, Isolated, Moment, Seen, Text};
use crate::status::{
    Activity, Answer, AnswerKind, CertificateStatus, LastError, NextStep, Origin, Page, Remedy,
    RenewalRequest, RequestState, Served, ServedCertificate, Step, StepUnderWay, VariantStatus,
    WhyNext,
};
use crate::time::UnixTime;
use std::fmt;

/// So many names are shown before the others are folded away.
const NAMES: usize = 5;

/// Width of a bar in its own units.
const WIDTH: f64 = 400.0;

/// The article about a certificate.
pub(super) struct Article<'a> {
    pub(super) certificate: &'a CertificateStatus,
    pub(super) page: &'a Page,
}

/// Gravity of a state, which decides about its colour.
fn gravity(it: &CertificateStatus) -> &'static str {
    match (it.revoked, it.served, it.activity) {
        (true, ..) | (_, Served::Expired, _) | (.., Activity::Failing) => "bad",
        (_, Served::None, _) | (.., Activity::Issuing | Activity::Waiting) => "busy",
        (_, Served::Valid, Activity::Idle) => "good",
    }
}

/// Tells whether all that is missing is a TXT record that somebody adds.
fn waits_for_record(it: &CertificateStatus) -> bool {
    it.last_error.as_ref().is_some_and(|error| error.remedy == Remedy::Record)
}

/// Words for a state.
fn state(it: &CertificateStatus) -> &'static str {
    match (it.activity, it.revoked, it.served) {
        (Activity::Failing, ..) if waits_for_record(it) => "waits for a record",
        (Activity::Failing, _, Served::Valid) => "renewal fails",
        (Activity::Failing, _, Served::Expired) => "expired, renewal fails",
        (Activity::Failing, _, Served::None) => "not issued",
        (_, true, _) => "revoked",
        (Activity::Issuing, _, Served::None) => "being issued",
        (Activity::Issuing, ..) => "renewing",
        (_, _, Served::Expired) => "expired",
        (_, _, Served::None) => "no certificate yet",
        (Activity::Waiting, ..) => "due, waiting",
        (Activity::Idle, ..) => "valid",
    }
}

impl fmt::Display for Article<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate: it, page } = self;
        let now = page.now;
        writeln!(f, "<article class=\"{}\">", gravity(it))?;
        writeln!(
            f,
            "<header><h2>{}</h2> <span class=\"state\">{}</span></header>",
            Isolated(&it.name),
            state(it)
        )?;
        Names(&it.sans).fmt(f)?;
        let issuers: Vec<String> =
            it.issuers.iter().map(|name| Isolated(name).to_string()).collect();
        writeln!(
            f,
            "<p class=\"soft\">{}, records at {}</p>",
            issuers.join(" or "),
            Isolated(&it.provider)
        )?;
        for variant in &it.variants {
            Variant { variant, now, is_single: it.variants.len() == 1 }.fmt(f)?;
            if let Some(share) = &variant.share {
                let own = page.share.as_ref().and_then(|share| share.host.as_deref());
                Hosts { share, own, now }.fmt(f)?;
            }
        }
        if let Some(step) = &it.step {
            Steps { step, now }.fmt(f)?;
        }
        if let Some(error) = &it.last_error {
            Failure { error, it, now }.fmt(f)?;
        }
        if let Some(next) = &it.next {
            Next { next, it, now }.fmt(f)?;
        }
        if let Some(request) = it.requested {
            writeln!(f, "<p class=\"soft\">{}</p>", Request { request, now })?;
        }
        Button { page, it }.fmt(f)?;
        f.write_str("</article>\n")
    }
}

/// Names of a certificate; most of many are folded away.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            names.iter().map(|name| Isolated(name).to_string()).collect::<Vec<_>>().join(", ")
        };
        let (first, rest) = self.0.split_at(self.0.len().min(NAMES));
        writeln!(f, "<p>{}</p>", list(first))?;
        match rest.len() {
            0 => Ok(()),
            more => writeln!(
                f,
                "<details><summary>and {more} more</summary><p>{}</p></details>",
                list(rest)
            ),
        }
    }
}

/// Certificate that is served with one type of key.
struct Variant<'a> {
    variant: &'a VariantStatus,
    now: UnixTime,
    is_single: bool,
}

impl fmt::Display for Variant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.variant.key_type.to_string();
        if !self.is_single {
            writeln!(f, "<p class=\"soft\">{}</p>", Text(&key))?;
        }
        let Some(certificate) = &self.variant.certificate else {
            return writeln!(
                f,
                "<svg viewBox=\"0 0 400 22\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"No \
                 certificate yet\"><rect class=\"empty\" x=\"0.5\" y=\"6.5\" width=\"399\" height=\"9\" \
                 rx=\"4.5\"/></svg>"
            );
        };
        Bar { certificate, renewal: self.variant.renewal, now: self.now }.fmt(f)?;
        let (begin, end) = (certificate.not_before, certificate.not_after);
        writeln!(
            f,
            "<p class=\"ends\"><time datetime=\"{begin}\">{}</time> <time datetime=\"{end}\">{}</time></p>",
            Day(begin),
            Day(end)
        )?;
        Details { certificate, key: &key, now: self.now }.fmt(f)
    }
}

/// The lifetime of a certificate, with the renewal and this moment on it.
struct Bar<'a> {
    certificate: &'a ServedCertificate,
    renewal: Option<NextStep>,
    now: UnixTime,
}

impl Bar<'_> {
    /// Gives the part of the lifetime that is over at a moment, from 0 to 1.
    fn part(&self, at: UnixTime) -> f64 {
        let ServedCertificate { not_before, not_after, .. } = self.certificate;
        let life = not_after.since(*not_before).as_secs_f64().max(1.0);
        (at.since(*not_before).as_secs_f64() / life).min(1.0)
    }
}

impl fmt::Display for Bar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spent, renewal) = (self.part(self.now), self.renewal.map(|next| self.part(next.at)));
        write!(
            f,
            "<svg viewBox=\"0 0 400 22\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{:.0} percent of \
             the lifetime is over",
            spent * 100.0
        )?;
        if let Some(renewal) = renewal {
            write!(f, ", renewal at {:.0} percent", renewal * 100.0)?;
        }
        write!(
            f,
            "\"><rect class=\"life\" y=\"6\" width=\"400\" height=\"10\" rx=\"5\"/><rect class=\"spent\" y=\"6\" \
             width=\"{:.1}\" height=\"10\" rx=\"5\"/>",
            spent * WIDTH
        )?;
        let line = |class: &str, part: f64, from: u8, to: u8| {
            let x = part * WIDTH;
            format!(
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\"/>"
            )
        };
        if let Some(renewal) = renewal {
            f.write_str(&line("renewal", renewal, 3, 19))?;
        }
        writeln!(f, "{}</svg>", line("now", spent, 0, 22))
    }
}

/// Facts of a certificate that few look for.
struct Details<'a> {
    certificate: &'a ServedCertificate,
    key: &'a str,
    now: UnixTime,
}

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate: it, key, now } = self;
        let from = match it.source {
            Origin::Issued => "obtained by this module",
            Origin::Imported => "taken over",
            Origin::SelfSigned => "signed by itself",
        };
        let end = Seen { at: it.not_after, from: *now };
        writeln!(f, "<details><summary>Details</summary><dl>")?;
        writeln!(f, "<dt>Valid until</dt><dd>{}, {end}</dd>", Moment(it.not_after))?;
        writeln!(f, "<dt>Issued by</dt><dd>{}</dd>", Isolated(&it.issuer_cn))?;
        writeln!(f, "<dt>Origin</dt><dd>{from}</dd>")?;
        writeln!(f, "<dt>Key</dt><dd>{}</dd>", Text(key))?;
        if let Some(profile) = &it.profile {
            writeln!(f, "<dt>Profile</dt><dd>{}</dd>", Isolated(profile))?;
        }
        writeln!(f, "<dt>Serial number</dt><dd>{}</dd>", Text(&it.serial_number))?;
        writeln!(f, "<dt>SHA-256</dt><dd>{}</dd>", Text(&it.cert_fingerprint))?;
        if let Some(until) = it.stapled_until {
            writeln!(f, "<dt>Stapled until</dt><dd>{}</dd>", Moment(until))?;
        }
        f.write_str("</dl></details>\n")
    }
}

/// The steps of an attempt under way.
struct Steps<'a> {
    step: &'a StepUnderWay,
    now: UnixTime,
}

/// Words for a step, before it is done and after.
fn step_words(step: Step) -> (&'static str, &'static str) {
    match step {
        Step::Ordering => ("order", "ordered"),
        Step::Records => ("TXT records", "TXT records written"),
        Step::Propagation => ("seen at all name servers", "seen at all name servers"),
        Step::Validation => ("validated by the CA", "validated by the CA"),
        Step::Finalize => ("certificate issued", "certificate issued"),
    }
}

impl fmt::Display for Steps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<ol class=\"steps\">")?;
        for step in Step::ALL {
            let (todo, done) = step_words(*step);
            match step.cmp(&self.step.name) {
                std::cmp::Ordering::Less => write!(f, "<li class=\"done\">{done}</li>")?,
                std::cmp::Ordering::Equal => write!(f, "<li aria-current=\"step\">{todo}</li>")?,
                std::cmp::Ordering::Greater => write!(f, "<li class=\"todo\">{todo}</li>")?,
            }
        }
        let since = Seen { at: self.step.since, from: self.now };
        writeln!(f, "</ol>\n<p class=\"soft\">This step began {since}.</p>")
    }
}

/// The last failure, and what can be done.
struct Failure<'a> {
    error: &'a LastError,
    it: &'a CertificateStatus,
    now: UnixTime,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, it, now } = self;
        let so_far = match error.remedy {
            Remedy::Record => {
                format!("The record was looked for {}", Counted(it.failures.into(), "time"))
            }
            _ => format!("{} in a row failed", Counted(it.failures.into(), "attempt")),
        };
        let served = match it.served {
            Served::Valid => "the certificate that is valid goes on being served",
            Served::Expired => "the certificate that is served has expired",
            Served::None => "clients get a self-signed certificate, or none",
        };
        let remedy = match error.remedy {
            Remedy::Reload => "A reload of NGINX tries again at once.",
            Remedy::Request => {
                "To try again before that, create the file actions/renew-NAME in the state path and reload NGINX."
            }
            Remedy::Wait => "This pause was asked for: a reload does not shorten it.",
            Remedy::Record => {
                "Add the record: the certificate is ordered by itself once all servers show it."
            }
        };
        writeln!(
            f,
            "<div class=\"why\"><p>{so_far}, the last time {}: {served}.</p>\n<p>{}</p>\n\
             <p>{remedy}</p></div>",
            Seen { at: error.at, from: *now },
            Isolated(&error.text)
        )
    }
}

/// Next step, its time and the reason for it.
struct Next<'a> {
    next: &'a NextStep,
    it: &'a CertificateStatus,
    now: UnixTime,
}

impl fmt::Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next, it, now } = self;
        let what = match (it.activity, it.served) {
            (Activity::Failing, _) => "Next attempt",
            (_, Served::None) => "First attempt",
            _ => "Renewal",
        };
        let why = match next.reason {
            WhyNext::Ari => "the CA suggests it",
            WhyNext::Lifetime => "by its lifetime",
            WhyNext::Retry => "after the failure",
            WhyNext::Config => "the configuration wants another one",
            WhyNext::Request => "somebody has asked for it",
        };
        match next.at <= *now {
            true => writeln!(f, "<p class=\"soft\">{what}: as soon as there is room ({why}).</p>"),
            false => {
                let seen = Seen { at: next.at, from: *now };
                writeln!(f, "<p class=\"soft\">{what}: {}, {seen} ({why}).</p>", Moment(next.at))
            }
        }
    }
}

/// Fate of a renewal that was asked for at this page.
pub(super) struct Request {
    pub(super) request: RenewalRequest,
    pub(super) now: UnixTime,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request: RenewalRequest { at, state }, now } = self;
        let seen = Seen { at: *at, from: *now };
        match state {
            RequestState::Pending => {
                f.write_str("A renewal was asked for here, and begins within seconds.")
            }
            RequestState::Granted => write!(f, "A renewal was asked for here, and begun {seen}."),
            RequestState::Refused => {
                write!(f, "A renewal was asked for here, and refused {seen}: the log says why.")
            }
        }
    }
}

/// The button that asks for a renewal, where that is allowed and possible now. Its form goes to the address of the page
/// itself.
struct Button<'a> {
    page: &'a Page,
    it: &'a CertificateStatus,
}

impl fmt::Display for Button<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, it } = self;
        let Some(token) = &it.renew_token else { return Ok(()) };
        if Answer::to(page, it).kind != AnswerKind::Accepted {
            return Ok(());
        }
        let name = Text(&it.name);
        writeln!(
            f,
            "<form method=\"post\"><input type=\"hidden\" name=\"renew\" value=\"{name}\"><input type=\"hidden\" \
             name=\"token\" value=\"{}\"><button aria-label=\"Renew now: {name}\">Renew now</button></form>",
            Text(token)
        )
    }
}
