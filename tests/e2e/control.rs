//! Renewals that are asked for at the status page: who is heard, how often, and what a worker in the hands of somebody
//! else gains.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use reqwest::{Client, redirect};
use rustix::process::Signal;
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use testbed::measurements::proc;

use crate::site::{LIMIT, Site};
use crate::support::block_on;

const NAME: &str = "example.test";
const OTHER: &str = "b.example.test";

/// A site whose status takes requests, and who makes them.
struct Bed {
    site: Site,
    client: Client,
    port: Port,
}

/// An answer: its status, a header or two, and its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    location: String,
    retry_after: u64,
    body: String,
}

impl Answer {
    fn result(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["result"].as_str().unwrap_or(&self.body).to_owned()
    }
}

impl Bed {
    fn start() -> Self {
        let mut bed = Self::new();
        bed.site.start_nginx();
        bed.wait_until_valid();
        bed
    }

    fn new() -> Self {
        let (mut site, port) = (Site::new(), Port::reserve());
        site.http = format!(
            "server {{ listen {}; location /acme {{ acme_dns_status control=on; }} \
             location /closed {{ acme_dns_status; }} }}",
            port.addr()
        );
        site.set_servers(&[NAME, OTHER]);
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none());
        Self { site, client: client.build().expect("a client"), port }
    }

    fn wait_until_valid(&self) {
        let is_valid = || (self.status()["totals"]["valid"] == 2).then_some(());
        wait_until(LIMIT, is_valid).unwrap_or_else(|| panic!("{}", self.site.nginx.log()));
        self.site.wait_until_clean();
    }

    fn status(&self) -> Value {
        self.one("/acme", "")
    }

    fn one(&self, location: &str, name: &str) -> Value {
        let url = format!("http://{}{location}{name}", self.port.addr());
        let text = block_on(async { self.client.get(url).send().await?.text().await });
        serde_json::from_str(&text.expect("it answers")).expect("it is JSON")
    }

    fn token(&self, name: &str) -> String {
        let token = &self.one("/acme/", name)["renewToken"];
        token.as_str().expect("a token").to_owned()
    }

    /// Posts a body with these headers.
    fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("http://{}{path}", self.port.addr());
        let mut request = self.client.post(url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        block_on(async {
            let response = request.send().await.expect("it answers");
            let header = |name: &str| {
                let value = response.headers().get(name);
                value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
            };
            Answer {
                status: response.status().as_u16(),
                location: header("location"),
                retry_after: header("retry-after").parse().unwrap_or_default(),
                body: response.text().await.expect("a body"),
            }
        })
    }

    /// Posts the form of a certificate's button, as a program.
    fn ask(&self, name: &str, token: &str, more: &[(&str, &str)]) -> Answer {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let headers: Vec<_> = [kind].into_iter().chain(more.iter().copied()).collect();
        self.post("/acme", &format!("renew={name}&token={token}"), &headers)
    }

    fn orders(&self) -> usize {
        self.site.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    fn state(&self, name: &str) -> String {
        let state = &self.one("/acme/", name)["requested"]["state"];
        state.as_str().unwrap_or_default().to_owned()
    }

    /// Sets all bits of all workers' requests, as somebody does who has taken over a worker.
    fn flood(&self) {
        let worker = self.site.nginx.worker_pids()[0];
        let maps = fs::read_to_string(format!("/proc/{worker}/maps")).expect("its memory");
        let line = maps.lines().find(|line| line.contains("acme_dns_requests")).expect("a mapping");
        let (begin, _) = line.split_once('-').expect("a range");
        let begin = u64::from_str_radix(begin, 16).expect("an address");
        let memory = OpenOptions::new().write(true).open(format!("/proc/{worker}/mem"));
        memory.and_then(|it| it.write_all_at(&[0xff; 8], begin)).expect("root may do that");
    }
}

#[test]
fn a_button_renews_a_certificate_once_an_hour() {
    let mut bed = Bed::start();
    let first = bed.site.served(NAME).serial;
    let token = bed.token(NAME);
    let answer = bed.ask(NAME, &token, &[("Accept", "application/json")]);
    assert_eq!((answer.status, answer.result().as_str()), (202, "accepted"), "{answer:?}");
    bed.site.nginx.wait_for_log(
        &format!("certificate \"{NAME}\" is renewed now, the status page has asked for it"),
        LIMIT,
    );
    let second = bed.site.wait_for_other(NAME, &first).leaf.serial;
    bed.site.nginx.wait_for_log(&format!("\"actions/request-{NAME}\" is done"), LIMIT);
    assert_eq!(bed.site.entries("actions"), [""; 0]);
    let again = bed.ask(NAME, &token, &[]);
    assert_eq!((again.status, again.result().as_str()), (429, "asked"), "{again:?}");
    assert!((3000..=3600).contains(&again.retry_after), "{again:?}");

    // It is remembered by the next service, also by that of the next configuration, whose tokens are the same.
    proc::kill(bed.site.nginx.wait_for_helper(), Signal::KILL);
    let helper = bed.site.nginx.wait_for_helper();
    bed.site.reload();
    bed.site.wait_for_other_helper(&[helper]);
    let works = || (bed.status()["helper"]["state"] == "working").then_some(());
    wait_until(LIMIT, works).expect("it works");
    assert_eq!(bed.ask(NAME, &token, &[]).result(), "asked");
    bed.flood();
    bed.site.nginx.wait_for_log(&format!("certificate \"{OTHER}\" is renewed now"), LIMIT);
    assert_eq!(bed.site.served(NAME).serial, second, "it has been renewed this hour");
}

