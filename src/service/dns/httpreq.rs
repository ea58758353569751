//! The protocol `httpreq` of lego (<https://go-acme.github.io/lego/dns/httpreq/>): a server of the user's
//! creates and removes the records.

use super::request::{Advice, retrying, send};
use super::{
    DnsProvider, PlacedRecord, ProviderError, Redactor, Rule, SparedRecord, TxtRecord, Zone,
    by_rule,
};
use crate::http::{Clients, HttpError};
use acme_dns_core::config::{HttpReqSettings as Settings, SecretId};
use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::fmt;
use tokio::sync::Mutex;
use url::Url;

/// The longest answer, in bytes; it is read for messages only.
const MAX_ANSWER: usize = 64 << 10;

const ADVICE: Advice = Advice {
    credentials: "check \"username\", and \"password_file\" or \"password\"",
    url: "endpoint",
};

/// The client of one `acme_dns_provider` block.
pub struct HttpReq {
    name: String,
    http: reqwest::Client,
    endpoint: Url,
    authorization: Option<HeaderValue>,
    redactor: Redactor,
    /// One request at a time: what is behind the server may read a zone, change it and write it.
    turn: Mutex<()>,
}

impl fmt::Debug for HttpReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReq").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HttpReq {
    /// Makes a client; `name` is the one of the block.
    ///
    /// # Errors
    /// The TLS library refuses the trusted certificates, or the credentials cannot be sent in a header.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        clients: &Clients,
    ) -> Result<Self, HttpError> {
        let endpoint = &settings.endpoint;
        let endpoint = Url::parse(endpoint).map_err(|_| HttpError::Url(endpoint.clone()))?;
        let (mut authorization, mut secrets) = (None, Vec::new());
        if let Some(user) = &settings.user {
            let password = secret(user.password);
            let pair = format!("{}:{}", user.name, password.expose_secret());
            let pair = openssl::base64::encode_block(pair.as_bytes());
            let mut value = HeaderValue::from_str(&format!("Basic {pair}"))
                .map_err(|_| HttpError::Credentials(name.to_owned()))?;
            value.set_sensitive(true);
            authorization = Some(value);
            secrets = vec![password, SecretString::from(pair)];
        }
        Ok(Self {
            name: name.to_owned(),
            http: clients.get(settings.trusted_certificate.as_deref())?,
            endpoint,
            authorization,
            redactor: Redactor::new(secrets),
            turn: Mutex::default(),
        })
    }

    /// Asks the server for `present` or `cleanup` of a record.
    async fn call(&self, what: &str, record: &TxtRecord) -> Result<(), ProviderError> {
        let TxtRecord { name, value } = record;
        let verb = if what == "present" { "create" } else { "remove" };
        let action = format!("provider \"{}\" cannot {verb} TXT record \"{name}\"", self.name);
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(what);
        }
        let body = json!({ "fqdn": format!("{name}."), "value": value });
        let _turn = self.turn.lock().await;
        retrying(async || {
            let mut request = self.http.post(url.clone()).json(&body);
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let answer = send(request, MAX_ANSWER, &self.redactor, &action).await?;
            match answer.status.is_success() {
                true => Ok(()),
                false => {
                    let words = answer.words("error", &self.redactor);
                    Err(answer.error(words, &ADVICE, &action))
                }
            }
        })
        .await
    }
}

#[async_trait(?Send)]
impl DnsProvider for HttpReq {
    async fn create(&self, _: &Zone, records: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
        for (number, record) in records.iter().enumerate() {
            self.call("present", record).await.map_err(|error| error.after(number))?;
        }
        // The server has no identifiers.
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let (removable, spared) = by_rule(placed, rule);
        let mut removed = Ok(());
        for record in removable {
            // What can be removed is, whatever happens to the rest.
            removed = removed.and(self.call("cleanup", &record.record).await);
        }
        removed.map(|()| spared)
    }
}
