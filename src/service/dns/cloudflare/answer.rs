//! The meaning of answers of Cloudflare's API: errors, what they are about, and what a person can do.

use super::super::{About, ProviderError, Refusal, RefusalReason};
use super::client::{ApiCall, ApiClient, ApiReply, CredentialKind, Permission};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// The most reasons of one refusal that are kept.
const MAX_REASONS: usize = 8;

/// Too many requests.
const THROTTLED: [i64; 2] = [971, 10100];

/// Codes of Cloudflare that say that the credentials are malformed, missing or wrong, or not enough
/// for what was asked for: the last two can be either.
const CREDENTIALS: [i64; 11] = [1000, 6003, 6102, 6103, 6111, 9103, 9106, 9107, 10001, 9109, 10000];
const EITHER: [i64; 2] = [9109, 10000];

/// The zone has as many records as its plan allows.
const QUOTA: i64 = 81045;

/// The identifier in the path is none, or of nothing.
const NO_ZONE: [i64; 2] = [1001, 7003];

/// Credentials that Cloudflare has accepted within this time are good: what it then forbids is a
/// matter of the zone.
const PROOF: Duration = Duration::from_secs(3600);

impl ApiClient {
    /// Tells whether the credentials are known to be good.
    fn is_proven(&self) -> bool {
        self.accepted.get().is_some_and(|accepted| accepted.elapsed() < PROOF)
    }

    /// Finds the cause of a refusal of credentials: they themselves, or the zone that they do not reach.
    fn about(&self, zone: &str, refusal: &Refusal) -> About {
        if blames_credentials(refusal) || zone.is_empty() || !self.is_proven() {
            return About::Credentials;
        }
        About::Zone(zone.into())
    }

    pub(super) fn interpret(
        &self,
        call: &ApiCall<'_>,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<ApiReply, ProviderError> {
        let action = call.action.to_owned();
        let envelope = serde_json::from_slice::<Envelope>(body);
        let mut refusal = Refusal { status: status.as_u16(), reasons: Vec::new() };
        if let Ok(envelope) = &envelope {
            self.collect(&envelope.errors, &mut refusal.reasons);
        }
        if status == StatusCode::TOO_MANY_REQUESTS || refusal.has_code(&THROTTLED) {
            return Err(ProviderError::Throttled { action, retry_after });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(ProviderError::Unavailable { action, refusal });
        }
        let Ok(envelope) = envelope else {
            if status.is_success() {
                return Err(ProviderError::unexpected(
                    &action,
                    "it is not JSON as Cloudflare sends it",
                ));
            }
            let advice = "this is not an answer of Cloudflare's API, check \"api\"".to_owned();
            return Err(ProviderError::Refused { action, refusal, advice, about: About::Provider });
        };
        if status.is_success() && envelope.success {
            self.accepted.set(Some(Instant::now()));
            let pages = envelope.result_info.map_or(1, |info| info.total_pages);
            return Ok(ApiReply { result: envelope.result, pages, size: body.len() });
        }
        if is_passing(&refusal) {
            return Err(ProviderError::Unavailable { action, refusal });
        }
        let unauthorized = status == StatusCode::UNAUTHORIZED
            || status == StatusCode::FORBIDDEN
            || refusal.has_code(&CREDENTIALS);
        Err(if unauthorized {
            let advice = unauthorized_advice(self.kind(), call.permission, &refusal);
            let about = self.about(call.zone, &refusal);
            ProviderError::Unauthorized { action, refusal, advice, about }
        } else {
            let advice = refused_advice(&refusal).to_owned();
            let zone = call.zone.into();
            let about = match refusal {
                _ if refusal.has_code(&[QUOTA]) => About::Quota { zone, ours: 0 },
                _ if refusal.has_code(&NO_ZONE) && !call.zone.is_empty() => About::Zone(zone),
                _ => About::Name,
            };
            ProviderError::Refused { action, refusal, advice, about }
        })
    }

    fn collect(&self, errors: &[ApiError], reasons: &mut Vec<RefusalReason>) {
        for error in errors {
            if reasons.len() == MAX_REASONS {
                return;
            }
            reasons.push(RefusalReason { code: error.code, text: self.clean(&error.message) });
            self.collect(&error.error_chain, reasons);
        }
    }
}

