//! PowerDNS, the authoritative server, with zones that are made at run time.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::ports::{self, Port};
use crate::process::{Process, START, read_log, run};
use crate::rt;
use crate::tsig::TsigKey;

/// The key of the HTTP API.
pub const API_KEY: &str = "testbed";
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
/// The HTTP API of PowerDNS.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    fn new(addr: SocketAddr) -> Self {
        let client = rt::http_client(Duration::from_secs(5), None);
        Self { client, base: format!("http://{addr}/api/v1/servers/localhost") }
    }

    /// `Ok(None)` is the answer 404.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Option<Value>, String> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method.clone(), &url).header("X-API-Key", API_KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|e| format!("{method} {url}: {e}"))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| format!("{method} {url}: {e}"))?;
        match status.as_u16() {
            404 => Ok(None),
            200..=299 if text.is_empty() => Ok(Some(Value::Null)),
            200..=299 => serde_json::from_str(&text).map(Some).map_err(|e| format!("{url}: {e}")),
            _ => Err(format!("{method} {url}: {status} {text}")),
        }
    }

    /// Sets all records of the given names and types in one zone.
    pub(crate) async fn set_rrsets(&self, zone: &str, rrsets: &[Rrset]) -> Result<(), String> {
        let rrsets: Vec<Value> = rrsets.iter().map(Rrset::to_json).collect();
        let path = format!("/zones/{}", zone_id(zone));
        match self.call(Method::PATCH, &path, Some(json!({"rrsets": rrsets}))).await? {
            Some(_) => Ok(()),
            None => Err(format!("PowerDNS has no zone {zone}")),
        }
    }
}

/// All records of one name and type; none removes them.
#[derive(Clone, Debug)]
pub(crate) struct Rrset {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ttl: u32,
    pub(crate) contents: Vec<String>,
}

impl Rrset {
    fn to_json(&self) -> Value {
        let records: Vec<Value> =
            self.contents.iter().map(|c| json!({"content": c, "disabled": false})).collect();
        let change = if records.is_empty() { "DELETE" } else { "REPLACE" };
        json!({"name": self.name, "type": self.kind, "ttl": self.ttl, "changetype": change,
               "records": records})
    }
}

/// A running PowerDNS. Nothing is cached: what is written is what the next query sees.
///
/// Names may be given with or without the dot at their end.
#[derive(Debug)]
pub struct PowerDns {
    process: Process,
    dir: PathBuf,
    port: Port,
    web: Port,
    api: Api,
}

