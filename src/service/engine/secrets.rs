//! The secrets that the configuration refers to.

use crate::import::Imports;
use acme_dns_core::config::{Config, Listener, SecretId, Share};
use secrecy::SecretString;

/// All secrets of a configuration.
pub(super) struct Secrets(Vec<SecretString>);

/// Reference to a secret that the master has not handed over: an empty one in its place would be a credential
/// that every provider refuses.
#[derive(Debug, thiserror::Error)]
#[error("secret number {} of the configuration was not handed over", .0.0)]
pub(super) struct UnknownSecret(SecretId);

impl Secrets {
    /// Checks that all secrets are there that the configuration and the imports refer to.
    ///
    /// # Errors
    /// One is missing.
    pub(super) fn new(
        secrets: Vec<SecretString>,
        config: &Config,
        imports: &Imports,
    ) -> Result<Self, UnknownSecret> {
        let imported = imports.accounts.iter().map(|account| account.key);
        let missing = referred(config).chain(imported).find(|id| id.0 >= secrets.len());
        missing.map_or(Ok(Self(secrets)), |id| Err(UnknownSecret(id)))
    }

    pub(super) fn get(&self, id: SecretId) -> SecretString {
        self.0[id.0].clone()
    }

    pub(super) fn all(&self) -> &[SecretString] {
        &self.0
    }
}

fn referred(config: &Config) -> impl Iterator<Item = SecretId> {
    let of_issuers = config.issuers.values().flat_map(|issuer| {
        let mac_key = issuer.external_account.as_ref().map(|account| account.mac_key);
        issuer.account_key.into_iter().chain(mac_key)
    });
    let of_providers = config.providers.values().flat_map(|provider| provider.secrets.clone());
    let of_listeners = config.listeners.iter().flat_map(Listener::secrets);
    let of_share = config.share.iter().flat_map(Share::secrets);
    of_issuers.chain(of_providers).chain(of_listeners).chain(of_share)
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::{Recorder, settings};
    use crate::engine::{Service, Settings};
    use crate::event::{Event, ProcessEvent};
    use std::sync::Arc;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_service_without_one_of_its_secrets_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), &[(&["a.example"], &[])]);
        let host = Arc::new(Recorder::default());
        let settings = Settings { secrets: Vec::new(), ..settings };
        let service = Service::start(settings, host.clone()).unwrap();
        let begun = Instant::now();
        while host.events().is_empty() && begun.elapsed() < LIMIT {
            sleep(Duration::from_millis(10));
        }
        assert!(!service.stop_within(LIMIT), "it has failed");
        let why = "secret number 0 of the configuration was not handed over".to_owned();
        assert_eq!(host.events(), [Event::Process(ProcessEvent::Ended { why })]);
    }
}
