//! Webhooks: the request, its signature, and what an answer means.

use super::certificate::hex;
use super::failure::Failure;
use crate::http::{Clients, describe, read_limited, retry_after};
use acme_dns_core::config::Webhook;
use acme_dns_core::notice::{Notice, Payload, payload};
use acme_dns_core::redact::Redactor;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Length up to which an answer is read, in octets: only to quote it.
const MAX_ANSWER: usize = 64 << 10;

/// Secrets of a webhook.
pub(super) struct WebhookSecrets {
    pub(super) path: Option<SecretString>,
    pub(super) signing: Option<SecretString>,
    pub(super) authorization: Option<SecretString>,
}

/// Teller of a webhook.
pub(super) struct WebhookTeller {
    webhook: Webhook,
    secrets: WebhookSecrets,
    redactor: Redactor,
    clients: Rc<Clients>,
}

impl WebhookTeller {
    pub(super) fn new(webhook: Webhook, secrets: WebhookSecrets, clients: Rc<Clients>) -> Self {
        let WebhookSecrets { path, signing, authorization } = &secrets;
        let all = [path, signing, authorization].into_iter().flatten().cloned();
        let redactor = Redactor::new(all);
        Self { webhook, secrets, redactor, clients }
    }

    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), Failure> {
        let request = self.request(notice)?;
        let sent = request.send().await;
        let response = sent.map_err(|error| self.redactor.clean(&describe(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let body = read_limited(response, MAX_ANSWER).await.unwrap_or_default();
        let words = self.redactor.clean(String::from_utf8_lossy(&body).trim());
        let said = if words.is_empty() { words } else { format!(": {words}") };
        Err(Failure { why: format!("HTTP status {status}{}{said}", advice(status)), retry_after })
    }

    fn request(&self, notice: &Notice) -> Result<RequestBuilder, String> {
        let Webhook { url, headers, format, trusted_certificate, .. } = &self.webhook;
        let client = self.clients.get(trusted_certificate.as_deref());
        let client = client.map_err(|error| error.to_string())?;
        let rest = self.secrets.path.as_ref().map_or("", |path| path.expose_secret().trim());
        let Payload { body, content_type, headers: of_format } = payload(notice, *format);
        let mut request = client.post(format!("{url}{}", rest.trim_start_matches('/')));
        for (name, value) in of_format {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(secret) = &self.secrets.authorization {
            let value = HeaderValue::from_str(secret.expose_secret());
            let mut value = value.map_err(|_| "its \"authorization\" is no header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(secret) = &self.secrets.signing {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let signature = signature(secret, now, &body);
            let signature = signature.map_err(|error| format!("cannot sign: {error}"))?;
            request = request.header("X-Acme-Dns-Timestamp", now);
            request = request.header("X-Acme-Dns-Signature", format!("sha256={signature}"));
        }
        request = request.header("X-Acme-Dns-Event", notice.kind.word());
        request = request.header("X-Acme-Dns-Delivery", &notice.id);
        Ok(request.header(CONTENT_TYPE, content_type).body(body))
    }
}

/// Signs the time and the body: `HMAC-SHA256(secret, TIME "." BODY)`, in hexadecimal digits.
fn signature(secret: &SecretString, time: u64, body: &str) -> Result<String, ErrorStack> {
    let key = PKey::hmac(secret.expose_secret().trim().as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(format!("{time}.").as_bytes())?;
    signer.update(body.as_bytes())?;
    Ok(hex(&signer.sign_to_vec()?))
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => ", redirects are not followed: check the URL",
        401 | 403 => ", check \"authorization_file\", \"path_file\" and \"secret_file\"",
        404 | 405 | 410 => ", check the URL",
        400 | 415 | 422 => ", check \"format\"",
        _ => "",
    }
}