impl PowerDns {
    /// Starts a server without zones that keeps its files in `dir`.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let database = dir.join("pdns.sqlite3");
        run(Command::new("sqlite3").arg(&database).arg(format!(".read {SCHEMA}")))
            .unwrap_or_else(|e| panic!("cannot make the database of PowerDNS: {e}"));
        let (port, web) = (Port::reserve(), Port::reserve());
        let process = launch(dir, &port, &web);
        let api = Api::new(web.addr());
        Self { process, dir: dir.to_owned(), port, web, api }
    }

    /// Returns the address that it answers queries at, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the URL of the HTTP API, without the path.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.web.addr())
    }

    pub(crate) fn api(&self) -> Api {
        self.api.clone()
    }

    /// Makes a zone with SOA, `NS ns1.<zone>` and the testbed's address for that; nothing if
    /// the zone is there.
    pub fn create_zone(&self, zone: &str) {
        let zone = &fqdn(zone);
        let path = format!("/zones/{}", zone_id(zone));
        if rt::block_on(self.api.call(Method::GET, &path, None)).is_ok_and(|z| z.is_some()) {
            return;
        }
        // A host has no underscore: a zone such as `_acme-challenge.example.test` has its parent's server.
        let hosts = match zone.split_once('.') {
            Some((label, parent)) if label.starts_with('_') => parent,
            _ => zone,
        };
        let server = format!("ns1.{hosts}");
        // The last figure is the time for which resolvers remember that a name is not there.
        let soa = format!("{server} hostmaster.{zone} 1 3600 600 86400 60");
        let rrset = |name: &str, kind: &str, content: &str| {
            json!({"name": name, "type": kind, "ttl": 60,
                   "records": [{"content": content, "disabled": false}]})
        };
        let mut rrsets = vec![rrset(zone, "SOA", &soa), rrset(zone, "NS", &server)];
        if hosts == zone {
            rrsets.push(rrset(&server, "A", &ports::address().to_string()));
        }
        let body = json!({"name": zone, "kind": "Native", "rrsets": rrsets, "soa_edit_api": ""});
        self.must(Method::POST, "/zones", Some(body));
    }

    /// Makes keys known, and lets the first of them update a zone.
    ///
    /// # Panics
    /// If `pdnsutil` fails.
    pub fn set_update_keys(&self, zone: &str, updater: &TsigKey, others: &[&TsigKey]) {
        let util = |arguments: &[&str]| {
            let mut command = Command::new("/usr/bin/pdnsutil");
            command.arg(format!("--config-dir={}", self.dir.display())).args(arguments);
            run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        };
        for TsigKey { name, algorithm, secret } in others.iter().chain(&[updater]) {
            util(&["import-tsig-key", name, algorithm, secret]);
        }
        util(&["set-meta", zone, "TSIG-ALLOW-DNSUPDATE", &updater.name]);
    }

    /// Removes a zone with all it has.
    pub fn remove_zone(&self, zone: &str) {
        self.must(Method::DELETE, &format!("/zones/{}", zone_id(&fqdn(zone))), None);
    }

    /// The names of all zones, with the dot.
    #[must_use]
    pub fn zones(&self) -> Vec<String> {
        let zones = self.must(Method::GET, "/zones", None);
        let zones = zones.as_array().map(Vec::as_slice).unwrap_or_default();
        zones.iter().filter_map(|zone| Some(zone["name"].as_str()?.to_owned())).collect()
    }

    /// Sets the records of one name and type in the zone that the name belongs to. Contents are
    /// in the presentation format: a TXT value has quotes, a name has its dot.
    pub fn set_rrset(&self, name: &str, kind: &str, contents: &[&str]) {
        self.set_rrset_for(60, name, kind, contents);
    }

    /// Does the same, with a time to live in seconds.
    pub fn set_rrset_for(&self, ttl: u32, name: &str, kind: &str, contents: &[&str]) {
        let name = fqdn(name);
        let zone = self.zone_of(&name);
        let contents = contents.iter().map(|&c| c.to_owned()).collect();
        let rrset = Rrset { name, kind: kind.to_owned(), ttl, contents };
        rt::block_on(self.api.set_rrsets(&zone, &[rrset]))
            .unwrap_or_else(|e| panic!("cannot set records in {zone}: {e}"));
    }

    /// The time to live of an RRset in seconds, and its contents in the presentation format; `None` if there is none.
    #[must_use]
    pub fn rrset(&self, name: &str, kind: &str) -> Option<(u64, Vec<String>)> {
        let name = fqdn(name);
        let path = format!("/zones/{}", zone_id(&self.zone_of(&name)));
        let zone = self.must(Method::GET, &path, None);
        let sets = zone["rrsets"].as_array()?;
        let set = sets.iter().find(|set| set["name"] == *name && set["type"] == kind)?;
        let contents = set["records"].as_array()?.iter().map(|record| &record["content"]);
        let contents = contents.filter_map(|content| content.as_str().map(str::to_owned));
        Some((set["ttl"].as_u64()?, contents.collect()))
    }

    /// Removes the records of one name and type.
    pub fn delete_rrset(&self, name: &str, kind: &str) {
        self.set_rrset(name, kind, &[]);
    }

    /// Makes `name` an alias of `target`.
    pub fn set_cname(&self, name: &str, target: &str) {
        self.set_rrset(name, "CNAME", &[&fqdn(target)]);
    }

    /// The TXT values of a name, without quotes. Aliases are not followed.
    #[must_use]
    pub fn txt_records(&self, name: &str) -> Vec<String> {
        let name = fqdn(name);
        self.all_txt().into_iter().filter(|(n, _)| *n == name).map(|(_, value)| value).collect()
    }

    /// All TXT records of all zones: name with the dot, value without quotes.
    #[must_use]
    pub fn all_txt(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for zone in self.zones() {
            let zone = self.must(Method::GET, &format!("/zones/{}", zone_id(&zone)), None);
            for rrset in zone["rrsets"].as_array().map(Vec::as_slice).unwrap_or_default() {
                if rrset["type"] != "TXT" {
                    continue;
                }
                let name = rrset["name"].as_str().unwrap_or_default();
                for record in rrset["records"].as_array().map(Vec::as_slice).unwrap_or_default() {
                    let content = record["content"].as_str().unwrap_or_default();
                    found.push((name.to_owned(), unquote(content)));
                }
            }
        }
        found
    }

    /// Kills it. [`restart`](Self::restart) brings it back with its zones.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it anew on the same ports with the zones it had.
    pub fn restart(&mut self) {
        self.process.stop();
        self.process = launch(&self.dir, &self.port, &self.web);
    }

    /// Stops it where it is: queries are not answered.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Returns its log; every query is a line.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.dir.join("pdns.log"))
    }

    fn zone_of(&self, name: &str) -> String {
        let zones = self.zones();
        let inside = |zone: &&String| name == *zone || name.ends_with(&format!(".{zone}"));
        match zones.iter().filter(inside).max_by_key(|zone| zone.len()) {
            Some(zone) => zone.clone(),
            None => panic!("no zone of PowerDNS has {name}: {zones:?}"),
        }
    }

    fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        match rt::block_on(self.api.call(method.clone(), path, body)) {
            Ok(Some(value)) => value,
            Ok(None) => panic!("PowerDNS: {method} {path}: not found"),
            Err(e) => panic!("PowerDNS: {e}\n{}", self.log()),
        }
    }
}

