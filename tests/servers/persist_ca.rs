//! The newer form of dns-persist-01 (draft-ietf-acme-dns-persist-02) in front of Pebble, which has the older
//! one.
//!
//! It looks for the record itself, by an implementation that has nothing in common with the module's. If it is
//! content, it adds the record of the older form, which satisfies Pebble.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::powerdns::{Api, Rrset, unquote};
use crate::traffic::{Reply, Request};

/// Prefix of an account's hash.
pub const PREFIX: &str = "https://pebble.example/account-hash/";

/// The issuer domain name, which is Pebble's.
const ISSUER: &str = "pebble.letsencrypt.org";

const METHOD: &str = "dns-persist-01";

/// State of the form: what has been seen of accounts and authorizations.
pub(crate) struct NewForm {
    dns: Api,
    zone: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The thumbprints of all keys of an account, by its URL.
    thumbprints: HashMap<String, Vec<String>>,
    /// Names and whether they are wildcards, by the paths of their challenges.
    names: HashMap<String, (String, bool)>,
}

impl NewForm {
    /// Begins with records in this zone of a server.
    pub(crate) fn new(dns: Api, zone: &str) -> Self {
        Self { dns, zone: format!("{zone}."), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the record before Pebble does. Gives the answer if it will not do.
    pub(crate) async fn before(&self, request: &Request) -> Option<Reply> {
        let (name, is_wildcard) = self.seen().names.get(&request.path).cloned()?;
        let account = jws(&request.body, "protected")["kid"].as_str()?.to_owned();
        if jws(&request.body, "payload") != json!({}) {
            return None;
        }
        let thumbprints = self.seen().thumbprints.get(&account).cloned().unwrap_or_default();
        let owner = format!("_validation-persist.{name}.");
        let values = self.values(&owner).await;
        let is_good = |value: &String| is_good(value, &name, is_wildcard, &account, &thumbprints);
        if !values.iter().any(is_good) {
            let detail = format!("no record of {owner} will do, there are {values:?}");
            let kind = "urn:ietf:params:acme:error:unauthorized";
            return Some(Reply::json(403, &json!({"type": kind, "detail": detail})));
        }
        let old = format!("{ISSUER}; accounturi={account}; policy=wildcard");
        let mut contents: Vec<String> =
            values.into_iter().chain([old]).map(|value| format!("\"{value}\"")).collect();
        contents.sort();
        contents.dedup();
        let rrset = Rrset { name: owner, kind: "TXT".to_owned(), ttl: 60, contents };
        let set = self.dns.set_rrsets(&self.zone, &[rrset]).await;
        set.err().map(|why| Reply::new(500, "text/plain", why))
    }

    async fn values(&self, owner: &str) -> Vec<String> {
        let zone = self.dns.call(Method::GET, &format!("/zones/{}", self.zone), None).await;
        let zone = zone.ok().flatten().unwrap_or_default();
        let sets = zone["rrsets"].as_array().cloned().unwrap_or_default();
        let sets = sets.into_iter().filter(|set| set["type"] == "TXT" && set["name"] == owner);
        let records = sets.flat_map(|set| set["records"].as_array().cloned().unwrap_or_default());
        records.filter_map(|record| Some(unquote(record["content"].as_str()?))).collect()
    }

    /// Brings an answer into the newer form, and notes what it says.
    pub(crate) fn after(&self, request: &Request, reply: &mut Reply) {
        self.note_key(request, reply);
        let Ok(mut json) = serde_json::from_slice::<Value>(&reply.body) else { return };
        if json["newOrder"].is_string() {
            json["meta"]["accountHashPrefix"] = PREFIX.into();
            json["meta"]["issuerDomainNames"] = json!([ISSUER]);
            json["meta"]["caaIdentities"] = json!([ISSUER]);
        }
        if json["type"] == METHOD {
            renew(&mut json);
        }
        let (name, is_wildcard) = (json["identifier"]["value"].clone(), json["wildcard"] == true);
        for challenge in json["challenges"].as_array_mut().into_iter().flatten() {
            if challenge["type"] != METHOD {
                continue;
            }
            renew(challenge);
            if let (Some(url), Some(name)) = (challenge["url"].as_str(), name.as_str()) {
                let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_default());
                self.seen().names.insert(path, (name.to_owned(), is_wildcard));
            }
        }
        reply.body = json.to_string().into();
    }

    /// Notes the key of an account that is made or found, or the new one of a key change.
    fn note_key(&self, request: &Request, reply: &Reply) {
        if reply.status >= 400 {
            return;
        }
        let header = jws(&request.body, "protected");
        let inner = jws(&request.body, "payload");
        let changed = jws(inner.to_string().as_bytes(), "protected");
        let location = reply.headers.get("location").and_then(|url| url.to_str().ok());
        let (account, key) = match header["kid"].as_str() {
            Some(account) => (Some(account), &changed["jwk"]),
            None => (location, &header["jwk"]),
        };
        if let (Some(account), Some(thumbprint)) = (account, thumbprint(key)) {
            self.seen().thumbprints.entry(account.to_owned()).or_default().push(thumbprint);
        }
    }
}

/// Renames what the newer form names otherwise, and drops what it does not have.
fn renew(challenge: &mut Value) {
    if let Some(challenge) = challenge.as_object_mut() {
        let issuers = challenge.remove("issuer-domain-names").unwrap_or_default();
        challenge.insert("issuerDomainNames".to_owned(), issuers);
        challenge.remove("accounturi");
        challenge.remove("token");
    }
}

/// Decides whether a value proves a name.
fn is_good(
    value: &str,
    name: &str,
    is_wildcard: bool,
    account: &str,
    thumbprints: &[String],
) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    let parameters: HashMap<String, &str> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(tag, value)| (tag.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let hash = |domain: &str, key: &String| {
        let length = [u8::try_from(domain.len()).unwrap_or(0)];
        let digest =
            sha256(&[&length, domain.as_bytes(), key.as_bytes(), account.as_bytes()].concat());
        format!("{PREFIX}sha-256/{}", base64url(&digest))
    };
    let accounts: Vec<String> =
        thumbprints.iter().flat_map(|key| [hash(name, key), hash("*", key)]).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    issuer == ISSUER
        && parameters.get("accounturi").is_some_and(|uri| accounts.iter().any(|own| own == uri))
        && (!is_wildcard
            || parameters
                .get("policy")
                .is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")))
        && parameters
            .get("persistuntil")
            .is_none_or(|until| until.parse().is_ok_and(|until: u64| until > now))
}

/// A part of a JWS as JSON; `Null` if it is none.
fn jws(body: &[u8], part: &str) -> Value {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = json[part].as_str().unwrap_or_default().replace('-', "+").replace('_', "/");
    let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    let bytes = openssl::base64::decode_block(&padded).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The thumbprint of an elliptic curve key (RFC 7638).
fn thumbprint(jwk: &Value) -> Option<String> {
    let member = |name: &str| jwk[name].as_str();
    let (curve, x, y) = (member("crv")?, member("x")?, member("y")?);
    let canonical = format!("{{\"crv\":\"{curve}\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
    Some(base64url(&sha256(canonical.as_bytes())))
}

fn base64url(bytes: &[u8]) -> String {
    let text = openssl::base64::encode_block(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of draft 02, section 10.2, with the prefix of this CA.
    #[test]
    fn the_example_of_the_draft_is_good() {
        let account = "https://ca.example/acct/123";
        let keys = ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned()];
        let value =
            |hash: &str, rest: &str| format!("{ISSUER}; accounturi={PREFIX}sha-256/{hash}{rest}");
        let (own, any) = (
            "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw",
            "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug",
        );
        let good = |value: &str, wildcard| is_good(value, "example.com", wildcard, account, &keys);
        assert!(good(&value(own, ""), false));
        assert!(good(&value(any, "; policy=wildcard"), true));
        assert!(!good(&value(own, ""), true));
        assert!(!good(&value(own, "; persistUntil=1"), false));
        assert!(!good(&value("x", ""), false));
    }
}