/// Tells whether a refusal is certain to be about the credentials, and not about what they may do.
pub(super) fn blames_credentials(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::UNAUTHORIZED.as_u16()
        || refusal.has_code(&CREDENTIALS) && !refusal.has_code(&EITHER)
}

/// Tells whether a refusal names no reason, or says itself that the next try may do: the other side's trouble.
fn is_passing(refusal: &Refusal) -> bool {
    let again = |reason: &RefusalReason| reason.text.to_ascii_lowercase().contains("try again");
    let is_denied = matches!(refusal.status, 401 | 403);
    (refusal.reasons.is_empty() && !is_denied) || refusal.reasons.iter().any(again)
}

/// Form of every answer.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    errors: Vec<ApiError>,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    result_info: Option<ResultInfo>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    message: String,
    #[serde(default, deserialize_with = "null_is_default")]
    error_chain: Vec<ApiError>,
}

#[derive(Deserialize)]
struct ResultInfo {
    #[serde(default)]
    total_pages: u64,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn unauthorized_advice(kind: CredentialKind, permission: Permission, refusal: &Refusal) -> String {
    match (kind, permission) {
        (CredentialKind::Token, _) if refusal.has_code(&[6003, 6111]) => {
            "the secret does not have the form of a token: check that it is the API token alone, and \
             not the Global API Key"
        }
        (CredentialKind::Token, _) if refusal.status == StatusCode::UNAUTHORIZED.as_u16() => {
            "check that the token is valid, and has Zone/DNS/Edit and Zone/Zone/Read"
        }
        (CredentialKind::Token, Permission::ReadZones) => {
            "check that the token is valid, allowed from this address, and has Zone/DNS/Edit and \
             Zone/Zone/Read (or set \"zone_id\")"
        }
        (CredentialKind::Token, Permission::EditRecords) => {
            "check that the token is valid, allowed from this address, and has Zone/DNS/Edit for this zone"
        }
        (CredentialKind::Key, _) => {
            "check that \"email\" is the address of the user, and the key this user's Global API Key"
        }
    }
    .to_owned()
}

fn refused_advice(refusal: &Refusal) -> &'static str {
    if refusal.has_code(&[QUOTA]) {
        "the zone has as many records as its plan allows, remove some"
    } else if refusal.has_code(&[9021]) {
        "check \"ttl\""
    } else if refusal.has_code(&[81053, 81054]) {
        "a CNAME record has this name: remove it, or use the provider that holds its target"
    } else if refusal.has_code(&NO_ZONE) {
        "the zone is not there or no longer, or \"zone_id\" is wrong"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::{SECRET, call, client, token};
    use super::super::client::{ApiClient, Permission};
    use crate::dns::{About, ProviderError};
    use acme_dns_core::config::{CloudflareCredentials, SecretId};
    use http::StatusCode;
    use std::time::Duration;

    fn error(client: &ApiClient, permission: Permission, status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).unwrap();
        let wait = Some(Duration::from_secs(7));
        client.interpret(&call(permission), status, wait, body.as_bytes()).err().unwrap()
    }

    fn errors(code: i64, text: &str) -> String {
        format!(
            r#"{{"success":false,"errors":[{{"code":{code},"message":"{text}"}}],"result":null}}"#
        )
    }

