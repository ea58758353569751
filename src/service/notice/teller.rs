//! The ways in which a listener is told.

use super::export::Exporter;
use super::failure::Failure;
use super::hook::HookTeller;
use super::webhook::WebhookTeller;
use acme_dns_core::notice::Notice;

/// Way of one listener.
pub(super) enum Teller {
    Hook(HookTeller),
    Webhook(WebhookTeller),
    Export(Exporter),
}

impl Teller {
    /// Tells a notice.
    ///
    /// # Errors
    /// It may not have arrived, and is to be told again.
    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), Failure> {
        match self {
            Self::Hook(hook) => Ok(hook.tell(notice).await?),
            Self::Webhook(webhook) => Ok(webhook.tell(notice).await?),
            Self::Export(exporter) => Ok(exporter.tell(notice).await?),
        }
    }
}
