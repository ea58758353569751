//! Takes what is private out of texts and answers that are to be shown to others.
//!
//! Of an answer's texts only those stay that are known to say nothing of anybody; the same goes for words of a
//! log line that look like an address or an identifier. What stands for the same thing stays the same.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// The zone in all that is shown.
pub const ZONE: &str = "example.com";

/// The length of a challenge's value: SHA-256 in base64url (RFC 8555 section 8.4).
const CHALLENGE: usize = 43;

/// The length of Cloudflare's identifiers.
const ID: usize = 32;

/// Members of answers whose texts are one of a few words of the API.
const WORDS: [&str; 8] =
    ["type", "status", "method", "currency", "frequency", "legacy_id", "code", "success"];

/// Private texts, and what stands for them.
#[derive(Debug, Default)]
pub struct Scrub {
    zone: String,
    /// Secrets and other texts, with what is written instead.
    texts: Vec<(String, String)>,
    known: HashMap<String, String>,
}

impl Scrub {
    /// A scrub for a zone; `texts` are replaced wherever they stand, secrets above all.
    #[must_use]
    pub fn new(zone: &str, texts: &[(&str, &str)]) -> Self {
        let texts = texts.iter().filter(|(text, _)| !text.is_empty());
        let mut texts: Vec<(String, String)> =
            texts.map(|(text, label)| ((*text).to_owned(), (*label).to_owned())).collect();
        // One may be a part of another.
        texts.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self { zone: zone.to_ascii_lowercase(), texts, known: HashMap::new() }
    }

    /// Returns what stands for a text that was given.
    #[must_use]
    pub fn label(&self, text: &str) -> Option<String> {
        self.texts.iter().find(|(other, _)| other == text).map(|(_, label)| label.clone())
    }

    /// A text without what is private.
    #[must_use]
    pub fn text(&mut self, text: &str) -> String {
        let mut rest = text.to_owned();
        for (private, label) in &self.texts {
            rest = rest.replace(private, label);
        }
        let rest = self.without_zone(&rest);
        let is_word = |c: char| c.is_alphanumeric() || "@._-:+*".contains(c);
        let mut out = String::with_capacity(rest.len());
        let mut word = String::new();
        for c in rest.chars().chain(['\0']) {
            if is_word(c) {
                word.push(c);
                continue;
            }
            out.push_str(&self.word(&word));
            word.clear();
            if c != '\0' {
                out.push(c);
            }
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        let plain = word.trim_end_matches(['.', ':']);
        let end = word.get(plain.len()..).unwrap_or_default();
        format!("{}{end}", self.plain_word(plain))
    }

    fn plain_word(&mut self, word: &str) -> String {
        let lower = word.to_ascii_lowercase();
        let is_public = |ip: IpAddr| !ip.is_loopback() && !ip.is_unspecified();
        let is_hex = lower.bytes().all(|b| b.is_ascii_hexdigit());
        let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if lower.contains('@') {
            "you@example.com".to_owned()
        } else if word.len() == ID && is_hex {
            self.stable(&lower, |number| format!("{number:032x}"))
        } else if word.len() == CHALLENGE && word.bytes().all(is_base64) {
            self.stable(word, |number| format!("challenge-{number:0>33}"))
        } else if lower.ends_with(".ns.cloudflare.com") {
            self.stable(&lower, |number| format!("ns{number}.ns.cloudflare.com"))
        } else if word.len() >= 6 && word.bytes().all(|b| b.is_ascii_digit()) {
            self.stable(word, |number| format!("{number:06}"))
        } else if word.parse().is_ok_and(is_public) {
            self.stable(&lower, |number| format!("192.0.2.{number}"))
        } else if word.parse().is_ok_and(|address: SocketAddr| is_public(address.ip())) {
            self.stable(&lower, |number| format!("192.0.2.{number}:53"))
        } else {
            word.to_owned()
        }
    }

    /// The text with another name for the zone wherever it is one, such as in `renew-ZONE` and `ZONE-rsa`.
    fn without_zone(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let is_end = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        let places = lower.match_indices(&self.zone).filter(|_| !self.zone.is_empty());
        for (start, zone) in places {
            let end = start + zone.len();
            let (before, after) = (text.get(..start), text.get(end..));
            let before = before.and_then(|text| text.chars().next_back());
            if is_end(before) && is_end(after.and_then(|text| text.chars().next())) {
                out.push_str(text.get(done..start).unwrap_or_default());
                out.push_str(ZONE);
                done = end;
            }
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }

    /// Tells whether a name is the zone or in it.
    fn is_in_zone(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let above = name.strip_suffix(&self.zone).filter(|_| !self.zone.is_empty());
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }

    fn stable(&mut self, text: &str, make: impl Fn(usize) -> String) -> String {
        let number = self.known.len() + 1;
        self.known.entry(text.to_owned()).or_insert_with(|| make(number)).clone()
    }

    /// An answer, or what is sent, with the same members and types.
    #[must_use]
    pub fn json(&mut self, value: &Value) -> Value {
        self.member("", value)
    }

    fn member(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members =
                    members.iter().map(|(key, value)| (key.clone(), self.member(key, value)));
                Value::Object(members.collect())
            }
            Value::Array(items) => items.iter().map(|item| self.member(key, item)).collect(),
            Value::String(text) => Value::String(self.string(key, text)),
            other => other.clone(),
        }
    }

