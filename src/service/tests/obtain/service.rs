//! The loop around the orders.

use super::support::{Bed, CERTIFICATE, Log};
use acme_dns_core::id::CertificateId;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_service::engine::Service;
use acme_dns_service::event::{Event, RecordsEvent};
use acme_dns_service::host::{Host, NoRoom};
use servers::process::wait_until;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// The pause after a first failure, and as much again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Panics once in the middle of an order, as a bug would.
struct Faulty {
    panicked: AtomicBool,
    warnings: Mutex<Vec<String>>,
    published: mpsc::Sender<CertificateId>,
}

impl Host for Faulty {
    fn tell(&self, event: &Event) {
        let is_order = matches!(event, Event::Records(_, RecordsEvent::Creating { .. }));
        assert!(!is_order || self.panicked.swap(true, Ordering::Relaxed), "a bug");
        if matches!(event.level(), Level::Warn | Level::Error) {
            self.warnings.lock().unwrap().push(event.to_string());
        }
    }

    fn publish(&self, certificate: CertificateId, _: &Material) -> Result<(), NoRoom> {
        self.published.send(certificate).map_err(|_| NoRoom)
    }
}

#[test]
fn a_panic_is_a_failure_that_is_told_and_tried_again() {
    let bed = Bed::start();
    let (published, certificates) = mpsc::channel();
    let host = Arc::new(Faulty {
        panicked: AtomicBool::new(false),
        warnings: Mutex::default(),
        published,
    });
    let service = Service::start(bed.settings(), host.clone()).unwrap();
    assert_eq!(certificates.recv_timeout(PATIENCE), Ok(CERTIFICATE));
    service.stop();
    let warnings = host.warnings.lock().unwrap();
    assert!(
        warnings
            .iter()
            .any(|line| line.contains("attempt 1, ")
                && line.contains(": there is a bug in the module")),
        "{warnings:#?}"
    );
}

/// The stop comes when the files say that the order has ended, and the service does not know it yet.
#[test]
fn a_stop_right_after_a_certificate_was_kept_leaves_no_progress() {
    let bed = Bed::start();
    for round in 0..10 {
        let log = Arc::<Log>::default();
        let service = Service::start(bed.settings(), log).unwrap();
        let certificate = bed.state().join("certs/example.test");
        let progress = bed.state().join("orders/example.test.json");
        let begun = wait_until(PATIENCE, || progress.exists().then_some(()));
        assert!(begun.is_some(), "round {round}: no order");
        let end = Instant::now() + PATIENCE;
        // Without a pause: the moment is short.
        while progress.exists() && Instant::now() < end {}
        service.stop();
        assert!(certificate.exists(), "round {round}: no certificate");
        assert_eq!(bed.entries("orders"), [""; 0], "round {round}");
        fs::remove_dir_all(bed.state().join("certs")).unwrap();
    }
}
