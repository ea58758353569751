//! A look at a CA that changes nothing there: its directory and our account, for [`crate::doctor`].

use super::directory::Directory;
use super::error::AcmeError;
use super::jws::{AccountKey, Requests};
use super::persist::PersistAccount;
use super::step::Step;
use super::teller::Teller;
use super::transport::Transport;
use crate::event::Subject;
use crate::host::Host;
use crate::http::Clients;
use crate::store;
use acme_dns_core::config::Issuer;
use acme_dns_core::persist::{Terms, Wanted};
use acme_dns_core::time::UnixTime;
use acme_dns_core::url::CaUrls;
use bytes::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Result of a look at a CA.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    /// Time that its directory has taken.
    pub(crate) took: Duration,
    /// Names by which it is known in CAA records.
    pub(crate) identities: Vec<String>,
    /// The profiles that it offers.
    pub(crate) profiles: Vec<String>,
    /// Set if a new account needs to be bound to a customer.
    pub(crate) requires_external_account: bool,
    /// The CA's own time.
    pub(crate) date: Option<UnixTime>,
    /// Our account.
    pub(crate) account: Option<InspectedAccount>,
    /// Its terms of dns-persist-01.
    terms: Terms,
}

/// An account of ours at a CA.
#[derive(Clone, Debug)]
pub(crate) struct InspectedAccount {
    /// Its URL.
    pub(crate) url: String,
    /// The CA's words, if it does not take it.
    pub(crate) refusal: Option<String>,
    /// Set if the CA waits for a person.
    pub(crate) waits_for_person: bool,
    /// The thumbprint of its key, and those of the keys that it had before.
    thumbprints: Vec<String>,
}

impl Inspection {
    /// Gives what a record of dns-persist-01 has to say that proves a name, which is given without `*.`; `None` where
    /// that is not known yet.
    pub(crate) fn persistent(&self, base: &str) -> Option<Wanted> {
        let InspectedAccount { url, thumbprints, .. } = self.account.as_ref()?;
        let mut thumbprints = thumbprints.iter().map(String::as_str);
        let account =
            PersistAccount { url, thumbprint: thumbprints.next()?, former: thumbprints.collect() };
        account.wanted(&self.terms, base, None)
    }
}

/// Looks at a CA, and at the account that is ours there.
///
/// # Errors
/// Its directory cannot be read.
pub(crate) async fn inspect(
    issuer: &Issuer,
    clients: &Clients,
    account: Option<store::Account>,
    host: &Arc<dyn Host>,
) -> Result<Inspection, AcmeError> {
    let teller = Teller::new(Arc::clone(host)).about(Subject::Issuer(issuer.name.clone()));
    let client = clients.get(issuer.trusted_certificate.as_deref());
    let client = client.map_err(|error| AcmeError::Failed {
        step: Step::Directory,
        url: issuer.directory.clone(),
        status: None,
        reason: error.to_string(),
        retry_after: None,
    })?;
    let urls = CaUrls::of(&issuer.directory);
    let transport = Transport::new(client.clone(), urls.clone(), Bytes::new());
    let transport = transport.observed(teller.observer(None));
    let begun = Instant::now();
    let read = async || {
        let body = transport.get(&issuer.directory).await?;
        Ok(Directory::parse(&body, &issuer.directory)?)
    };
    let directory = transport.call(Step::Directory, &teller, read).await?;
    let took = begun.elapsed();
    let date = transport.last().date;
    let account = match account {
        Some(account) => {
            let transport = Transport::new(client, urls, directory.json());
            let transport = transport.observed(teller.observer(None));
            Some(look_at_account(&account, &transport, &directory, &teller).await)
        }
        None => None,
    };
    Ok(Inspection {
        took,
        identities: directory.identities().to_vec(),
        profiles: directory.profiles().to_vec(),
        requires_external_account: directory.external_account_required(),
        date,
        account,
        terms: directory.persist().clone(),
    })
}

#[derive(Default, Deserialize)]
struct AccountJson {
    #[serde(default)]
    status: String,
}

/// Reads the account from the CA (RFC 8555 section 7.3.3).
async fn look_at_account(
    account: &store::Account,
    transport: &Transport,
    directory: &Directory,
    teller: &Teller,
) -> InspectedAccount {
    let (url, mut thumbprints) = (account.url.clone(), Vec::new());
    let of = |refusal, waits_for_person, thumbprints| InspectedAccount {
        url,
        refusal,
        waits_for_person,
        thumbprints,
    };
    let key = match AccountKey::from_pkcs8(&account.key) {
        Ok(key) => key,
        Err(reason) => return of(Some(reason), false, thumbprints),
    };
    thumbprints.extend(key.thumbprint().ok());
    thumbprints.extend(account.former_keys.iter().chain(&account.taken_from).cloned());
    let requests = Requests { transport, directory, key: &key, teller };
    match requests.post_as_get(Step::FindAccount, &account.url, &account.url).await {
        Ok((_, body)) => {
            let json: AccountJson = serde_json::from_slice(&body).unwrap_or_default();
            let is_gone = matches!(json.status.as_str(), "deactivated" | "revoked");
            of(is_gone.then(|| format!("it is {}", json.status)), false, thumbprints)
        }
        Err(error) => {
            let waits = error.is("userActionRequired");
            of(Some(error.to_string()), waits, thumbprints)
        }
    }
}