    fn string(&mut self, key: &str, text: &str) -> String {
        match key {
            _ if WORDS.contains(&key) => text.to_owned(),
            "message" | "comment" | "content" | "name_servers" => self.text(text),
            "id" | "zone_id" | "name" | "zone_name" => match self.text(text) {
                same if same == text && !self.is_in_zone(text) => {
                    self.stable(text, |number| format!("private-{number}"))
                }
                other => other,
            },
            "email" => "you@example.com".to_owned(),
            _ if key.ends_with("_on") => "2020-01-01T00:00:00.000000Z".to_owned(),
            _ => "private".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scrub;
    use serde_json::json;

    const TOKEN: &str = "8M7wS6hCpXVc-DoRnPPY_UCWPgy8aea4Wy6kCe5T";
    const ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";

    fn scrub() -> Scrub {
        Scrub::new("Shop.de", &[(TOKEN, "TOKEN"), ("/home/me/token", "TOKEN_FILE")])
    }

    #[test]
    fn a_line_loses_what_is_private_and_nothing_else() {
        let mut scrub = scrub();
        for (text, expected) in [
            ("zone \"shop.de\" is good.", "zone \"example.com\" is good."),
            ("_acme-challenge.Shop.de. TXT", "_acme-challenge.example.com. TXT"),
            ("*.shop.de workshop.de", "*.example.com workshop.de"),
            ("renew-shop.de shop.de-rsa", "renew-example.com example.com-rsa"),
            (&format!("Bearer {TOKEN}, in /home/me/token"), "Bearer TOKEN, in TOKEN_FILE"),
            ("from 81.2.69.160: refused", "from 192.0.2.1: refused"),
            ("127.0.0.1:8080 stays", "127.0.0.1:8080 stays"),
            ("ada.ns.cloudflare.com", "ns2.ns.cloudflare.com"),
            ("me@shop.dev's Account", "you@example.com's Account"),
            ("acct/12345678 in 6.1 s", "acct/000003 in 6.1 s"),
            (
                &format!("/zones/{ID}/dns_records"),
                "/zones/00000000000000000000000000000004/dns_records",
            ),
        ] {
            assert_eq!(scrub.text(text), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_keeps_its_form_and_loses_its_texts() {
        let value = json!({"success": true, "result": [{
            "id": ID, "name": "shop.de", "status": "active", "ttl": 60, "paused": false,
            "owner": {"id": null, "type": "user", "email": "me@shop.de"},
            "account": {"id": ID, "name": "Me@shop.de's Account"},
            "plan": {"name": "Enterprise of Me"}, "secret_of_tomorrow": "unheard",
            "created_on": "2014-01-01T05:20:00.12345Z", "name_servers": ["ada.ns.cloudflare.com"],
        }]});
        let out = scrub().json(&value);
        let text = out.to_string();
        for private in ["shop", "Me", "unheard", ID, "ada", "2014", "Enterprise"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        let result = &out["result"][0];
        assert_eq!(result["id"], result["account"]["id"]);
        assert_eq!((&result["name"], &result["status"]), (&"example.com".into(), &"active".into()));
        assert_eq!(result["owner"]["id"], json!(null));
        let keys = |value: &serde_json::Value| value.as_object().map(|o| o.len());
        assert_eq!(keys(result), keys(&value["result"][0]));
    }
}
