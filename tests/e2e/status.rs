//! The status: what a location with `acme_dns_status` says, to whom, and what never.

mod shared;
mod states;

use std::fs;
use std::path::Path;

use openssl::sha::sha256;
use reqwest::{Client, Method, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use servers::pebble::PebbleOptions;
use servers::ports::Port;
use servers::process::wait_until;
use servers::promtool;
use testbed::measurements::proc;

use crate::lone::Lone;
use crate::secrets::key_material;
use crate::site::{LIMIT, Site};
use crate::support::{block_on, client};

const NAME: &str = "example.test";

/// The locations of a site.
const LOCATIONS: &str = "
    location /acme { acme_dns_status; }
    location = /metrics { acme_dns_status prometheus; }
    location /json/ { acme_dns_status json; gzip on; gzip_types application/json; gzip_min_length 0; }
    location /closed { acme_dns_status; allow 127.0.0.2; deny all; }
";

/// A site, and who asks it for its status.
struct Shown {
    site: Site,
    client: Client,
    port: Port,
}

/// An answer.
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("it is text")
    }

    fn json(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"));
        serde_json::from_slice(&self.body).expect("it is JSON")
    }
}

impl Shown {
    fn new(servers: &[&str]) -> Self {
        Self::with(servers, |options| options)
    }

    /// The same with another Pebble.
    fn with(servers: &[&str], change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        let (mut site, port) = (Site::with(change), Port::reserve());
        site.http = format!("server {{ listen {}; {LOCATIONS} }}", port.addr());
        site.nginx.workers(2);
        site.set_servers(servers);
        Self { site, client: client(None), port }
    }

    fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("http://{}{path}", self.port.addr());
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        block_on(async {
            let response: Response = request.send().await.expect("it answers");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.expect("all of it").to_vec();
            Answer { status, headers, body }
        })
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[])
    }

    /// As a browser asks.
    fn page(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")])
    }

    fn status(&self) -> Value {
        self.get("/acme").json()
    }

    /// Waits until the first certificate is in a state; returns the status.
    fn wait_for(&self, state: &str) -> Value {
        let is_it = || Some(self.status()).filter(|it| it["certificates"][0]["state"] == state);
        wait_until(LIMIT, is_it).unwrap_or_else(|| panic!("{:#}", self.status()))
    }

    /// Everything that is shown, in all forms.
    fn everything(&self) -> String {
        let own = ["/acme", "/metrics", "/json/", &format!("/acme/{NAME}")];
        own.map(|it| self.get(it).text()).concat() + &self.page("/acme").text()
    }
}

/// The value of a sample.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(value.parse().expect("a number"))
}

