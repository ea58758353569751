//! The loop around the orders.

use super::support::Bed;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_service::host::Host;
use acme_dns_service::service::Service;
use secrecy::SecretString;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// The pause after a first failure, and as much again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Panics once in the middle of an order, as a bug would.
struct Faulty {
    panicked: AtomicBool,
    warnings: Mutex<Vec<String>>,
    published: mpsc::Sender<usize>,
}

impl Host for Faulty {
    fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        let message = message.to_string();
        let is_order = message.contains("creating TXT");
        assert!(!is_order || self.panicked.swap(true, Ordering::Relaxed), "a bug");
        if level == Level::Warn {
            self.warnings.lock().unwrap().push(message);
        }
    }

    fn publish(&self, certificate: usize, _: &Material) -> Result<(), String> {
        self.published.send(certificate).map_err(|error| error.to_string())
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
    let config = Arc::new(bed.config.clone());
    let secrets = vec![SecretString::from(bed.testbed.token().to_owned())];
    let service = Service::start(config, secrets, host.clone()).unwrap();
    assert_eq!(certificates.recv_timeout(PATIENCE), Ok(0));
    service.stop();
    let warnings = host.warnings.lock().unwrap();
    assert!(
        warnings.iter().any(|line| line.contains("attempt 1: there is a bug in the module")),
        "{warnings:#?}"
    );
}