#[test]
fn a_browser_is_led_back_and_told() {
    let bed = Bed::start();
    let token = bed.token(OTHER);
    let address = bed.port.addr();
    let origin = format!("http://{address}");
    let browser = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "text/html,*/*;q=0.8"),
        ("Origin", origin.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let form = format!("renew={OTHER}&token={token}");
    let answer = bed.post("/acme?state=valid&refresh=off", &form, &browser);
    let expected = format!("?state=valid&refresh=off&asked={OTHER}");
    assert_eq!((answer.status, answer.location), (303, expected));
    let url = format!("http://{address}/acme?asked={OTHER}");
    let page = bed.client.get(url).header("Accept", "text/html").send();
    let page = block_on(async { page.await?.text().await }).expect("a page");
    let told = format!(
        "<p role=\"status\" class=\"told\"><bdi>{OTHER}</bdi>: A renewal was asked for here, "
    );
    assert!(page.contains(&told), "{page}");
    assert!(page.contains("<form method=\"post\">"), "the other one has a button: {page}");
    let refused = bed.post("/acme", "renew=x&token=y", &browser);
    assert!(refused.status == 403 && refused.body.contains("<h1>Not renewed</h1>"), "{refused:?}");
}

#[test]
fn who_is_not_the_page_is_not_heard() {
    let bed = Bed::start();
    let (orders, token) = (bed.orders(), bed.token(NAME));
    let origin = format!("http://{}", bed.port.addr());
    for (row, headers, name, given, expected) in [
        ("another site", vec![("Origin", "http://evil.example")], NAME, &*token, (403, "foreign")),
        ("a frame", vec![("Origin", "null")], NAME, &token, (403, "foreign")),
        (
            "the browser says so",
            vec![("Origin", origin.as_str()), ("Sec-Fetch-Site", "cross-site")],
            NAME,
            &token,
            (403, "foreign"),
        ),
        ("no token", vec![], NAME, "", (403, "stale")),
        ("a wrong token", vec![], NAME, "00112233445566778899aabbccddeeff", (403, "stale")),
        ("that of another", vec![], OTHER, &token, (403, "stale")),
        ("no certificate", vec![], "nobody.test", &token, (403, "stale")),
    ] {
        let answer = bed.ask(name, given, &headers);
        assert_eq!((answer.status, answer.result().as_str()), expected, "{row}: {answer:?}");
    }
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let long = "x".repeat(3000);
    let chunks = [form, ("Transfer-Encoding", "chunked")];
    for (row, body, headers, expected) in [
        ("no fields", "", &[form][..], (400, "no_form")),
        ("one more", &*format!("renew={NAME}&token={token}&x=1"), &[form], (400, "no_form")),
        ("JSON", "{}", &[("Content-Type", "application/json")], (400, "no_form")),
        ("nothing said", &format!("renew={NAME}&token={token}"), &[], (400, "no_form")),
        ("long", &long, &[form], (413, "too_long")),
        ("long without a length", &long, &chunks, (413, "too_long")),
    ] {
        let answer = bed.post("/acme", body, headers);
        assert_eq!((answer.status, answer.result().as_str()), expected, "{row}: {answer:?}");
    }
    let closed = bed.post("/closed", &format!("renew={NAME}&token={token}"), &[form]);
    assert_eq!(closed.status, 405, "{closed:?}");
    assert_eq!(bed.one("/closed/", NAME)["renewToken"], Value::Null);
    assert_eq!((bed.orders(), bed.state(NAME)), (orders, String::new()));
}

#[test]
fn a_pause_of_the_ca_holds_whoever_asks() {
    let mut bed = Bed::new();
    let wait = Action::Status { status: 503, retry_after: Some(7200) };
    bed.site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), wait).times(2));
    bed.site.start_nginx();
    let has_failed = || (bed.status()["totals"]["failing"] == 2).then_some(());
    wait_until(LIMIT, has_failed).unwrap_or_else(|| panic!("{}", bed.site.nginx.log()));
    let orders = bed.orders();
    for name in [NAME, OTHER] {
        let answer = bed.ask(name, &bed.token(name), &[]);
        assert_eq!((answer.status, answer.result().as_str()), (429, "held"), "{answer:?}");
        assert!((7000..=7200).contains(&answer.retry_after), "{answer:?}");
    }

    // A worker that does not ask itself is answered by the service, with one line however often it asks.
    let line = |name| {
        format!("certificate \"{name}\" is not renewed now, as the status page has asked: the CA")
    };
    for _ in 0..3 {
        bed.flood();
        for name in [NAME, OTHER] {
            let is_taken = || (bed.state(name) == "refused").then_some(());
            wait_until(LIMIT, is_taken).expect("it is looked at");
        }
    }
    for name in [NAME, OTHER] {
        bed.site.nginx.wait_for_log(&line(name), LIMIT);
        assert_eq!(bed.site.nginx.log().matches(&line(name)).count(), 1);
    }
    assert_eq!((bed.orders(), bed.site.entries("actions")), (orders, vec![]));
}
