//! Our records in the zone, as the API shows them to a client that is not the module's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::settings::Settings;

/// Beginning of the comment of our records.
const COMMENT: &str = "ngx_http_acme_dns_module";

pub(crate) struct Zone<'a> {
    settings: &'a Settings,
    client: reqwest::Client,
    runtime: Runtime,
}

impl<'a> Zone<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Result<Self, String> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build();
        let client = client.map_err(|e| format!("no HTTP client: {e}"))?;
        let runtime = Runtime::new().map_err(|e| format!("no runtime: {e}"))?;
        Ok(Self { settings, client, runtime })
    }

    fn request(&self, method: reqwest::Method, path: &str) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}{path}", self.settings.api));
        let request = request.bearer_auth(&self.settings.token);
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        });
        let (status, body) = answer.map_err(|e| format!("the API does not answer: {e}"))?;
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        match json["success"].as_bool() {
            Some(true) => Ok(json),
            _ => Err(format!("the API answers {status}: {}", json["errors"])),
        }
    }

    /// The identifier of the zone.
    fn id(&self) -> Result<String, String> {
        let zone = &self.settings.zone;
        let found = self.request(reqwest::Method::GET, &format!("/zones?name={zone}"))?;
        let id = found["result"][0]["id"].as_str();
        id.map(str::to_owned).ok_or_else(|| format!("the token sees no zone {zone}"))
    }

    /// The identifiers of the TXT records of challenges that carry our comment.
    fn list(&self, zone: &str) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        for above in ["", "wrong-token."] {
            let name = format!("_acme-challenge.{above}{}", self.settings.zone);
            let path = format!("/zones/{zone}/dns_records?type=TXT&name={name}");
            let answer = self.request(reqwest::Method::GET, &path)?;
            let ours = answer["result"].as_array().into_iter().flatten().filter(|record| {
                record["comment"].as_str().is_some_and(|comment| comment.starts_with(COMMENT))
            });
            found.extend(ours.filter_map(|record| record["id"].as_str()).map(str::to_owned));
        }
        Ok(found)
    }

    /// The records of ours that are there.
    pub(crate) fn records(&self) -> Result<BTreeSet<String>, String> {
        self.list(&self.id()?)
    }

    /// Removes the records of ours that were not there before; gives how many there were.
    pub(crate) fn clean(&self, before: &BTreeSet<String>) -> Result<usize, String> {
        let zone = self.id()?;
        let now = self.list(&zone)?;
        let left: Vec<_> = now.difference(before).collect();
        for id in &left {
            self.request(reqwest::Method::DELETE, &format!("/zones/{zone}/dns_records/{id}"))?;
        }
        Ok(left.len())
    }
}
