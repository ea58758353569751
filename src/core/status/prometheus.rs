//! The page as Prometheus reads it: its text format 0.0.4. The metrics are described in docs/status.md.

use super::certificate::{Activity, CertificateStatus, Served, ServedCertificate, VariantStatus};
use super::page::{Histogram, Page, RequestCount, ShareStatus};
use super::share::{ShareState, SharedVariant};
use crate::time::UnixTime;
use std::fmt::{Display, Write};

/// Writes a page. What is about all certificates is on the first page of an unfiltered list only, so that pages can be
/// scraped beside each other.
#[must_use]
pub fn render(page: &Page) -> String {
    let mut text = Text(String::new());
    let query = &page.listing.query;
    if page.listing.page == 1 && query.state.is_none() && query.search.is_none() {
        text.process(page);
        text.parties(page);
        text.durations(page);
        if let Some(share) = &page.share {
            text.share(share);
        }
    }
    text.certificates(page);
    text.0
}

/// Writes the certificates of a page alone.
#[must_use]
pub fn render_certificates(page: &Page) -> String {
    let mut text = Text(String::new());
    text.certificates(page);
    text.0
}

/// Text that grows by lines.
struct Text(String);

/// Labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ok = write!(self.0, "# HELP acme_dns_{name} {help}\n# TYPE acme_dns_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str("acme_dns_");
        self.0.push_str(name);
        for (position, (label, value)) in labels.iter().enumerate() {
            self.0.push(if position == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            self.escape(value);
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ok = writeln!(self.0, "{end} {value}");
    }

    fn escape(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
    }

    fn process(&mut self, page: &Page) {
        let build = &page.build;
        let labels = [
            ("version", build.version.as_str()),
            ("nginx", &build.nginx),
            ("openssl", &build.openssl),
        ];
        self.metric(
            "build_info",
            "gauge",
            "Versions of the module, of nginx and of its TLS library.",
        );
        self.sample("build_info", &labels, 1);
        self.metric("helper_up", "gauge", "Whether the process that obtains certificates runs.");
        self.sample("helper_up", &[], u8::from(page.helper.up));
        if let Some(started) = page.helper.started {
            let name = "helper_start_timestamp_seconds";
            self.metric(name, "gauge", "Start of the process that obtains certificates.");
            self.sample(name, &[], started.0);
        }
        let totals = &page.totals;
        self.metric("certificates", "gauge", "Certificates of the configuration, by state.");
        for (state, number) in [
            ("valid", totals.valid),
            ("expired", totals.expired),
            ("none", totals.none),
            ("issuing", totals.issuing),
            ("waiting", totals.waiting),
            ("failing", totals.failing),
            ("revoked", totals.revoked),
        ] {
            self.sample("certificates", &[("state", state)], number);
        }
        self.metric("shared_zone_bytes", "gauge", "Shared memory for certificates.");
        self.sample("shared_zone_bytes", &[("state", "used")], page.shared_zone.used);
        self.sample("shared_zone_bytes", &[("state", "total")], page.shared_zone.total);
        self.metric("reloads_total", "counter", "Reloads of nginx that the module has asked for.");
        self.sample("reloads_total", &[("result", "ok")], page.reloads.ok);
        self.sample("reloads_total", &[("result", "failed")], page.reloads.failed);
    }

    fn parties(&mut self, page: &Page) {
        self.metric("attempts_total", "counter", "Attempts to obtain a certificate.");
        for issuer in &page.issuers {
            for (result, number) in [("ok", issuer.attempts.ok), ("failed", issuer.attempts.failed)]
            {
                let labels = [("issuer", issuer.name.as_str()), ("result", result)];
                self.sample("attempts_total", &labels, number);
            }
        }
        self.metric("ca_requests_total", "counter", "Requests to a CA, by status.");
        for issuer in &page.issuers {
            self.requests("ca_requests_total", ("issuer", &issuer.name), &issuer.requests);
        }
        let name = "retry_after_timestamp_seconds";
        self.metric(name, "gauge", "Time until which a CA wants to be left alone.");
        for issuer in &page.issuers {
            if let Some(until) = issuer.retry_after {
                self.sample(name, &[("issuer", &issuer.name)], until.0);
            }
        }
        let name = "provider_requests_total";
        self.metric(name, "counter", "Operations of a DNS provider, by result.");
        for provider in &page.providers {
            self.requests(name, ("provider", &provider.name), &provider.requests);
        }
        self.metric("txt_records", "gauge", "TXT records that exist or may exist.");
        for provider in &page.providers {
            self.sample("txt_records", &[("provider", &provider.name)], provider.txt_records);
        }
    }

    fn requests(&mut self, name: &str, party: (&str, &str), requests: &[RequestCount]) {
        for request in requests {
            let labels = [party, ("action", request.action), ("code", &request.code)];
            self.sample(name, &labels, request.count);
        }
    }

    fn durations(&mut self, page: &Page) {
        const NAME: &str = "issuance_duration_seconds";
        self.metric(NAME, "histogram", "Duration of the parts of issuances.");
        for durations in &page.durations {
            let phase = ("phase", durations.phase.word());
            self.histogram(NAME, &[phase], &durations.took);
        }
    }

    fn histogram(&mut self, name: &str, labels: Labels<'_>, took: &Histogram) {
        let bucket = format!("{name}_bucket");
        let bounds = took.buckets.iter().map(|(bound, count)| (bound.to_string(), *count));
        for (bound, count) in bounds.chain([("+Inf".to_owned(), took.count)]) {
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&format!("{name}_sum"), labels, took.sum);
        self.sample(&format!("{name}_count"), labels, took.count);
    }

    fn share(&mut self, share: &ShareStatus) {
        self.metric("share_state", "gauge", "States that the link to the shared engine is in.");
        for state in ShareState::ALL {
            let labels = [("type", share.kind), ("state", state.word())];
            self.sample("share_state", &labels, u8::from(share.state == *state));
        }
        if let Some(at) = share.last_contact {
            let name = "share_last_contact_timestamp_seconds";
            self.metric(name, "gauge", "Time of the last word of the shared engine.");
            self.sample(name, &[], at.0);
        }
        self.metric("share_records", "gauge", "Records that the shared engine had when loaded.");
        self.sample("share_records", &[], share.records);
        if let Some(hosts) = share.hosts {
            self.metric("share_hosts", "gauge", "Hosts that share certificates and are alive.");
            self.sample("share_hosts", &[], hosts);
        }
        let name = "share_lag_seconds";
        self.metric(name, "histogram", "Time from a certificate's issue to its takeover here.");
        self.histogram(name, &[], &share.lag);
    }

    fn certificates(&mut self, page: &Page) {
        if page.certificates.is_empty() {
            return;
        }
        type Time = fn(&ServedCertificate) -> UnixTime;
        let times: [(&str, &str, Time); 2] = [
            ("certificate_not_after_timestamp_seconds", "End of a certificate.", |it| it.not_after),
            ("certificate_not_before_timestamp_seconds", "Begin of a certificate.", |it| {
                it.not_before
            }),
        ];
        for (name, help, time) in times {
            self.metric(name, "gauge", help);
            for (certificate, variant) in variants(page) {
                if let Some(served) = &variant.certificate {
                    let key_type = variant.key_type.to_string();
                    let labels = [("name", certificate.name.as_str()), ("key_type", &key_type)];
                    self.sample(name, &labels, time(served).0);
                }
            }
        }
        self.renewals(page);
        self.infos(page);
        self.states(page);
        self.hosts(page);
        self.metric("consecutive_failures", "gauge", "Attempts in a row that have failed.");
        for certificate in &page.certificates {
            let labels = [("name", certificate.name.as_str())];
            self.sample("consecutive_failures", &labels, certificate.failures);
        }
        let name = "last_success_timestamp_seconds";
        self.metric(name, "gauge", "Time at which a certificate was obtained last.");
        for certificate in &page.certificates {
            if let Some(time) = certificate.last_success {
                self.sample(name, &[("name", &certificate.name)], time.0);
            }
        }
    }

    fn renewals(&mut self, page: &Page) {
        let name = "certificate_renewal_timestamp_seconds";
        self.metric(name, "gauge", "Time of a renewal, and of the next attempt after a failure.");
        for (certificate, variant) in variants(page) {
            let key_type = variant.key_type.to_string();
            let other = variant
                .next
                .filter(|next| variant.renewal.is_none_or(|renewal| renewal.reason != next.reason));
            for next in variant.renewal.into_iter().chain(other) {
                let labels = [
                    ("name", certificate.name.as_str()),
                    ("key_type", &key_type),
                    ("reason", next.reason.word()),
                ];
                self.sample(name, &labels, next.at.0);
            }
        }
    }

    fn infos(&mut self, page: &Page) {
        self.metric("certificate_info", "gauge", "The certificate that is served.");
        for (certificate, variant) in variants(page) {
            let Some(served) = &variant.certificate else { continue };
            let labels = [
                ("name", certificate.name.as_str()),
                ("key_type", &variant.key_type.to_string()),
                ("issuer", served.issuer.as_deref().unwrap_or(&served.issuer_cn)),
                ("serial", &served.serial_number),
                ("fingerprint_sha256", &served.cert_fingerprint),
                ("profile", served.profile.as_deref().unwrap_or_default()),
                ("source", served.source.word()),
            ];
            self.sample("certificate_info", &labels, 1);
        }
    }

    /// Writes which host has obtained what is shared, and which one orders the next.
    fn hosts(&mut self, page: &Page) {
        type Host = fn(&SharedVariant) -> Option<&String>;
        let metrics: [(&str, &str, Host); 2] = [
            ("share_certificate_info", "The host that a shared certificate is from.", |it| {
                it.obtained_by.as_ref()
            }),
            ("share_leader_info", "The host that orders a shared certificate now.", |it| {
                it.leader.as_ref()
            }),
        ];
        for (name, help, host) in metrics {
            let hosts = variants(page).filter_map(|(certificate, variant)| {
                Some((certificate, variant, host(variant.share.as_ref()?)?))
            });
            let mut hosts = hosts.peekable();
            if hosts.peek().is_some() {
                self.metric(name, "gauge", help);
            }
            for (certificate, variant, host) in hosts {
                let key_type = variant.key_type.to_string();
                let labels =
                    [("name", certificate.name.as_str()), ("key_type", &key_type), ("host", host)];
                self.sample(name, &labels, 1);
            }
        }
    }

    fn states(&mut self, page: &Page) {
        self.metric("certificate_state", "gauge", "States that a certificate is in.");
        for certificate in &page.certificates {
            let served = Served::ALL.iter().map(|it| (it.word(), certificate.served == *it));
            let activities = Activity::ALL.iter().filter(|it| **it != Activity::Idle);
            let activities = activities.map(|it| (it.word(), certificate.activity == *it));
            let revoked = [("revoked", certificate.revoked)];
            for (state, is_in) in served.chain(activities).chain(revoked) {
                let labels = [("name", certificate.name.as_str()), ("state", state)];
                self.sample("certificate_state", &labels, u8::from(is_in));
            }
        }
    }
}

fn variants(page: &Page) -> impl Iterator<Item = (&CertificateStatus, &VariantStatus)> {
    let variants = |certificate| CertificateStatus::variants_of(certificate);
    page.certificates.iter().flat_map(variants)
}

impl CertificateStatus {
    fn variants_of(&self) -> impl Iterator<Item = (&Self, &VariantStatus)> {
        self.variants.iter().map(move |variant| (self, variant))
    }
}
