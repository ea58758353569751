//! Renewals, seen by clients that shake hands all the time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, LoadClient};

use crate::site::{LIMIT, Site};

const WORKERS: usize = 4;
const RENEWALS: usize = 2;

/// Between two handshakes of a thread of the load.
const PAUSE: Duration = Duration::from_millis(2);

/// A site whose certificates live that long.
fn site(validity: Duration) -> Site {
    let mut site = Site::with(|options| options.shortlived(validity));
    // Without a profile Pebble takes any.
    site.issuer = "profile shortlived require;".to_owned();
    // At `info` nginx logs each connection that brings no request.
    site.nginx.log_level("notice");
    site
}

#[test]
fn renewals_under_load_lose_no_handshake() {
    // Renewed after two thirds: the rest is for the order, on a busy machine.
    let mut site = site(Duration::from_secs(36));
    site.nginx.workers(WORKERS);
    // The kernel then spreads connections over all workers.
    site.listen = "reuseport".to_owned();
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let mut serial = site.wait_for_certificate("www.example.test").leaf.serial;
    // It checks the dates too: an expired certificate would be a failed handshake.
    let load = LoadClient::start(&site.trusting("www.example.test"), 2, PAUSE);
    let mut figures = Vec::new();
    for renewal in 1..=RENEWALS {
        let Renewed { serial: new, logged, last } = wait_for_all_workers(&site, &serial);
        let downloads = site.proxy.traffic.requests(&AcmeStep::Certificate.requests());
        let issued = downloads[renewal].finished.expect("it was answered");
        let [from_issue, from_line] =
            [issued, logged].map(|start| last.saturating_duration_since(start).as_millis());
        figures.push(format!("{from_issue} ms ({from_line} ms from the log's line)"));
        serial = new;
    }
    let report = load.stop();
    // Not with `println!`: the figures are wanted when the test passes, too.
    let _ = writeln!(
        io::stderr(),
        "renewal under load: {} handshakes made, {} failed; from the issue to the last of {WORKERS} \
         workers: {}",
        report.made,
        report.failed.len(),
        figures.join(", "),
    );
    assert_eq!(report.failed, []);
    assert!(report.serials.len() > RENEWALS, "{report:?}");
    assert!(report.seen(&serial).is_some(), "{report:?}");
    site.wait_until_clean();
    assert_eq!(site.entries("accounts"), ["pebble"]);
}

/// A renewal that has reached every worker.
struct Renewed {
    serial: String,
    /// The moment at which the log said so.
    logged: Instant,
    /// The moment at which the last worker answered with it for the first time.
    last: Instant,
}

/// Waits until every worker has answered with one certificate other than `old`.
fn wait_for_all_workers(site: &Site, old: &str) -> Renewed {
    let workers = site.nginx.worker_pids();
    assert_eq!(workers.len(), WORKERS);
    let mark = site.nginx.log_mark();
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("a connector");
    builder.set_verify(SslVerifyMode::NONE);
    let connector = builder.build();
    let (mut serial, mut logged) = (None, None);
    let mut answered = BTreeMap::new();
    let all = wait_until(LIMIT, || {
        if logged.is_none() && site.nginx.log_from(mark).contains(" issued by ") {
            logged = Some(Instant::now());
        }
        for _ in 0..2 * WORKERS {
            let (worker, seen) = ask(site, &connector);
            if seen != old {
                assert_eq!(*serial.get_or_insert(seen.clone()), seen);
                answered.entry(worker).or_insert_with(Instant::now);
            }
        }
        (answered.len() == WORKERS && logged.is_some()).then_some(())
    });
    assert!(all.is_some(), "only {answered:?} of {workers:?}:\n{}", site.nginx.log());
    assert_eq!(answered.keys().copied().collect::<Vec<_>>(), workers);
    let last = answered.values().max().copied();
    let found = serial.zip(logged).zip(last);
    let ((serial, logged), last) = found.expect("there are workers");
    Renewed { serial, logged, last }
}

/// Which worker answers, and the serial number of its certificate.
fn ask(site: &Site, connector: &SslConnector) -> (u32, String) {
    let tcp = TcpStream::connect(site.addr()).expect("nginx listens");
    let mut stream = connector.connect("www.example.test", tcp).expect("a handshake");
    let leaf = stream.ssl().peer_certificate().expect("a certificate");
    stream.write_all(b"GET / HTTP/1.0\r\nHost: www.example.test\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let pid = answer.rsplit("\r\n").next().and_then(|body| body.parse().ok());
    (pid.expect("the worker's number"), Leaf::new(&leaf).expect("it is readable").serial)
}

#[test]
fn old_certificate_is_served_while_the_authority_is_down() {
    // Long enough for the first attempt to fail, and for the second to come before the end.
    let mut site = site(Duration::from_secs(60));
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let old = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    site.proxy.stop();
    let load = LoadClient::start(&site.trusting("example.test"), 1, PAUSE * 5);
    let line = site.nginx.wait_for_log("certificate \"example.test\" was not obtained", LIMIT);
    // It is over in seconds: that is an error, though the certificate is still good.
    assert!(line.contains("attempt 1, next attempt at 2"), "{line}");
    assert!(line.contains("getting a nonce at \"https://127.0.0.1:"), "{line}");
    assert_eq!(site.served("example.test"), old);
    site.proxy.restart();
    let new = site.wait_for_other("example.test", &old.serial).leaf;
    let report = load.stop();
    assert_eq!(report.failed, []);
    assert_eq!(site.check_files("example.test"), new);
    site.wait_until_clean();
}
