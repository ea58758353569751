//! Answers of a CA in the form that instant-acme reads.
//!
//! RFC 8555 leaves much open that its types do not: URLs may be relative, members may be null, unknown
//! or missing, challenges of unknown types may have whatever state. What does not matter to an order
//! must not end it, so it is put right here; what does matter is left as it is.

use acme_dns_core::config::ChallengeMethod;
use acme_dns_core::encoding::from_base64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

/// Payload that answers a challenge (RFC 8555 section 7.5.1), in base64url.
const EMPTY_OBJECT: &str = "e30";

/// The states of a challenge (RFC 8555 section 7.1.6).
const CHALLENGE_STATES: [&str; 4] = ["pending", "processing", "valid", "invalid"];

/// The states of an authorization (RFC 8555 section 7.1.6).
const AUTHORIZATION_STATES: [&str; 6] =
    ["pending", "valid", "invalid", "deactivated", "expired", "revoked"];

/// Part of a request that decides how its answer is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SentRequest {
    payload: String,
}

impl SentRequest {
    /// Gives the certificate that an order is to replace (RFC 9773 section 5).
    fn replaces(&self) -> Option<Value> {
        let json = from_base64(&self.payload)?;
        let mut payload: Map<String, Value> = serde_json::from_slice(&json).ok()?;
        payload.remove("replaces").filter(Value::is_string)
    }
}

/// Brings the answer to a signed request into order. `base` is the URL of the request, `sent` its body.
pub(super) fn success(body: Bytes, base: &Url, sent: &[u8]) -> Bytes {
    let sent: SentRequest = serde_json::from_slice(sent).unwrap_or_default();
    let answers_challenge = sent.payload == EMPTY_OBJECT;
    let mut json = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(json)) => json,
        // That it was accepted is all that matters; what is garbage may not be from the CA.
        Ok(_) if answers_challenge => return bytes(&challenge(Map::new(), base)),
        Err(_) if answers_challenge && body.is_empty() => {
            return bytes(&challenge(Map::new(), base));
        }
        _ => return body,
    };
    let has = |name: &str, is: fn(&Value) -> bool| json.get(name).is_some_and(is);
    let json = if answers_challenge {
        challenge(json, base)
    } else if has("authorizations", Value::is_array) || has("finalize", Value::is_string) {
        order(&mut json, base, &sent);
        Value::Object(json)
    } else if has("challenges", Value::is_array) || has("identifier", Value::is_object) {
        authorization(&mut json, base);
        Value::Object(json)
    } else {
        return body;
    };
    bytes(&json)
}

/// Gives the challenges of dns-persist-01 in an authorization as they are, by their URLs: they have members that
/// others lack.
pub(super) fn persistent_challenges(body: &[u8], base: &Url) -> Vec<(String, Value)> {
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let challenges = json["challenges"].as_array().into_iter().flatten();
    let persistent = challenges.filter(|json| json["type"] == ChallengeMethod::DnsPersist01.name());
    persistent.filter_map(|json| Some((absolute(&json["url"], base)?, json.clone()))).collect()
}

/// Brings a problem document (RFC 7807) into order. `None`: it is none.
pub(super) fn problem(body: &[u8]) -> Option<Bytes> {
    let json = serde_json::from_slice::<Value>(body).ok()?;
    let is_problem = ["type", "detail", "title"].iter().any(|name| json[*name].is_string());
    regular_problem(&json).filter(|_| is_problem).map(|json| bytes(&json))
}

fn bytes(json: &Value) -> Bytes {
    json.to_string().into()
}

