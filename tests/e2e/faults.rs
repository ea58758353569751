//! Each fault does what it says, at the stand-in and at the proxy of the authority.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use servers::Testbed;
use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault, Match};
use testbed::clients::certbot;
use testbed::clients::tls::Leaf;

use crate::support::{Api, LONG, block_on, client, try_send};

/// Longer than an answer takes on a busy machine: what hangs has none at all.
const SHORT: Duration = Duration::from_secs(5);

#[test]
fn faults_strike_what_they_match() {
    let bed = Testbed::start();
    let (cloudflare, traffic) = (&bed.cloudflare, &bed.cloudflare.traffic);
    let api = Api::new(cloudflare.api_url(), bed.token());
    let records = format!("/zones/{}/dns_records", cloudflare.zone_id("example.test"));
    let posts = || Match::new(Method::POST, "/dns_records");
    let body = |content: &str| json!({"type": "TXT", "name": "a", "content": content});
    let post = |content: &str| {
        let request = api.request(Method::POST, &records).bearer_auth(bed.token());
        try_send(request.json(&body(content)).timeout(SHORT))
    };

    let status = |status, retry_after| Action::Status { status, retry_after };
    traffic.inject(Fault::new(posts(), status(429, Some(7))).after(1).times(2));
    assert_eq!(post("first is spared").map(|a| a.status).ok(), Some(200));
    api.get(&records).result();
    for _ in 0..2 {
        let answer = post("throttled").expect("an answer");
        assert_eq!((answer.error(), answer.retry_after), ((429, 971), Some(7)));
    }
    traffic.inject(Fault::new(posts(), status(502, None)));
    let answer = post("gateway").expect("an answer");
    assert_eq!((answer.status, answer.json), (502, serde_json::Value::Null), "a page, not JSON");
    let error = Action::Error { status: 403, code: 10000, message: "Authentication error".into() };
    traffic.inject(Fault::new(posts().body("refused"), error));
    assert_eq!(post("refused").expect("an answer").error(), (403, 10000));
    traffic.inject(Fault::new(posts(), Action::Hang));
    assert!(post("hangs").expect_err("no answer").is_timeout());
    traffic.inject(Fault::new(posts(), Action::Drop));
    assert!(!post("dropped").expect_err("no answer").is_timeout());
    traffic.inject(Fault::new(posts(), Action::Garbage));
    let answer = post("garbage").expect("an answer");
    assert_eq!((answer.status, answer.json), (200, serde_json::Value::Null));
    let values = || cloudflare.txt_records().iter().map(|r| r.value()).collect::<Vec<_>>();
    assert_eq!(values(), ["first is spared"], "nothing of all this was done");

    traffic.inject(Fault::new(posts(), Action::LostAnswer));
    assert!(!post("lost").expect_err("no answer").is_timeout());
    assert_eq!(values(), ["first is spared", "lost"], "that was done");
    traffic.inject(Fault::new(posts(), Action::Delay(Duration::from_millis(200))));
    let start = Instant::now();
    assert_eq!(post("late").expect("an answer").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    let change = Action::rewrite(|reply| reply.status = 599);
    traffic.inject(Fault::new(posts(), change).always());
    assert_eq!(post("rewritten").expect("an answer").status, 599);
    assert_eq!(post("again").expect("an answer").status, 599);
    traffic.clear_faults();
    assert_eq!(post("well").expect("an answer").status, 200);
    let log = traffic.requests(&posts().body("lost"));
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].status, &log[0].json()["name"]), (None, &json!("a")));
}