#[test]
fn a_certificate_is_followed_from_its_first_failure_to_its_renewal() {
    let mut shown = Shown::new(&["example.test *.example.test"]);
    let token = fs::read_to_string(shown.site.bed.token_file()).expect("the token");
    fs::write(shown.site.bed.token_file(), "A".repeat(40)).expect("it can be written");
    shown.site.start_nginx();

    let status = shown.wait_for("failing");
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["sans"], json!([NAME, "*.example.test"]));
    assert_eq!((&certificate["served"], &certificate["failures"]), (&json!("none"), &json!(1)));
    let error = &certificate["lastError"];
    let text = error["text"].as_str().expect("a text");
    assert!(text.contains("check that the token is valid"), "{text}");
    assert_eq!(error["remedy"], "reload");
    assert_eq!(certificate["next"]["reason"], "retry");
    assert!(certificate["next"]["at"].as_str() > error["at"].as_str(), "{certificate:#}");
    assert_eq!(certificate["variants"][0]["certificate"], Value::Null);
    assert_eq!(
        status["totals"],
        json!({"total": 1, "valid": 0, "expired": 0, "none": 1, "issuing": 0, "waiting": 0, "failing": 1,
            "revoked": 0})
    );
    assert_eq!(status["issuers"][0]["attempts"], json!({"ok": 0, "failed": 1}));
    let helper = &status["helper"];
    assert_eq!((&helper["up"], &helper["state"]), (&json!(true), &json!("working")));
    assert_eq!(helper["pid"], shown.site.nginx.wait_for_helper());
    let metrics = shown.get("/metrics").text();
    promtool::check_metrics(&metrics).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sample(&metrics, "acme_dns_consecutive_failures{name=\"example.test\"}"), Some(1.0));

    // The next service has the token; what the one before has counted counts on.
    fs::write(shown.site.bed.token_file(), &token).expect("it can be written");
    shown.site.reload();
    let leaf = shown.site.wait_for_certificate(NAME).leaf;
    let status = shown.wait_for("valid");
    let certificate = &status["certificates"][0];
    assert_eq!((&certificate["failures"], &certificate["lastError"]), (&json!(0), &Value::Null));
    let served = &certificate["variants"][0]["certificate"];
    let fingerprint: String = sha256(&leaf.der).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(served["certFingerprint"], fingerprint);
    assert_eq!(served["serialNumber"], leaf.serial.to_lowercase());
    assert_eq!((&served["issuer"], &served["source"]), (&json!("pebble"), &json!("issued")));
    assert!(served["issuerCN"].as_str().is_some_and(|name| name.contains("Pebble")), "{served}");
    let (from, to) = (served["notBefore"].as_str(), served["notAfter"].as_str());
    let next = certificate["next"]["at"].as_str();
    assert!(from < next && next < to, "{certificate:#}");
    assert_eq!(status["issuers"][0]["attempts"], json!({"ok": 1, "failed": 1}));
    shown.site.wait_until_clean();

    // A helper that was killed takes nothing along.
    let helper = shown.site.nginx.wait_for_helper();
    proc::kill(helper, Signal::KILL);
    let second = shown.site.wait_for_other_helper(&[helper]);
    let is_shown = || {
        let status = shown.status();
        (status["helper"]["pid"] == second && status["helper"]["state"] == "working")
            .then_some(status)
    };
    let status = wait_until(LIMIT, is_shown).unwrap_or_else(|| panic!("{:#}", shown.status()));
    assert_eq!(status["issuers"][0]["attempts"], json!({"ok": 1, "failed": 1}));
    assert_eq!(status["certificates"][0]["state"], "valid");
    let metrics = shown.get("/metrics").text();
    promtool::check_metrics(&metrics).unwrap_or_else(|error| panic!("{error}"));
    for (name, value) in [
        ("helper_up", 1.0),
        ("certificates{state=\"valid\"}", 1.0),
        ("certificate_state{name=\"example.test\",state=\"valid\"}", 1.0),
        ("attempts_total{issuer=\"pebble\",result=\"failed\"}", 1.0),
        ("ca_requests_total{issuer=\"pebble\",action=\"newOrder\",code=\"201\"}", 1.0),
        ("issuance_duration_seconds_count{phase=\"validation\"}", 1.0),
        ("txt_records{provider=\"cloudflare\"}", 0.0),
    ] {
        assert_eq!(
            sample(&metrics, &format!("acme_dns_{name}")),
            Some(value),
            "{name} in {metrics}"
        );
    }

    let everything = shown.everything();
    let mut secrets = key_material(&shown.site.state());
    secrets.extend([token.trim().to_owned(), "PRIVATE KEY".to_owned(), "A".repeat(40)]);
    for secret in secrets {
        assert!(!everything.contains(&secret), "the status has {secret}");
    }
}

#[test]
fn a_response_is_as_http_wants_it() {
    let mut shown = Shown::new(&[NAME, "b.example.test"]);
    shown.site.start_nginx();
    shown.site.wait_for_certificate(NAME);
    shown.site.wait_for_certificate("b.example.test");
    let settled = || Some(shown.status()).filter(|status| status["totals"]["valid"] == 2);
    assert!(wait_until(LIMIT, settled).is_some(), "{:#}", shown.status());
    shown.site.wait_until_clean();

    let page = shown.get("/acme");
    assert_eq!(page.header("vary"), "Accept");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.json()["certificates"].as_array().map(Vec::len), Some(2));

    let head = shown.ask(Method::HEAD, "/acme", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), page.body.len().to_string());

    let tag = shown.get("/acme").header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let same = shown.ask(Method::GET, "/acme", &[("If-None-Match", &tag)]);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, tag.as_str()));
    let other = shown.ask(Method::GET, "/acme", &[("If-None-Match", "W/\"0\"")]);
    assert_eq!(other.status, 200);

    for (accept, kind) in [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/json", "application/json"),
    ] {
        let answer = shown.ask(Method::GET, "/acme", &[("Accept", accept)]);
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{accept}");
    }
    let zipped = shown.ask(Method::GET, "/json/", &[("Accept-Encoding", "gzip")]);
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, "gzip"));
    assert!(zipped.header("etag").starts_with("W/\""), "{}", zipped.header("etag"));

    for path in ["/acme/b.example.test", "/json/b.example.test"] {
        let one = shown.get(path).json();
        assert_eq!(
            (&one["name"], &one["version"]),
            (&json!("b.example.test"), &json!(1)),
            "{path}"
        );
    }
    let found = shown.get("/acme?q=b.ex&state=valid").json();
    assert_eq!((&found["listing"]["matching"], &found["totals"]["total"]), (&json!(1), &json!(2)));
    let second = shown.get("/acme?size=1&page=2").json();
    assert_eq!((&second["listing"]["page"], &second["listing"]["pages"]), (&json!(2), &json!(2)));
    let plain = shown.ask(Method::GET, "/acme/b.example.test", &[("Accept", "text/plain")]).text();
    promtool::check_metrics(&plain).unwrap_or_else(|error| panic!("{error}"));
    assert!(plain.contains("b.example.test") && !plain.contains("helper_up"), "{plain}");

    for (path, status) in [
        ("/acme/nobody.example.test", 404),
        ("/acme/b.example.test/more", 404),
        ("/acme/%00", 400),
        ("/closed", 403),
        ("/closed/b.example.test", 403),
    ] {
        assert_eq!(shown.get(path).status, status, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = shown.ask(method.clone(), "/acme", &[]);
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"), "{method}");
    }
}

