//! Cost of a full handshake for a worker, with one certificate from different places.

use std::time::Duration;

use openssl::ssl::SslVersion;
use servers::ZONE;

use crate::client::Client;
use crate::report::Report;
use crate::server::{Certificate, Server, Source};
use crate::setup::Setup;
use crate::turns::{Competitor, Turns};

/// Time that one type of key is measured with one version.
const TIME: Duration = Duration::from_secs(50);

/// The handshakes of one turn.
const TURN: usize = 10;

const KEYS: [(&str, &str); 2] = [("ecdsa", "ecdsa:256"), ("rsa", "rsa:2048")];

const VERSIONS: [(&str, SslVersion); 2] =
    [("tls12", SslVersion::TLS1_2), ("tls13", SslVersion::TLS1_3)];

/// Competitors that take turns; all others are compared to the first.
const COMPETITORS: [(&str, Source); 5] = [
    ("static", Source::File),
    ("control", Source::File),
    ("ours", Source::Module),
    ("variable", Source::Variable),
    ("variable_cached", Source::CachedVariable),
];

/// The same behind so many other servers: more than have an `SSL_CTX` of their own.
const CROWD: usize = 100;

/// Measures both types of keys with both versions.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "handshake: CPU time of the worker for a full handshake; each ratio is to a static \
         certificate. control: another static one, ours: acme_dns on, variable: data:$variable, \
         variable_cached: with ssl_certificate_cache; crowd: behind a hundred other servers",
    );
    for (key, type_of_key) in KEYS {
        let certificate = Certificate::obtain(setup.build, type_of_key)?;
        if !certificate.can_be_cached() {
            report.explain("this nginx has no ssl_certificate_cache");
        }
        let possible = COMPETITORS.into_iter().filter(|(_, source)| {
            !matches!(source, Source::CachedVariable) || certificate.can_be_cached()
        });
        let possible: Vec<_> = possible.collect();
        compare(setup, report, &format!("handshake_{key}"), &possible, |source| {
            certificate.serve(source, "")
        })?;
        compare(setup, report, &format!("crowd_{key}"), &COMPETITORS[..3], |source| {
            certificate.serve_behind(source, CROWD)
        })?;
    }
    Ok(())
}

fn compare(
    setup: &Setup,
    report: &mut Report,
    what: &str,
    competitors: &[(&'static str, Source)],
    serve: impl Fn(Source) -> Result<Server, String>,
) -> Result<(), String> {
    let start = || {
        let start = |&(name, source): &(&'static str, Source)| {
            Ok(Competitor { name, server: serve(source)? })
        };
        competitors.iter().map(start).collect()
    };
    for (version, protocol) in VERSIONS {
        let client = Client::of_version(protocol).map_err(|e| format!("no TLS client: {e}"))?;
        let turns = Turns::take(setup.time(TIME), start, |server| {
            server.cost(TURN, || client.handshake(server.address(), ZONE))
        })?;
        turns.report(report, &format!("{what}_{version}"));
    }
    Ok(())
}