#[test]
fn gate_holds_requests_and_their_answers() {
    let bed = Testbed::start();
    let (cloudflare, traffic) = (&bed.cloudflare, &bed.cloudflare.traffic);
    let path = format!("/zones/{}/dns_records", cloudflare.zone_id("example.test"));
    let posts = || Match::new(Method::POST, "/dns_records");
    let post = |content: &str| {
        let api = Api::new(cloudflare.api_url(), bed.token());
        let (path, body) = (path.clone(), json!({"type":"TXT","name":"a","content":content}));
        std::thread::spawn(move || api.post(&path, &body).status)
    };
    let gate = traffic.hold(posts());
    let client = post("held");
    let seen = gate.wait(LONG);
    assert_eq!(seen.json()["content"], "held");
    assert_eq!((gate.arrived(), cloudflare.txt_records().len()), (1, 0), "not done yet");
    gate.release();
    assert_eq!(client.join().ok(), Some(200));

    let gate = traffic.hold_answer(posts());
    let client = post("answer held");
    gate.wait(LONG);
    assert_eq!(cloudflare.txt_records().len(), 2, "done, but not answered");
    assert!(!client.is_finished());
    drop(gate);
    assert_eq!(client.join().ok(), Some(200));
    traffic.wait_for_requests(&posts(), 2, LONG);
}

#[test]
fn stopped_servers_come_back_with_what_they_had() {
    let mut bed = Testbed::start();
    let api = Api::new(bed.cloudflare.api_url(), bed.token());
    let zone = format!("/zones/{}", bed.cloudflare.zone_id("example.test"));
    bed.cloudflare.stop();
    let request = api.request(Method::GET, &zone).bearer_auth(bed.token());
    assert!(try_send(request).is_err(), "nothing listens");
    bed.cloudflare.restart();
    api.get(&zone).result();
    bed.dns.set_rrset("a.example.test", "TXT", &["\"kept\""]);
    bed.dns.restart();
    assert_eq!(bed.dns.txt_records("a.example.test"), ["kept"]);
}

#[test]
fn an_order_goes_through_the_proxy_step_by_step() {
    let bed = Testbed::start();
    let proxy = bed.acme_proxy();
    let chain = certbot::obtain(&bed, &proxy.directory_url(), proxy.ca_file(), &["example.test"])
        .unwrap_or_else(|e| panic!("{e}\n{}", proxy.traffic.summary()));
    let leaf = Leaf::from_pem(&std::fs::read(chain).expect("a certificate")).expect("readable");
    assert_eq!(leaf.sans, ["example.test"]);
    for step in AcmeStep::ISSUANCE {
        assert_ne!(proxy.traffic.count(&step.requests()), 0, "{step:?}");
    }
    let order = proxy.traffic.wait_for_request(&AcmeStep::NewOrder.requests(), LONG);
    let identifiers = json!([{"type": "dns", "value": "example.test"}]);
    assert_eq!(order.jws_payload()["identifiers"], identifiers);
    assert!(order.jws_header()["url"].as_str().is_some_and(|url| url.ends_with("/order-plz")));
}

#[test]
fn the_proxy_answers_with_problems_and_drops() {
    let bed = Testbed::start();
    let mut proxy = bed.acme_proxy();
    let ca = std::fs::read(proxy.ca_file()).expect("the authority is there");
    let client = client(Some(&ca));
    let url = proxy.directory_url();
    let get = || {
        block_on(async {
            let response = client.get(&url).timeout(SHORT).send().await?;
            let kind = response.headers().get("content-type").cloned();
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, kind, response.text().await?))
        })
    };
    let (status, _, text) = get().expect("the directory");
    assert_eq!(status, 200);
    let base = url.trim_end_matches("/dir");
    assert!(text.contains(&format!("{base}/order-plz")), "URLs stay with the proxy: {text}");

    let problem = Action::Problem {
        status: 429,
        kind: "rateLimited".into(),
        detail: "slower".into(),
        retry_after: Some(3),
    };
    proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), problem));
    let (status, kind, text) = get().expect("a problem");
    assert_eq!(
        (status, kind.as_ref().map(|k| k.as_bytes())),
        (429, Some(&b"application/problem+json"[..]))
    );
    assert!(text.contains("urn:ietf:params:acme:error:rateLimited"), "{text}");
    proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), Action::Drop));
    assert!(get().is_err());
    proxy.stop();
    assert!(get().is_err(), "nothing listens");
    proxy.restart();
    assert_eq!(get().expect("the directory").0, 200);
}