/// Regularizes an order (RFC 8555 section 7.1.3).
fn order(json: &mut Map<String, Value>, base: &Url, sent: &SentRequest) {
    let authorizations = json.get("authorizations").and_then(Value::as_array);
    let authorizations = authorizations.into_iter().flatten().filter_map(|url| absolute(url, base));
    let authorizations = authorizations.map(Value::String).collect();
    json.insert("authorizations".to_owned(), Value::Array(authorizations));
    let finalize = json.get("finalize").and_then(|url| absolute(url, base)).unwrap_or_default();
    json.insert("finalize".to_owned(), Value::String(finalize));
    replace(json, "certificate", |url| absolute(url, base).map(Value::String));
    // One that is left of an earlier state would end an order that is valid now.
    let has_failed = json.get("status").is_some_and(|status| status == "invalid");
    replace(json, "error", |error| regular_problem(error).filter(|_| has_failed));
    replace(json, "profile", |profile| profile.is_string().then(|| profile.clone()));
    // Not every CA says in its answer what an order replaces.
    if !json.get("replaces").is_some_and(Value::is_string) {
        json.insert("replaces".to_owned(), sent.replaces().unwrap_or_default());
    }
}

/// Regularizes an authorization (RFC 8555 section 7.1.4).
fn authorization(json: &mut Map<String, Value>, base: &Url) {
    // RFC 8555 has no other state in which there is something to wait for.
    replace(json, "status", |status| {
        let is_unknown =
            status.as_str().is_some_and(|status| !AUTHORIZATION_STATES.contains(&status));
        Some(if is_unknown { "pending".into() } else { status.clone() })
    });
    let is_wildcard = json.get("wildcard") == Some(&Value::Bool(true));
    json.insert("wildcard".to_owned(), is_wildcard.into());
    let challenges = json.get_mut("challenges").and_then(Value::as_array_mut);
    let challenges = challenges.map(std::mem::take).unwrap_or_default();
    let challenges = challenges.into_iter().filter_map(|challenge| match challenge {
        Value::Object(json) if json.get("type").is_some_and(Value::is_string) => {
            Some(self::challenge(json, base))
        }
        _ => None,
    });
    let challenges = challenges.collect();
    json.insert("challenges".to_owned(), Value::Array(challenges));
}

/// Regularizes a challenge (RFC 8555 section 8), reduced to what is read of it.
fn challenge(mut json: Map<String, Value>, base: &Url) -> Value {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let status = json.get("status").and_then(text);
    let status = status.filter(|status| CHALLENGE_STATES.contains(&status.as_str()));
    let mut regular = json!({
        "type": json.get("type").and_then(text).unwrap_or_default(),
        "url": json.get("url").and_then(|url| absolute(url, base)).unwrap_or_default(),
        "token": json.get("token").and_then(text).unwrap_or_default(),
        "status": status.unwrap_or_else(|| "pending".to_owned()),
    });
    if let Some(error) = json.remove("error").as_ref().and_then(regular_problem) {
        regular["error"] = error;
    }
    regular
}

fn regular_problem(json: &Value) -> Option<Value> {
    let json = json.as_object()?;
    let text = |name: &str| json.get(name).filter(|value| value.is_string()).cloned();
    let mut regular =
        json!({"type": text("type"), "detail": text("detail").or_else(|| text("title"))});
    if let Some(instance) = text("instance") {
        regular["instance"] = instance;
    }
    let subproblems = json.get("subproblems").and_then(Value::as_array).into_iter().flatten();
    let subproblems = subproblems.filter_map(|json| {
        let mut subproblem = regular_problem(json)?;
        let identifier = json
            .get("identifier")
            .filter(|identifier| identifier["type"] == "dns" && identifier["value"].is_string());
        subproblem["identifier"] = identifier.cloned().unwrap_or_default();
        Some(subproblem)
    });
    regular["subproblems"] = subproblems.collect();
    Some(regular)
}

/// Replaces a member that is there by what is made of it, or takes it out.
fn replace(json: &mut Map<String, Value>, name: &str, make: impl FnOnce(&Value) -> Option<Value>) {
    let Some(value) = json.get(name) else { return };
    match make(value) {
        Some(value) => json.insert(name.to_owned(), value),
        None => json.remove(name),
    };
}

/// Resolves a URL that may be relative to that of the request (RFC 3986 section 5).
fn absolute(url: &Value, base: &Url) -> Option<String> {
    let url = url.as_str().filter(|url| !url.is_empty())?;
    match Url::parse(url) {
        // As it is: it is signed, and the CA compares it.
        Ok(_) => Some(url.to_owned()),
        Err(_) => base.join(url).ok().map(String::from),
    }
}

#[cfg(test)]
mod tests;
