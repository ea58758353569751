//! acme-dns (<https://github.com/joohoi/acme-dns>): a server for challenges alone. `_acme-challenge` of a domain is
//! an alias of the name that it serves for an account.
//!
//! It keeps the last two values of an account and can remove none. Which one is older it knows by the second.
//! So the values of an order are sent again together if one of the answers is lost, a second later: sent alone, the
//! last one could push out the first.

use super::request::{Advice, retrying, send};
use super::spacing::Spacing;
use super::{
    About, DnsProvider, PlacedRecord, ProviderError, Redactor, Rule, SparedRecord, TxtRecord,
    ValueLimit, Zone,
};
use crate::http::{Clients, HttpError};
use acme_dns_core::accounts;
use acme_dns_core::config::{AcmeDnsCredentials, AcmeDnsSettings as Settings, SecretId};
use async_trait::async_trait;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;
use url::Url;

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Beginning of the name of a challenge.
const CHALLENGE: &str = "_acme-challenge.";

/// The number of values that the server keeps.
const VALUES: usize = 2;

/// Longer than the second by which the server tells values apart.
const SPACING: Duration = Duration::from_millis(1100);

const ADVICE: Advice = Advice {
    credentials: "check that user name, password and subdomain are those of one account, and that its \
                  \"allowfrom\" has this host",
    url: "api",
};

/// An account, ready to be used.
#[derive(Clone)]
struct Account {
    username: HeaderValue,
    password: HeaderValue,
    subdomain: String,
}

/// The accounts of a provider.
enum Accounts {
    /// The same for all names.
    One(Account),
    /// One for each domain.
    ByDomain(HashMap<String, Account>),
}

/// The client of one `acme_dns_provider` block.
pub struct AcmeDns {
    name: String,
    http: reqwest::Client,
    update: Url,
    accounts: Accounts,
    redactor: Redactor,
    spacing: Spacing,
}

