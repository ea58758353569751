//! Lines of the error log that say what they are about.

use crate::host::Host;
use acme_dns_core::level::Level;
use std::fmt;
use std::sync::Arc;

/// Writes to the host's log; every line begins with its subject.
#[derive(Clone)]
pub(super) struct Log {
    host: Arc<dyn Host>,
    subject: String,
}

impl Log {
    /// For lines about the whole of it.
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, subject: "acme_dns".to_owned() }
    }

    /// For lines about one thing, such as `certificate "example.com"`.
    pub(super) fn about(&self, kind: &str, name: &str) -> Self {
        Self { host: Arc::clone(&self.host), subject: format!("acme_dns: {kind} \"{name}\"") }
    }

    pub(super) fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        self.host.log(level, format_args!("{}: {message}", self.subject));
    }

    pub(super) fn debug(&self, message: fmt::Arguments<'_>) {
        self.write(Level::Debug, message);
    }

    pub(super) fn warn(&self, message: fmt::Arguments<'_>) {
        self.write(Level::Warn, message);
    }
}