fn launch(dir: &Path, port: &Port, web: &Port) -> Process {
    let address = ports::address();
    let config = format!(
        "launch=gsqlite3\n\
         gsqlite3-database={dir}/pdns.sqlite3\n\
         gsqlite3-pragma-synchronous=0\n\
         gsqlite3-dnssec=no\n\
         daemon=no\nguardian=no\ndisable-syslog=yes\nsocket-dir={dir}\n\
         local-address={address}\nlocal-port={dns}\n\
         api=yes\napi-key={API_KEY}\nwebserver=yes\nwebserver-address={address}\n\
         webserver-port={web}\nwebserver-allow-from={address}\nwebserver-loglevel=none\n\
         cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\n\
         zone-metadata-cache-ttl=0\nsecurity-poll-suffix=\nloglevel=5\nlog-dns-queries=yes\n\
         version-string=anonymous\ndnsupdate=yes\nreceiver-threads=1\ndistributor-threads=2\n",
        dir = dir.display(),
        dns = port.number(),
        web = web.number(),
    );
    let path = dir.join("pdns.conf");
    fs::write(&path, config).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    let mut command = Command::new("/usr/sbin/pdns_server");
    command.arg(format!("--config-dir={}", dir.display()));
    let mut process = Process::start(&command, &dir.join("pdns.log"));
    process.wait_for_port(port.addr(), START);
    process.wait_for_port(web.addr(), START);
    process
}

/// The name with the dot at its end, in lower case.
pub(crate) fn fqdn(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

/// PowerDNS's own identifier of a zone in its paths.
fn zone_id(zone: &str) -> String {
    zone.replace('/', "=2F")
}

/// The value of a TXT record in presentation format: its strings joined.
pub(crate) fn unquote(content: &str) -> String {
    if !content.starts_with('"') {
        return content.to_owned();
    }
    let (mut value, mut inside, mut escaped) = (String::new(), false, false);
    for c in content.chars() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => inside = !inside,
            _ if inside => value.push(c),
            _ => {}
        }
    }
    value
}