impl fmt::Debug for AcmeDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeDns").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AcmeDns {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The TLS library refuses the trusted certificates, or the credentials cannot be sent in headers.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        clients: &Clients,
    ) -> Result<Self, HttpError> {
        let invalid_url = || HttpError::Url(settings.api.clone());
        let mut update = Url::parse(&settings.api).map_err(|_| invalid_url())?;
        update.path_segments_mut().map_err(|()| invalid_url())?.pop_if_empty().push("update");
        let invalid = || HttpError::Credentials(name.to_owned());
        let mut secrets = Vec::new();
        let accounts = match &settings.credentials {
            AcmeDnsCredentials::Document(id) => {
                let document = secret(*id);
                let found = accounts::read(document.expose_secret().as_bytes());
                let found = found.map_err(|_| invalid())?;
                secrets.extend(found.values().map(|account| SecretString::from(account.password)));
                let account = |(domain, account): (&str, accounts::Account<'_>)| {
                    let ready = account_of(account.username, account.password, account.subdomain);
                    Some((domain.to_ascii_lowercase(), ready?))
                };
                let accounts: Option<_> = found.into_iter().map(account).collect();
                Accounts::ByDomain(accounts.ok_or_else(invalid)?)
            }
            AcmeDnsCredentials::Account { username, password, subdomain } => {
                let password = secret(*password);
                let account = account_of(username, password.expose_secret(), subdomain);
                secrets.push(password);
                Accounts::One(account.ok_or_else(invalid)?)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            http: clients.get(settings.trusted_certificate.as_deref())?,
            update,
            accounts,
            redactor: Redactor::new(secrets),
            spacing: Spacing::new(SPACING),
        })
    }

    /// Gives the account that has the records of a name: of what an alias leads to, or of a challenge whose alias
    /// is not known.
    fn account(&self, name: &str) -> Option<&Account> {
        let name = name.to_ascii_lowercase();
        let is_of = |account: &&Account| name.split('.').next() == Some(&account.subdomain);
        match (&self.accounts, name.strip_prefix(CHALLENGE)) {
            (Accounts::One(account), Some(_)) => Some(account),
            (Accounts::One(account), None) => Some(account).filter(is_of),
            (Accounts::ByDomain(accounts), Some(domain)) => accounts.get(domain),
            (Accounts::ByDomain(accounts), None) => accounts.values().find(is_of),
        }
    }

    fn action(&self, name: &str) -> String {
        format!("provider \"{}\" cannot create TXT record \"{name}\"", self.name)
    }

    fn no_account(&self, name: &str) -> ProviderError {
        let advice = "let \"_acme-challenge\" be an alias of the \"fulldomain\" of an account, and define that";
        ProviderError::NoZone {
            action: self.action(name),
            detail: "no account of the provider has this name".to_owned(),
            advice: advice.to_owned(),
            about: About::Name,
        }
    }

    /// Writes the values of one account, all of them again if one fails.
    async fn write(
        &self,
        account: &Account,
        name: &str,
        values: &[&str],
    ) -> Result<(), ProviderError> {
        let action = self.action(name);
        retrying(async || {
            self.spacing.wait(&account.subdomain).await;
            for (number, value) in values.iter().enumerate() {
                let written = self.write_value(account, value, &action).await;
                self.spacing.note(&account.subdomain);
                written.map_err(|error| error.after(number))?;
            }
            Ok(())
        })
        .await
    }

    async fn write_value(
        &self,
        account: &Account,
        value: &str,
        action: &str,
    ) -> Result<(), ProviderError> {
        let request = self
            .http
            .post(self.update.clone())
            .header("x-api-user", account.username.clone())
            .header("x-api-key", account.password.clone())
            .json(&json!({ "subdomain": account.subdomain, "txt": value }));
        let answer = send(request, MAX_ANSWER, &self.redactor, action).await?;
        if !answer.status.is_success() {
            let words = answer.words("error", &self.redactor);
            return Err(answer.error(words, &ADVICE, action));
        }
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match json.get("txt").and_then(Value::as_str) {
            Some(written) if written == value => Ok(()),
            _ => {
                let detail = "it does not repeat the value, check \"api\"";
                Err(ProviderError::unexpected(action, detail))
            }
        }
    }
}

#[async_trait(?Send)]
impl DnsProvider for AcmeDns {
    /// It takes digests only, and keeps the last two.
    fn can_hold(&self, _: &TxtRecord) -> bool {
        false
    }

    fn value_limit(&self, name: &str) -> Option<ValueLimit> {
        let record_set = format!("{} {}", self.update, self.account(name)?.subdomain);
        Some(ValueLimit { record_set, values: VALUES })
    }

    async fn create(&self, _: &Zone, records: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
        let mut by_account: BTreeMap<&str, (&Account, &str, Vec<&str>)> = BTreeMap::new();
        for TxtRecord { name, value } in records {
            let account = self.account(name).ok_or_else(|| self.no_account(name))?;
            let (.., values) = by_account
                .entry(&account.subdomain)
                .or_insert_with(|| (account, name.as_str(), Vec::new()));
            values.push(value);
        }
        for (number, (account, name, values)) in by_account.into_values().enumerate() {
            self.write(account, name, &values).await.map_err(|error| error.after(number))?;
        }
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    /// Does nothing: values stay until others take their places.
    async fn remove(
        &self,
        _: &[PlacedRecord],
        _: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        Ok(Vec::new())
    }
}

/// Makes an account; `None` if it cannot be sent in headers.
fn account_of(username: &str, password: &str, subdomain: &str) -> Option<Account> {
    let mut password = HeaderValue::from_str(password).ok()?;
    password.set_sensitive(true);
    let username = HeaderValue::from_str(username).ok()?;
    Some(Account { username, password, subdomain: subdomain.to_ascii_lowercase() })
}
