//! OCSP responses that are stapled to certificates: Pebble issues them, OpenSSL's responder answers about them.

use super::support::{Bed, CERTIFICATE};
use acme_dns_core::id::CertificateId;
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair, Staple};
use acme_dns_core::time::UnixTime;
use acme_dns_service::engine::Service;
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use openssl::x509::X509;
use servers::ocsp::{Responder, Signer, Statement, Status, verify};
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Match, Reply};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Longer than an order takes, and than the pause after a first failure.
const PATIENCE: Duration = Duration::from_secs(100);

const NAME: &str = "example.test";

/// The certificates of the workers, and the log.
#[derive(Default)]
struct Workers {
    published: Mutex<Vec<Material>>,
    lines: Mutex<Vec<(Level, String)>>,
}

impl Host for Workers {
    fn tell(&self, event: &Event) {
        self.lines.lock().unwrap().push((event.level(), event.to_string()));
    }

    fn publish(&self, _: CertificateId, material: &Material) -> Result<(), NoRoom> {
        self.published.lock().unwrap().push(material.clone());
        Ok(())
    }

    fn published(&self, _: CertificateId) -> Option<Material> {
        self.all().pop()
    }
}

impl Workers {
    fn all(&self) -> Vec<Material> {
        self.published.lock().unwrap().clone()
    }

    /// Waits until the workers have a pair of this kind.
    fn wait(&self, what: &str, wanted: impl Fn(&Pair) -> bool) -> Pair {
        let has = || Some(self.all().pop()?.pairs[0].clone()).filter(&wanted);
        wait_until(PATIENCE, has).unwrap_or_else(|| panic!("{what}: {:#?}", self.log()))
    }

    fn stapled(&self) -> (Pair, Staple) {
        let pair = self.wait("stapled", |pair| pair.staple.is_some());
        let staple = pair.staple.clone().unwrap();
        (pair, staple)
    }

    /// Waits for a line about stapling.
    fn line(&self, level: Level, text: &str) -> String {
        let found = || {
            let lines = self.lines.lock().unwrap();
            let line = lines.iter().find(|(l, line)| *l == level && line.contains(text));
            line.map(|(_, line)| line.clone())
        };
        wait_until(PATIENCE, found).unwrap_or_else(|| panic!("{text}: {:#?}", self.log()))
    }

    fn log(&self) -> Vec<(Level, String)> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines about stapling that are no steps.
    fn told(&self) -> Vec<String> {
        let is_told = |(level, line): &(Level, String)| {
            *level != Level::Debug && (line.contains("OCSP") || line.contains("stapled"))
        };
        self.log().into_iter().filter(is_told).map(|(_, line)| line).collect()
    }
}

fn serve(bed: &Bed, workers: &Arc<Workers>) -> Service {
    Service::start(bed.settings(), workers.clone()).unwrap()
}

/// The testbed with a responder that its certificates name.
struct Stand {
    bed: Bed,
    responder: Responder,
    workers: Arc<Workers>,
    /// Of the responder, whose URL is needed before the testbed begins.
    _dir: TempDir,
}