#[test]
fn mistakes_are_refused() {
    let server = "server { listen LISTEN ssl; server_name a.test; acme_dns on; LOCATION }";
    for (row, http, expected) in [
        ("form", "location / { acme_dns_status xml; }", "invalid parameter \"xml\""),
        (
            "two forms",
            "location / { acme_dns_status json prometheus; }",
            "invalid parameter \"prometheus\"",
        ),
        ("three", "location / { acme_dns_status json html x; }", "invalid number of arguments"),
        (
            "control",
            "location / { acme_dns_status control=yes; }",
            "invalid parameter \"control=yes\"",
        ),
        (
            "control twice",
            "location / { acme_dns_status control=on control=off; }",
            "invalid parameter \"control=off\"",
        ),
        (
            "nobody to press a button",
            "location / { acme_dns_status control=on prometheus; }",
            "\"control=on\" is for people and programs, not for Prometheus",
        ),
        ("twice", "location / { acme_dns_status; acme_dns_status; }", "directive is duplicate"),
        ("server", "acme_dns_status;", "directive is not allowed here"),
    ] {
        let mut lone = Lone::new();
        lone.set(&format!("{}{}", Lone::DEFINITIONS, server.replace("LOCATION", http)));
        let (is_good, said) = lone.nginx.test();
        assert!(!is_good && said.contains(expected), "{row}: {said}");
    }
    let mut lone = Lone::new();
    lone.set("server { listen OTHER; location / { acme_dns_status; } }");
    let (is_good, said) = lone.nginx.test();
    let expected = "\"acme_dns_status\" has nothing to show, no server has \"acme_dns\" in ";
    assert!(!is_good && said.contains(expected), "{said}");
}

#[test]
fn alerts_are_raised_when_they_should_be() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    let checked = promtool::check_rules(&rules.join("acme_dns.rules.yml"));
    checked.unwrap_or_else(|error| panic!("{error}"));
    for file in ["acme_dns.rules.test.yml", "acme_dns.lifetimes.test.yml"] {
        promtool::test_rules(&rules.join(file)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_browser_gets_a_page_that_loads_nothing_else() {
    let mut shown = Shown::new(&[NAME]);
    shown.site.start_nginx();
    shown.wait_for("valid");
    let page = shown.page("/acme");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("refresh"), page.header("x-content-type-options")), ("60", "nosniff"));
    let html = page.text();
    assert!(html.contains("<h1>The certificate is valid</h1>"), "{html}");
    let (begin, end) =
        (html.find("<style>").expect("a style"), html.find("</style>").expect("its end"));
    let style = openssl::base64::encode_block(&sha256(&html.as_bytes()[begin + 7..end]));
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("style-src 'sha256-{style}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let one = shown.page(&format!("/acme/{NAME}?q=nothing"));
    assert!(one.text().contains("<bdi>example.test</bdi></h2>"), "{}", one.text());
    let tag = page.header("etag").to_owned();
    let again = [("Accept", "text/html"), ("If-None-Match", tag.as_str())];
    let again = shown.ask(Method::GET, "/acme", &again);
    assert!(again.status == 304 || again.header("etag") != tag, "{}", again.status);
    assert_eq!(
        shown.page("/metrics").header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
}
