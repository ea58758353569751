//! Accounts of requests: the certificate that pays for what is asked of a provider.

use std::rc::Rc;

tokio::task_local! {
    static PAYER: Option<Rc<str>>;
}

/// Counts the requests that `work` makes as those of `payer`, such as a certificate's name. Requests
/// without a payer have no share of their own.
pub async fn on_account_of<F: Future>(payer: &str, work: F) -> F::Output {
    PAYER.scope(Some(payer.into()), work).await
}

/// Counts the requests that `work` makes as those of nobody.
pub(super) async fn on_no_account<F: Future>(work: F) -> F::Output {
    PAYER.scope(None, work).await
}

/// Gives the payer of the requests that the current task makes.
pub(super) fn payer() -> Option<Rc<str>> {
    PAYER.try_with(Clone::clone).ok().flatten()
}
