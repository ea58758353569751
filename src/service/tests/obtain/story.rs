//! The story of an order at level `debug`.

use super::accounts::MAC_KEY;
use super::support::Bed;
use acme_dns_core::id::CertificateId;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_service::engine::Service;
use acme_dns_service::event::{Event, ProviderEvent};
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::mark;
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Log down to a level, as lines and as events.
struct Log {
    lowest: Level,
    lines: Mutex<Vec<String>>,
    events: Mutex<Vec<Event>>,
}

impl Host for Log {
    fn tell(&self, event: &Event) {
        self.lines.lock().unwrap().push(mark::line(event));
        self.events.lock().unwrap().push(event.clone());
    }

    fn listens(&self, level: Level) -> bool {
        self.lowest == Level::Debug || level != Level::Debug
    }

    fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
        Ok(())
    }
}

impl Log {
    /// Lets a service obtain the certificate of a bed, and remove its TXT records.
    fn of(bed: &Bed, lowest: Level) -> Arc<Self> {
        let log = Arc::new(Self { lowest, lines: Mutex::default(), events: Mutex::default() });
        let service = Service::start(bed.settings(), log.clone()).unwrap();
        let has = |text: &str| log.lines().iter().any(|line| line.contains(text));
        let is_done = || has(" issued by ") && bed.journal().is_empty();
        let done = wait_until(PATIENCE, || is_done().then_some(()));
        assert!(done.is_some(), "{:#?}", log.lines());
        service.stop();
        log
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// A bed whose CA wants an external account.
fn bed() -> Bed {
    let eab = BTreeMap::from([("kid-1".to_owned(), MAC_KEY.to_owned())]);
    let mut bed = Bed::start_with(|options| PebbleOptions { eab, ..options });
    bed.bind("kid-1", MAC_KEY);
    bed
}

/// Gives all lines of base64 in the PEM files below a directory.
fn secrets_below(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => secrets_below(&path),
        false if path.to_string_lossy().ends_with("key.pem") => {
            let pem = fs::read_to_string(&path).unwrap();
            pem.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
        }
        false => Vec::new(),
    });
    found.collect()
}

#[test]
fn an_attempt_can_be_followed_by_its_mark() {
    let bed = bed();
    let log = Log::of(&bed, Level::Debug);
    let lines = log.lines();
    let marked = |line: &&String| line.starts_with("acme_dns: attempt ");
    let mark = lines.iter().find(marked).and_then(|line| line.get(..25)).expect("a mark");
    assert!(lines.iter().filter(marked).all(|line| line.starts_with(mark)), "{lines:#?}");
    let story: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(mark)).collect();
    let mut rest = story.iter();
    for part in [
        "certificate \"example.test\": attempt with \"pebble\" begins",
        "/zones?...: 200 in ",
        "finding the zone of \"_acme-challenge.example.test\" took ",
        "issuer \"pebble\": GET https://",
        "issuer \"pebble\": HEAD https://",
        "/sign-me-up: 201 in ",
        "/order-plz: 201 in ",
        " placed",
        "state of the order: pending",
        "state of the authorization for \"example.test\": pending",
        "creating TXT _acme-challenge.example.test in zone \"example.test\"",
        "provider \"cloudflare\": POST http://",
        "creating TXT record \"_acme-challenge.example.test\" in zone \"example.test\" took ",
        " has the TXT records of zone \"example.test\"",
        "2 challenges answered",
        "state of the order: ready",
        "order is ready",
        "issuer \"pebble\": POST https://",
        "state of the order: valid",
        "certificate \"example.test\" issued by ",
    ] {
        assert!(rest.any(|line| line.contains(part)), "no \"{part}\" there: {story:#?}");
    }
    let removed =
        "provider \"cloudflare\": removing TXT record \"_acme-challenge.example.test\" took ";
    assert!(story.iter().any(|line| line.contains(removed)), "{story:#?}");
}

#[test]
fn no_line_has_a_secret() {
    let bed = bed();
    let log = Log::of(&bed, Level::Debug);
    let mut secrets = secrets_below(bed.state());
    assert!(secrets.len() > 3, "the keys of account and certificate: {secrets:?}");
    secrets.extend([bed.testbed.token().to_owned(), MAC_KEY.to_owned()]);
    for line in log.lines() {
        let found = secrets.iter().find(|secret| line.contains(*secret));
        assert_eq!(found, None, "{line}");
    }
}

#[test]
fn nothing_is_put_together_where_nobody_listens() {
    let bed = bed();
    let log = Log::of(&bed, Level::Info);
    let is_step = |event: &Event| {
        matches!(event, Event::Request(..) | Event::Provider(ProviderEvent::Done { .. }))
    };
    let events = log.events.lock().unwrap();
    assert!(!events.iter().any(is_step), "{events:#?}");
    assert!(log.lines().iter().all(|line| !line.contains("attempt ")), "{:#?}", log.lines());
}