impl Stand {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let responder = Responder::reserve(dir.path());
        let url = responder.url();
        let mut bed = Bed::start_with(|options| servers::pebble::PebbleOptions {
            ocsp_responder: Some(url),
            ..options
        });
        bed.config.certificates[CERTIFICATE].staples = true;
        Self { bed, responder, workers: Arc::default(), _dir: dir }
    }

    /// With a certificate on disk, which the responder knows as good.
    fn with_certificate() -> (Self, Vec<X509>) {
        let mut stand = Self::start();
        let issued = stand.bed.obtain().unwrap();
        stand.bed.store().save_certificate(NAME, &issued.pem).unwrap();
        let chain = issued.material.pairs[0].chain.iter().map(|der| X509::from_der(der).unwrap());
        let chain: Vec<X509> = chain.collect();
        stand.responder.know(&[(&chain[0], false)]);
        (stand, chain)
    }

    fn issuer(&self) -> Signer {
        Signer::issuer(&self.bed.testbed.pebble)
    }

    /// The responder answers for so many minutes, signed by the issuer itself.
    fn respond(&mut self, minutes: u32) {
        let issuer = self.issuer();
        self.responder.start(&issuer.certificate, &issuer, Some(minutes));
    }

    /// The next question is answered with this, and those after it by the responder.
    fn answer(&self, status: u16, body: impl Into<bytes::Bytes>) {
        let reply = Reply::new(status, "application/ocsp-response", body);
        self.responder.traffic.inject(Fault::new(Match::any(), Action::Reply(reply)));
    }

    fn serve(&self) -> Service {
        serve(&self.bed, &self.workers)
    }

    /// OpenSSL's own program has verified it, up to Pebble's root.
    fn assert_good(&self, pair: &Pair, staple: &Staple) {
        let chain: Vec<X509> = pair.chain.iter().map(|der| X509::from_der(der).unwrap()).collect();
        let root = self.bed.testbed.pebble.root_pem(0);
        let said = verify(self.bed.testbed.dir(), &staple.response, &chain, &root);
        assert!(said.contains("leaf.pem: good"), "{said}");
        assert!(said.contains("Response verify OK"), "{said}");
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn a_new_certificate_is_stapled_once_the_responder_is_asked() {
    let mut stand = Stand::start();
    stand.respond(60);
    // The responder learns of the certificate while it is asked.
    let gate = stand.responder.traffic.hold(Match::any());
    let service = stand.serve();
    let question = gate.wait(PATIENCE);
    let pair = stand.workers.wait("served", |_| true);
    assert_eq!(pair.staple, None, "served without waiting for the responder");
    let leaf = X509::from_der(&pair.chain[0]).unwrap();
    stand.responder.know(&[(&leaf, false)]);
    gate.release();
    let (stapled, staple) = stand.workers.stapled();
    service.stop();
    assert_eq!((&stapled.chain, &stapled.key), (&pair.chain, &pair.key));
    stand.assert_good(&stapled, &staple);
    let validity = staple.not_after.0 - now();
    assert!((3500..=3600).contains(&validity), "{validity} s");
    assert_eq!(question.request.method, "POST");
    assert_eq!(question.request.path, "/ocsp");
    assert_eq!(question.request.headers["content-type"], "application/ocsp-request");
    let [line] = stand.workers.told().try_into().unwrap();
    let expected = format!("certificate \"{NAME}\": OCSP response of \"127.0.0.1:");
    assert!(line.starts_with(&expected), "{line}");
    assert!(line.contains(&format!("stapled, valid until {}", staple.not_after)), "{line}");
    assert!(stand.workers.log().iter().all(|(level, _)| *level != Level::Warn));
}

#[test]
fn a_staple_is_refreshed_before_it_ends_without_a_word() {
    let (mut stand, chain) = Stand::with_certificate();
    stand.respond(60);
    // An answer that has been in a cache for an hour.
    let about = (&chain[0], &chain[1]);
    let end = now() + 30;
    let old = Statement { about, status: Status::Good, times: (now() - 3600, Some(end)) };
    let old = old.sign(&stand.issuer());
    stand.answer(200, old.clone());
    let service = stand.serve();
    let (_, first) = stand.workers.stapled();
    assert_eq!((first.response, first.not_after), (old.clone(), UnixTime(end)));
    let is_new = |pair: &Pair| pair.staple.as_ref().is_some_and(|staple| staple.response != old);
    let pair = stand.workers.wait("refreshed", is_new);
    let at = now();
    service.stop();
    assert!(at < end, "refreshed {} s late", at - end);
    stand.assert_good(&pair, pair.staple.as_ref().unwrap());
    assert!(
        stand.workers.all().iter().skip(1).all(|material| material.pairs[0].staple.is_some()),
        "there is no moment without"
    );
    assert_eq!(stand.workers.told().len(), 1, "{:#?}", stand.workers.told());
    assert_eq!(stand.responder.traffic.count(&Match::any()), 2);
}

#[test]
fn while_the_responder_is_down_the_certificate_is_served_without_and_later_with() {
    let (mut stand, _) = Stand::with_certificate();
    let service = stand.serve();
    let line = stand.workers.line(Level::Info, "attempt 1");
    assert!(line.contains("cannot connect") && line.contains("nothing is stapled"), "{line}");
    assert_eq!(stand.workers.all().pop().unwrap().pairs[0].staple, None);
    stand.respond(60);
    let (pair, staple) = stand.workers.stapled();
    service.stop();
    stand.assert_good(&pair, &staple);
    let told = stand.workers.told();
    assert!(told.len() == 2 && told[1].contains("stapled, valid until"), "{told:#?}");
}

#[test]
fn a_staple_stays_to_its_end_when_the_responder_fails_and_is_withdrawn_then() {
    let (stand, chain) = Stand::with_certificate();
    // Another process of the service has left it to the workers.
    let end = now() + 20;
    let times = (now() - 60, Some(end));
    let statement = Statement { about: (&chain[0], &chain[1]), status: Status::Good, times };
    let stored = stand.bed.store().load_certificate(NAME).unwrap().unwrap();
    let mut material = stored.material.clone();
    let response = statement.sign(&stand.issuer());
    let staple = Staple { response, not_after: UnixTime(end) };
    material.pairs[0].staple = Some(staple);
    stand.workers.publish(CERTIFICATE, &material).unwrap();
    let service = stand.serve();
    let line = stand.workers.line(Level::Info, "attempt 1");
    assert!(
        line.contains(&format!("the previous one is stapled until {}", UnixTime(end))),
        "{line}"
    );
    assert!(now() < end);
    assert_eq!(stand.workers.all().pop().unwrap(), material, "a reload does not take it away");
    stand.workers.wait("withdrawn", |pair| pair.staple.is_none());
    let at = now();
    service.stop();
    assert!((end..end + 20).contains(&at), "{} s after its end", at - end);
    stand.workers.line(Level::Warn, "the OCSP response has expired, nothing is stapled");
    assert_eq!(stand.workers.all().pop().unwrap(), stored.material);
}

/// An answer that must not be stapled, and what is said of it.
fn refuses(stand: &Stand, what: &str, expected: &str) {
    let before = stand.workers.log().len();
    let service = stand.serve();
    let found = wait_until(PATIENCE, || {
        let log = stand.workers.log();
        let line = log.iter().skip(before).find(|(_, line)| line.contains("attempt 1"));
        line.cloned()
    });
    let (level, line) = found.unwrap_or_else(|| panic!("{what}: {:#?}", stand.workers.log()));
    service.stop();
    assert_eq!(level, Level::Info, "{what}");
    assert!(line.contains(expected), "{what}: {line}");
    assert!(line.contains(", nothing is stapled, next attempt at "), "{what}: {line}");
    let published = stand.workers.all();
    assert!(published.iter().all(|material| material.pairs[0].staple.is_none()), "{what}");
}

#[test]
fn what_is_no_answer_is_not_stapled() {
    let (mut stand, chain) = Stand::with_certificate();
    stand.respond(60);
    let issuer = stand.issuer();
    let leaf = chain[0].to_owned();
    let other = issuer.customer(&[]).certificate;
    let good = |about, times| Statement { about, status: Status::Good, times };
    let hour = (now() - 60, Some(now() + 3600));
    let about = (&leaf, &issuer.certificate);
    let for_other = good((&other, &issuer.certificate), hour).sign(&issuer);
    let by_stranger = good(about, hour).sign(&Signer::authority());
    let by_customer = good(about, hour).sign(&issuer.customer(&[]));
    let endless = good(about, (now(), None)).sign(&issuer);
    let ended = good(about, (now() - 3600, Some(now() - 1))).sign(&issuer);
    let future = good(about, (now() + 900, Some(now() + 3600))).sign(&issuer);
    let right = good(about, hour).sign(&issuer);
    let cut = right[..right.len() - 1].to_vec();
    for (status, body, expected) in [
        (200, for_other, "the answer is about another certificate"),
        (200, by_stranger, "the answer is not signed for the issuer of the certificate: "),
        (200, by_customer, "the answer is not signed for the issuer of the certificate: "),
        (200, endless, "it does not say how long it holds"),
        (200, ended, "it is out of date since "),
        (200, future, "it is about the future"),
        (200, cut, "the answer is not an OCSP response"),
        (200, b"<html>".to_vec(), "the answer is not an OCSP response"),
        (200, Vec::new(), "the answer is not an OCSP response"),
        (200, vec![0x30; 64 * 1024 + 1], "the answer is longer than 65536 bytes"),
        (200, vec![0x30, 3, 0x0a, 1, 3], "it answered \"tryLater\""),
        (500, right.clone(), "it answered with HTTP status 500"),
        (302, right, "it answered with HTTP status 302"),
    ] {
        stand.answer(status, body);
        refuses(&stand, expected, expected);
    }
}

#[test]
fn openssl_s_responder_is_believed_about_this_certificate_only() {
    let (mut stand, chain) = Stand::with_certificate();
    let issuer = stand.issuer();
    // It knows another certificate only.
    stand.responder.know(&[(&issuer.customer(&[]).certificate, false)]);
    stand.respond(60);
    refuses(&stand, "unknown", "it does not know the certificate");
    stand.responder.know(&[(&chain[0], false)]);
    let stranger = Signer::authority().delegate(-1, 1);
    stand.responder.start(&issuer.certificate, &stranger, Some(60));
    refuses(&stand, "a stranger", "the answer is not signed for the issuer of the certificate");
    stand.responder.start(&issuer.certificate, &issuer, None);
    refuses(&stand, "no nextUpdate", "it does not say how long it holds");
    stand.responder.start(&issuer.certificate, &issuer.delegate(-1, 1), Some(60));
    let service = stand.serve();
    let (pair, staple) = stand.workers.stapled();
    service.stop();
    stand.assert_good(&pair, &staple);
}

#[test]
fn a_revoked_certificate_is_told_and_its_staple_withdrawn() {
    let (mut stand, chain) = Stand::with_certificate();
    stand.respond(60);
    let times = (now() - 60, Some(now() + 20));
    let statement = Statement { about: (&chain[0], &chain[1]), status: Status::Good, times };
    stand.answer(200, statement.sign(&stand.issuer()));
    let service = stand.serve();
    stand.workers.stapled();
    stand.responder.know(&[(&chain[0], true)]);
    stand.workers.wait("withdrawn", |pair| pair.staple.is_none());
    let line = stand.workers.line(Level::Error, "revoked");
    service.stop();
    assert!(line.contains("the certificate was revoked at 2025-01-02T03:04:05Z"), "{line}");
    assert!(line.contains(&format!("create \"actions/renew-{NAME}\"")), "{line}");
    assert!(line.contains("nothing is stapled"), "{line}");
    let (_, next) = line.split_once("next request at ").unwrap();
    let pause = UnixTime::parse_rfc3339(next).unwrap().0 - now();
    assert!((3500..4600).contains(&pause), "{pause} s");
}

#[test]
fn the_staple_of_a_replaced_certificate_is_not_served_with_the_new_one() {
    let (mut stand, chain) = Stand::with_certificate();
    stand.respond(60);
    fs::create_dir_all(stand.bed.state().join("actions")).unwrap();
    fs::write(stand.bed.state().join("actions").join(format!("renew-{NAME}")), "").unwrap();
    // The first answer, about the old one, is on its way until the new one is there.
    let gate = stand.responder.traffic.hold_answer(Match::any());
    let service = stand.serve();
    gate.wait(PATIENCE);
    let old = chain[0].to_der().unwrap();
    let new = stand.workers.wait("renewed", |pair| pair.chain[0] != old);
    assert_eq!(new.staple, None);
    let leaf = X509::from_der(&new.chain[0]).unwrap();
    let asked = wait_until(PATIENCE, || (gate.arrived() == 2).then_some(()));
    assert!(asked.is_some(), "the new one is asked for at once");
    // That answer was "unknown" already; the service asks again when it begins anew.
    gate.release();
    let line = stand.workers.line(Level::Info, "attempt 1");
    assert!(line.contains("it does not know the certificate"), "{line}");
    service.stop();
    let published = stand.workers.all();
    assert!(published.iter().all(|material| material.pairs[0].staple.is_none()), "{published:?}");
    stand.responder.know(&[(&leaf, false)]);
    let service = stand.serve();
    let (pair, staple) = stand.workers.stapled();
    service.stop();
    assert_eq!(pair.chain, new.chain);
    stand.assert_good(&pair, &staple);
}

#[test]
fn nobody_is_asked_for_what_nobody_wants() {
    let mut stand = Stand::start();
    stand.respond(60);
    stand.bed.config.certificates[CERTIFICATE].staples = false;
    let service = stand.serve();
    stand.workers.wait("served", |_| true);
    // By then the loop has gone round.
    stand.workers.line(Level::Info, "renewal at ");
    service.stop();
    assert_eq!(stand.responder.traffic.count(&Match::any()), 0);
}

#[test]
fn a_certificate_without_a_responder_is_served_without_a_word() {
    let mut bed = Bed::start();
    bed.config.certificates[CERTIFICATE].staples = true;
    let workers = Arc::<Workers>::default();
    let service = serve(&bed, &workers);
    workers.wait("served", |_| true);
    workers.line(Level::Debug, "names no OCSP responder: nothing is stapled");
    workers.line(Level::Info, "renewal at ");
    service.stop();
    assert_eq!(workers.told(), [""; 0]);
}
