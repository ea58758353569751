//! Those who are told of certificates besides the log, as far as the engine has to know of them.

use super::Settings;
use crate::host::Host;
use crate::notice::{Desk, DeskSettings, Inbox, Timing, overhear};
use crate::store::Store;
use acme_dns_core::config::Config;
use secrecy::SecretString;
use std::sync::Arc;

/// Listeners that are told nothing yet: what happens is kept for them.
pub(super) struct Listening {
    inbox: Inbox,
    config: Arc<Config>,
    secrets: Vec<SecretString>,
    is_restart: bool,
}

impl Listening {
    /// Begins to listen to what the service tells, if the configuration has listeners. Gives the host that the
    /// service is to tell.
    pub(super) fn begin(settings: &Settings, host: Arc<dyn Host>) -> (Arc<dyn Host>, Option<Self>) {
        let Settings { config, secrets, is_news, .. } = settings;
        if config.listeners.is_empty() {
            return (host, None);
        }
        let (host, inbox) = overhear(host);
        let (config, secrets) = (Arc::clone(config), secrets.clone());
        (host, Some(Self { inbox, config, secrets, is_restart: !is_news }))
    }

    /// Has them told from now on, by a task beside the loop. The lock of the state path is held.
    pub(super) async fn open(self, store: Store) {
        let Self { inbox, config, secrets, is_restart } = self;
        let timing = Timing::default();
        let settings = DeskSettings { config, store, secrets, is_restart, timing };
        tokio::task::spawn_local(Desk::open(inbox, settings).await.run());
    }
}