    #[test]
    fn errors_say_what_to_do() {
        use Permission::{EditRecords, ReadZones};
        let key = client(CloudflareCredentials::Key {
            email: "you@example.com".to_owned(),
            key: SecretId(0),
        });
        for (client, permission, status, body, permanent, expected) in [
            (
                &token(),
                ReadZones,
                403,
                errors(9109, "Invalid access token"),
                true,
                &["9109 \"Invalid access token\", HTTP status 403", "Zone/Zone/Read", "zone_id"][..],
            ),
            (
                &token(),
                EditRecords,
                403,
                errors(10000, "Authentication error"),
                true,
                &["10000 \"Authentication error\"", "Zone/DNS/Edit"],
            ),
            (
                &token(),
                EditRecords,
                400,
                errors(6003, "Invalid request headers"),
                true,
                &["does not have the form of a token"],
            ),
            (
                &key,
                EditRecords,
                403,
                errors(9103, "Unknown X-Auth-Key or X-Auth-Email"),
                true,
                &["\"email\"", "Global API Key"],
            ),
            (
                &token(),
                EditRecords,
                400,
                errors(81045, "Record quota exceeded."),
                true,
                &["81045", "remove some"],
            ),
            (&token(), EditRecords, 400, errors(9021, "Invalid TTL."), true, &["check \"ttl\""]),
            (&token(), EditRecords, 200, errors(1004, "DNS Validation Error"), true, &["1004"]),
            (&token(), EditRecords, 404, "<html>".to_owned(), true, &["check \"api\""]),
            (&token(), EditRecords, 200, "<html>".to_owned(), false, &["unexpected answer"]),
            (&token(), EditRecords, 502, "<html>".to_owned(), false, &["HTTP status 502"]),
            (&token(), EditRecords, 429, String::new(), false, &["too many requests", "7 s"]),
            (&token(), EditRecords, 400, errors(971, "Please wait"), false, &["too many requests"]),
            (&token(), EditRecords, 400, errors(10100, "Please wait"), false, &["too many"]),
        ] {
            let error = error(client, permission, status, &body);
            let text = error.to_string();
            assert_eq!(error.is_permanent(), permanent, "{status} {body}: {text}");
            for part in expected {
                assert!(text.contains(part), "{status} {body}: {text}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_in_the_way() {
        let zone = || About::Zone("example.com".into());
        let full = About::Quota { zone: "example.com".into(), ours: 0 };
        for (proven, status, body, expected) in [
            // Credentials that have worked are good, unless Cloudflare says otherwise.
            (false, 403, errors(10000, "Authentication error"), About::Credentials),
            (true, 403, errors(10000, "Authentication error"), zone()),
            (true, 403, errors(9109, "Unauthorized to access requested resource"), zone()),
            (true, 403, errors(0, "requires permission"), zone()),
            (true, 401, errors(10000, "Authentication error"), About::Credentials),
            (true, 403, errors(9103, "Unknown X-Auth-Key"), About::Credentials),
            (true, 400, errors(6003, "Invalid request headers"), About::Credentials),
            (true, 400, errors(1000, "Invalid API Token"), About::Credentials),
            (true, 403, "<html>".to_owned(), About::Provider),
            (true, 404, "<html>".to_owned(), About::Provider),
            (true, 404, errors(7003, "Could not route"), zone()),
            (true, 400, errors(81045, "Record quota exceeded."), full),
            (true, 400, errors(81053, "A CNAME record exists"), About::Name),
            (true, 400, errors(1004, "Please try again later."), About::Provider),
            (true, 400, r#"{"success":false}"#.to_owned(), About::Provider),
            (true, 200, r#"{"success":false,"errors":[]}"#.to_owned(), About::Provider),
            (true, 429, String::new(), About::Provider),
        ] {
            let client = token();
            client.accepted.set(proven.then(tokio::time::Instant::now));
            let error = error(&client, Permission::EditRecords, status, &body);
            assert_eq!(*error.about(), expected, "{proven} {status} {body}: {error}");
        }
    }

    #[test]
    fn causes_of_an_error_are_shown() {
        let body = r#"{"success":false,"messages":null,"result":null,"errors":[{"code":6003,
            "message":"Invalid request headers","error_chain":[{"code":6111,
            "message":"Invalid format for Authorization header","error_chain":null}]}]}"#;
        let text = error(&token(), Permission::ReadZones, 400, body).to_string();
        let expected = "cannot: 6003 \"Invalid request headers\", \
                        6111 \"Invalid format for Authorization header\", HTTP status 400; ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn only_throttling_says_when_to_come_back() {
        let throttled = error(&token(), Permission::ReadZones, 429, "");
        assert_eq!(throttled.retry_after(), Some(Duration::from_secs(7)));
        let down = error(&token(), Permission::ReadZones, 503, "");
        assert_eq!(down.retry_after(), None);
    }

    #[test]
    fn foreign_text_is_one_short_line_without_the_secret() {
        let text = format!("{SECRET} is\\nbad {}", "x".repeat(1000));
        let text = error(&token(), Permission::ReadZones, 400, &errors(1, &text)).to_string();
        assert!(text.contains("*** is bad"), "{text}");
        assert!(!text.contains(SECRET) && text.len() < 300, "{text}");
    }
}
