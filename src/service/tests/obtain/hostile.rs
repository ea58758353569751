//! A CA that asks for more than was ordered, and state files that somebody else has written.

use super::support::{Bed, CERTIFICATE, ISSUER, VARIANT};
use acme_dns_core::challenge::{Candidate, Mark};
use acme_dns_core::config::Provider;
use acme_dns_core::id::{ProviderId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::FailureKind;
use acme_dns_service::acme::{KeyChoice, Leftovers, ObtainError};
use acme_dns_service::dns::{
    DnsProvider, PlacedRecord, ProviderError, Rule, SparedRecord, TxtRecord, Zone,
};
use acme_dns_service::event::{Event, OrderEvent, RecordsEvent, Subject};
use acme_dns_service::resolver::Resolver;
use acme_dns_service::store::{JournalEntry, PendingOrder};
use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault, Match, Reply};
use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::rc::Rc;

/// A value as a challenge has it.
const VALUE: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
const NAME: &str = "_acme-challenge.example.test";

/// Changes the JSON of an answer that is no refusal.
pub(crate) fn change(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Action {
    Action::rewrite(move |reply| {
        if reply.status >= 400 {
            return;
        }
        let mut json: Value = serde_json::from_slice(&reply.body).unwrap();
        change(&mut json);
        reply.body = serde_json::to_vec(&json).unwrap().into();
    })
}

impl Bed {
    /// Strikes every request of a step until the faults are cleared.
    fn strike(&self, step: AcmeStep, action: Action) {
        self.proxy.traffic.inject(Fault::new(step.requests(), action).always());
    }

    /// The authorizations that were deactivated, by the paths of their URLs.
    fn deactivated(&self) -> Vec<String> {
        let requests = self.proxy.traffic.requests(&AcmeStep::Authorization.requests());
        let given_up = requests.iter().filter(|r| r.jws_payload()["status"] == "deactivated");
        given_up.map(|r| r.request.path.clone()).collect()
    }

    /// The URLs of the authorizations of the last order that was placed.
    fn authorizations(&self) -> Vec<String> {
        let orders = self.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
        let body = orders.last().unwrap().reply.as_ref().unwrap().body.clone();
        let json: Value = serde_json::from_slice(&body).unwrap();
        let urls = json["authorizations"].as_array().unwrap().iter();
        urls.map(|url| url.as_str().unwrap().to_owned()).collect()
    }

    /// Leaves an order of another certificate pending: gives it, and forgets everything else of it.
    fn pending(&mut self, name: &str) -> PendingOrder {
        let before = self.config.clone();
        let variant = before.variants.next_id();
        self.add(name, &[name]);
        self.strike(AcmeStep::Challenge, Action::Status { status: 502, retry_after: None });
        let obtained = self
            .run(async |obtainer| obtainer.obtain(variant, ISSUER, KeyChoice::Configured).await);
        obtained.unwrap_err();
        self.proxy.traffic.clear_faults();
        self.config = before;
        let pending = self.store().load_order(name).unwrap().unwrap();
        self.store().remove_order(name).unwrap();
        self.testbed.cloudflare.traffic.clear_log();
        pending
    }

    /// The bodies of all requests that create records.
    fn created(&self) -> String {
        let posts = self.testbed.cloudflare.traffic.requests(&Match::any().method(Method::POST));
        posts.iter().map(servers::traffic::Logged::body).collect()
    }

    /// Nothing was written or answered, and the order is given up.
    fn assert_refused(&self, error: &ObtainError, name: &str, row: &str) {
        let expected = format!(
            "the order was given up: it has an authorization for \"{name}\", which was not ordered"
        );
        assert_eq!(error.to_string(), expected, "{row}");
        assert_eq!(error.failure().kind, FailureKind::Temporary, "{row}");
        assert_eq!(self.created(), "", "{row}");
        assert_eq!(self.proxy.traffic.count(&AcmeStep::Challenge.requests()), 0, "{row}");
        assert_eq!(self.entries("orders"), [""; 0], "{row}");
        self.assert_clean();
    }

    fn create(&self, kind: &str, name: &str, content: &str, comment: Option<&str>) -> String {
        let zone = self.testbed.cloudflare.zone_id("example.test");
        let url = format!("{}/zones/{zone}/dns_records", self.testbed.cloudflare.api_url());
        let body = json!({
            "type": kind, "name": name, "content": content, "ttl": 60, "comment": comment
        });
        let token = self.testbed.token();
        let answer = self.run(async |_| {
            let request = reqwest::Client::new().post(url).bearer_auth(token).json(&body);
            request.send().await.unwrap().bytes().await.unwrap()
        });
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["result"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn entry(&self, name: &str, value: &str, id: Option<&str>) -> JournalEntry {
        let record = TxtRecord { name: name.into(), value: value.into() };
        let id_of_zone = self.testbed.cloudflare.zone_id("example.test");
        let zone = Zone { id: id_of_zone, name: "example.test".into() };
        let records = vec![PlacedRecord { record, zone, id: id.map(Into::into) }];
        JournalEntry::of("cloudflare", records)
    }

    fn clean(&self) -> Leftovers {
        self.run(async |obtainer| obtainer.clean_journal().await)
    }
}

/// Says whether an order of before was not resumed for a reason that has this text.
fn is_not_resumed(event: &Event, reason: &str) -> bool {
    matches!(event, Event::Order(_, OrderEvent::NotResumed { why, .. }) if why.contains(reason))
}

#[test]
fn a_forged_order_for_another_name_writes_nothing_and_is_placed_anew() {
    let mut bed = Bed::start();
    let forged = bed.pending("admin.deep.example.test");
    let names = vec!["example.test".into(), "*.example.test".into()];
    bed.store().save_order("example.test", &PendingOrder { names, ..forged }).unwrap();
    bed.proxy.traffic.clear_log();
    bed.obtain().unwrap();
    assert_eq!(bed.deactivated().len(), 1, "that of the forged order");
    assert!(!bed.created().contains("deep"));
    let expected = "it has an authorization for \"admin.deep.example.test\", which was not ordered";
    assert!(
        bed.log.has(|event| is_not_resumed(event, expected)),
        "{:#?}",
        bed.log.events(Level::Warn)
    );
    bed.assert_clean();
}

#[test]
fn a_pending_authorization_that_the_ca_adds_ends_the_order() {
    let mut bed = Bed::start();
    bed.pending("admin.example.test");
    let more = bed.authorizations().pop().unwrap();
    bed.proxy.traffic.clear_log();
    let added = change(move |json| {
        json["authorizations"].as_array_mut().unwrap().push(more.clone().into());
    });
    bed.strike(AcmeStep::NewOrder, added);
    let error = bed.obtain_error();
    bed.assert_refused(&error, "admin.example.test", "added");
    assert_eq!(bed.deactivated().len(), 3, "ours and the other one");
    bed.proxy.traffic.clear_faults();
    bed.obtain().unwrap();
    bed.assert_clean();
}

#[test]
fn an_authorization_of_another_name_than_ordered_ends_the_order_and_the_probe() {
    let mut bed = Bed::start();
    bed.config.issuers[ISSUER].staging = Some(bed.proxy.directory_url());
    for (ordered, wildcard, identifier, shown) in [
        ("*.a.example.test", false, "a.example.test", "a.example.test"),
        ("b.example.test", true, "b.example.test", "*.b.example.test"),
        ("c.example.test", false, "c.example.test.", "c.example.test."),
        ("d.example.test", false, "example.test", "example.test"),
        ("e.example.test", false, "x\u{202e}.example.test", "x .example.test"),
    ] {
        bed.config.certificates[CERTIFICATE].names = super::support::names(&[ordered]);
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        let other = change(move |json| {
            json["identifier"]["value"] = identifier.into();
            json["wildcard"] = wildcard.into();
        });
        bed.strike(AcmeStep::Authorization, other);
        let error = bed.obtain_error();
        bed.assert_refused(&error, shown, ordered);
        let error = bed.run(async |obtainer| obtainer.probe(VARIANT, ISSUER).await).unwrap_err();
        bed.assert_refused(&error, shown, ordered);
        assert_eq!(bed.deactivated().len(), 2, "{ordered}");
    }
}

#[test]
fn a_wildcard_may_be_named_in_either_way_and_in_any_case() {
    let mut bed = Bed::start();
    for (ordered, wildcard, identifier) in [
        ("*.a.example.test", false, "*.A.example.test"),
        ("b.example.test", false, "B.Example.Test"),
    ] {
        bed.config.certificates[CERTIFICATE].names = super::support::names(&[ordered]);
        bed.proxy.traffic.clear_faults();
        let other = change(move |json| {
            json["identifier"]["value"] = identifier.into();
            json["wildcard"] = wildcard.into();
        });
        bed.strike(AcmeStep::Authorization, other);
        bed.testbed.cloudflare.traffic.clear_log();
        bed.obtain().unwrap_or_else(|error| panic!("{ordered}: {error}"));
        let record = format!("\"_acme-challenge.{}\"", ordered.trim_start_matches("*."));
        assert!(bed.created().contains(&record), "{}", bed.created());
        bed.assert_clean();
    }
}

#[test]
fn a_valid_authorization_of_another_name_is_left_alone() {
    let mut bed = Bed::start();
    bed.add("other.example.test", &["other.example.test"]);
    bed.run(async |obtainer| {
        obtainer.obtain(VariantId::new(1), ISSUER, KeyChoice::Configured).await
    })
    .unwrap();
    let valid = bed.authorizations().pop().unwrap();
    let path = valid.rsplit('/').next().unwrap().to_owned();
    bed.testbed.cloudflare.traffic.clear_log();
    bed.strike(
        AcmeStep::NewOrder,
        change(move |json| {
            json["authorizations"].as_array_mut().unwrap().push(valid.clone().into());
        }),
    );
    bed.obtain().unwrap();
    assert!(!bed.created().contains("other"));
    // Nor when the order fails.
    let refused = Action::Error { status: 400, code: 81_053, message: "a CNAME".into() };
    let writes = Match::any().method(Method::POST);
    bed.testbed.cloudflare.traffic.inject(Fault::new(writes, refused).always());
    bed.config.certificates[CERTIFICATE].names = super::support::names(&["new.example.test"]);
    bed.obtain_error();
    let deactivated = bed.deactivated();
    assert_eq!(deactivated.len(), 1, "{deactivated:?}");
    assert!(!deactivated[0].ends_with(&path), "{deactivated:?}");
}

#[test]
fn an_order_with_far_too_many_authorizations_is_given_up_unread() {
    let bed = Bed::start();
    for (number, expected) in [
        (50_000, "the answer is longer than 1048576 bytes"),
        (5_000, "the order was given up: it has 5000 authorizations for 2 names"),
        (13, "the order was given up: it has 13 authorizations for 2 names"),
    ] {
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        let many = change(move |json| {
            let one = json["authorizations"][0].clone();
            json["authorizations"] = vec![one; number].into();
        });
        bed.strike(AcmeStep::NewOrder, many);
        let error = bed.obtain_error();
        assert!(error.to_string().ends_with(expected), "{number}: {error}");
        let traffic = &bed.proxy.traffic;
        assert_eq!(traffic.count(&AcmeStep::NewOrder.requests()), 1, "{number}");
        assert_eq!(traffic.count(&AcmeStep::Authorization.requests()), 0, "{number}");
        assert_eq!(bed.entries("orders"), [""; 0], "{number}");
    }
}

#[test]
fn urls_without_tls_are_not_requested_at_any_step() {
    let bed = Bed::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, proxy) = (listener.local_addr().unwrap(), bed.proxy.addr());
    for (step, expected) in [
        (AcmeStep::Directory, "getting a nonce"),
        (AcmeStep::NewOrder, "reading an authorization"),
        (AcmeStep::Authorization, "answering a challenge"),
        (AcmeStep::Order, "finalizing the order"),
        (AcmeStep::Finalize, "downloading the certificate"),
    ] {
        let _ = fs::remove_dir_all(bed.state());
        bed.proxy.traffic.clear_faults();
        let plain = Action::rewrite(move |reply| {
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            let text = text.replace(&format!("https://{proxy}"), &format!("http://{address}"));
            reply.body = text.into();
        });
        bed.strike(step, plain.clone());
        // The certificate's URL is in the order.
        if step == AcmeStep::Finalize {
            bed.proxy
                .traffic
                .inject(Fault::new(AcmeStep::Order.requests(), plain).after(1).always());
        }
        let error = bed.obtain_error().to_string();
        let expected = format!("{expected} failed: the CA's URL \"http://{address}/");
        let why = "\" is not used: the directory is not reached without TLS either";
        assert!(error.starts_with(&expected) && error.ends_with(why), "{step:?}: {error}");
        bed.assert_clean();
        let connected = listener.accept().map(drop);
        assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{step:?}");
    }
}

#[test]
fn a_directory_that_has_moved_is_named() {
    let bed = Bed::start();
    let long = format!("https://ca.example/{}", "x".repeat(1000));
    for (target, expected) in [
        (
            "https://new.ca.example/dir",
            "\"https://new.ca.example/dir\", status 301 Moved Permanently",
        ),
        ("http://127.0.0.1:1/dir", "\"http://127.0.0.1:1/dir\", status 301 Moved Permanently"),
        ("/acme/directory", "\"/acme/directory\", status 301 Moved Permanently"),
        (&long, "xxx...\", status 301 Moved Permanently"),
    ] {
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        let mut reply = Reply::new(301, "text/html", "moved");
        reply.headers.insert(http::header::LOCATION, target.parse().unwrap());
        bed.strike(AcmeStep::Directory, Action::Reply(reply));
        let error = bed.obtain_error().to_string();
        let begin = "reading the directory at \"https://127.0.0.1:";
        assert!(error.starts_with(begin) && error.contains(expected), "{error}");
        assert!(error.ends_with("; check \"directory\" of issuer \"pebble\""), "{error}");
        assert!(error.contains(" failed: unexpected redirect to ") && error.len() < 450, "{error}");
        assert_eq!(bed.proxy.traffic.log().len(), 1, "it is not followed and not repeated");
    }
}

#[test]
fn the_text_of_a_problem_cannot_turn_the_line() {
    let bed = Bed::start();
    let detail = "no\u{202e}txt\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}\ny".to_owned();
    let action =
        Action::Problem { status: 400, kind: "malformed".into(), detail, retry_after: None };
    bed.strike(AcmeStep::NewOrder, action);
    let error = bed.obtain_error().to_string();
    assert!(error.ends_with("malformed: no txt  x    y"), "{error:?}");
}

#[test]
fn an_order_of_a_forged_url_does_not_stop_the_renewal() {
    let bed = Bed::start();
    bed.obtain().unwrap();
    let account = bed.store().load_account("pebble").unwrap().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let forge = |url: String| PendingOrder {
        url,
        account: account.url.clone(),
        directory: account.directory.clone(),
        names: vec!["example.test".into(), "*.example.test".into()],
        profile: None,
        key: None,
    };
    // Of somebody else's server: it is never asked.
    let address = listener.local_addr().unwrap();
    for url in [format!("https://{address}/o"), format!("http://{address}/o"), "x".into()] {
        bed.store().save_order("example.test", &forge(url.clone())).unwrap();
        bed.obtain().unwrap_or_else(|error| panic!("{url}: {error}"));
        let connected = listener.accept().map(drop);
        assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{url}");
    }
    // Of the CA itself, where nothing proper answers.
    let url = format!("https://{}/my-order/forged", bed.proxy.addr());
    let limited = Action::Problem {
        status: 429,
        kind: "rateLimited".into(),
        detail: "slowly".into(),
        retry_after: None,
    };
    let page = Action::Reply(Reply::new(404, "text/html", "<html>not here</html>"));
    for action in [limited, page, Action::Status { status: 502, retry_after: Some(600) }] {
        bed.proxy.traffic.clear_faults();
        bed.store().save_order("example.test", &forge(url.clone())).unwrap();
        let requests = Match::new(Method::POST, "/my-order/forged");
        bed.proxy.traffic.inject(Fault::new(requests, action.clone()).always());
        bed.run(async |obtainer| {
            for attempt in 1..=2 {
                let error =
                    obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap_err();
                let error = error.to_string();
                assert!(error.starts_with("reading the order "), "{action:?} {attempt}: {error}");
            }
            obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap();
        });
        assert_eq!(bed.entries("orders"), [""; 0], "{action:?}");
    }
    let warnings = bed.log.events(Level::Warn);
    let told = warnings.iter().filter(|event| is_not_resumed(event, "reading the order "));
    assert_eq!(told.count(), 3, "{warnings:?}");
}

#[test]
fn a_forged_journal_removes_nothing_but_our_challenges() {
    let bed = Bed::start();
    let ours = "ngx_http_acme_dns_module: ACME challenge, removed after validation";
    let spf = bed.create("TXT", "example.test", "\"v=spf1 -all\"", None);
    let address = bed.create("A", "www.example.test", "192.0.2.1", None);
    let marked = bed.create("TXT", "marked.example.test", &format!("\"{VALUE}\""), Some(ours));
    let theirs = bed.create("TXT", NAME, &format!("\"{VALUE}\""), Some("dehydrated"));
    let form = "its name and value are not those of an ACME challenge";
    let quiet = "";
    for (row, name, value, id, why) in [
        ("spf", "example.test", "v=spf1 -all", None, form),
        ("spf-id", "example.test", "v=spf1 -all", Some(&spf), form),
        ("name", "marked.example.test", VALUE, Some(&marked), form),
        ("other", NAME, VALUE, Some(&theirs), "it lacks the comment of this module"),
        // What is looked for is not there; the id is not looked at.
        ("address", "_acme-challenge.www.example.test", VALUE, Some(&address), quiet),
        ("spf-hidden", "_acme-challenge.www.example.test", VALUE, Some(&spf), quiet),
    ] {
        let before = bed.testbed.cloudflare.records();
        let warned = bed.log.events(Level::Warn).len();
        let entry = bed.entry(name, value, id.map(String::as_str));
        bed.store().journal_write(row, &entry).unwrap();
        assert_eq!(bed.clean(), Leftovers::default(), "{row}");
        assert_eq!(bed.clean(), Leftovers::default(), "{row}");
        assert_eq!(bed.testbed.cloudflare.records(), before, "{row}");
        let warnings = bed.log.events(Level::Warn).split_off(warned);
        if why == quiet {
            assert_eq!(warnings, [], "{row}");
            assert_eq!(bed.journal().iter().find(|file| file.contains(row)), None);
            continue;
        }
        let spared = RecordsEvent::Spared {
            entry: row.into(),
            what: format!("TXT \"{name}\" ({why})"),
            aside: Some(bed.state().join(format!("journal/{row}.invalid"))),
        };
        assert_eq!(warnings, [Event::Records(Subject::Service, spared)]);
        assert!(bed.journal().contains(&format!("{row}.invalid")), "{row}");
    }
}

#[test]
fn entries_of_earlier_orders_are_cleaned_as_ever() {
    let bed = Bed::start();
    let ours = "ngx_http_acme_dns_module: ACME challenge, removed after validation";
    let id = bed.create("TXT", NAME, &format!("\"{VALUE}\""), Some(ours));
    let old = "_acme-challenge.old.example.test";
    let old_id = bed.create("TXT", old, &format!("\"{VALUE}\""), Some(ours));
    let kept = bed.create("TXT", NAME, "\"v=spf1 -all\"", None);
    let mut entry = bed.entry(NAME, VALUE, Some(&id));
    entry.records.extend(bed.entry(old, VALUE, Some(&old_id)).records);
    // One forged record does not keep the others up.
    entry.records.extend(bed.entry(NAME, "v=spf1 -all", Some(&kept)).records);
    bed.store().journal_write("example.test", &entry).unwrap();
    assert_eq!(bed.clean(), Leftovers::default());
    let left: Vec<String> = bed.testbed.cloudflare.records().into_iter().map(|r| r.id).collect();
    assert_eq!(left, [kept]);
    assert_eq!(bed.journal(), ["example.test.invalid"]);
    let notices = bed.log.events(Level::Notice);
    let removed = RecordsEvent::Removed { names: format!("{NAME}, {old}") };
    assert!(notices.contains(&Event::Records(Subject::Service, removed)), "{notices:?}");
}

#[test]
fn records_of_an_order_that_may_be_gone_on_with_are_left_until_that_attempt_has_ended() {
    let bed = Bed::start();
    let ours = "ngx_http_acme_dns_module: ACME challenge, removed after validation";
    let id = bed.create("TXT", NAME, &format!("\"{VALUE}\""), Some(ours));
    bed.store().journal_write("example.test~2", &bed.entry(NAME, VALUE, Some(&id))).unwrap();
    bed.run(async |obtainer| {
        let under_way = obtainer.begin("example.test");
        assert_eq!(obtainer.clean_journal().await, Leftovers { failed: 0, waiting: 1 });
        assert_eq!(bed.testbed.cloudflare.records().len(), 1);
        // Another certificate keeps nothing of it.
        let _other = obtainer.begin("example.te");
        drop(under_way);
        assert_eq!(obtainer.clean_journal().await, Leftovers::default());
    });
    assert!(bed.testbed.cloudflare.records().is_empty());
}

/// A server carries out what it was asked for, although whoever has asked is dead.
#[test]
fn a_record_that_is_created_after_a_look_is_found_by_the_next() {
    let bed = Bed::start();
    let ours = "ngx_http_acme_dns_module: ACME challenge, removed after validation";
    bed.store().journal_write("example.test", &bed.entry(NAME, VALUE, None)).unwrap();
    let not_yet = Leftovers { failed: 0, waiting: 1 };
    assert_eq!(bed.clean(), not_yet);
    bed.create("TXT", NAME, &format!("\"{VALUE}\""), Some(ours));
    assert_eq!(bed.clean(), not_yet, "there may be one more");
    assert!(bed.testbed.cloudflare.records().is_empty());
    assert_eq!(bed.journal(), ["example.test.json"]);
}

/// A provider whose records have no comments.
struct Plain {
    records: Rc<RefCell<Vec<TxtRecord>>>,
}

#[async_trait(?Send)]
impl DnsProvider for Plain {
    async fn zone_of(&self, _: &str, _: &Resolver) -> Result<Zone, ProviderError> {
        Ok(Zone { id: "z".into(), name: "example.test".into() })
    }

    async fn create(&self, _: &Zone, _: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut spared = Vec::new();
        for PlacedRecord { record, .. } in placed {
            let mark = Mark::Unsupported;
            let candidate =
                Candidate { kind: "TXT", name: &record.name, value: &record.value, mark };
            match rule(&candidate) {
                Ok(()) => self.records.borrow_mut().retain(|other| other != record),
                Err(why) => spared.push(SparedRecord { record: record.clone(), why }),
            }
        }
        Ok(spared)
    }
}

#[test]
fn without_comments_only_names_of_the_configuration_are_removed() {
    let bed = Bed::start();
    let old = "_acme-challenge.old.example.test";
    let record = |name: &str| TxtRecord { name: name.into(), value: VALUE.into() };
    bed.store().journal_write("now", &bed.entry(NAME, VALUE, Some("1"))).unwrap();
    bed.store().journal_write("old", &bed.entry(old, VALUE, Some("2"))).unwrap();
    let records = Rc::new(RefCell::new(vec![record(NAME), record(old)]));
    let provider: Box<dyn DnsProvider> = Box::new(Plain { records: Rc::clone(&records) });
    let obtainer = bed.obtainer_with(vec![provider].into());
    bed.run(async |_| {
        for _ in 0..2 {
            assert_eq!(obtainer.clean_journal().await, Leftovers::default());
        }
    });
    assert_eq!(*records.borrow(), [record(old)]);
    assert_eq!(bed.journal(), ["old.json"]);
    let spared = RecordsEvent::Spared {
        entry: "old".into(),
        what: format!("TXT \"{old}\" (no certificate of the configuration has this name)"),
        aside: None,
    };
    assert_eq!(bed.log.events(Level::Warn), [Event::Records(Subject::Service, spared)]);
}

#[test]
fn each_record_is_removed_at_its_own_provider() {
    let mut bed = Bed::start();
    let second = bed.config.providers[ProviderId::new(0)].clone();
    bed.config.providers.push(Provider { name: "second".into(), ..second });
    let entry = |provider: &str, value: &str| {
        let mut entry = bed.entry(NAME, value, Some("1"));
        entry.records.iter_mut().for_each(|record| record.provider = provider.into());
        entry
    };
    let other = VALUE.replace('L', "M");
    let mut both = entry("cloudflare", VALUE);
    both.records.extend(entry("second", &other).records);
    bed.store().journal_write("both", &both).unwrap();
    both.records.extend(entry("gone", &VALUE.replace('L', "N")).records);
    bed.store().journal_write("three", &both).unwrap();
    // Both have both: what the journal does not have of a provider stays there.
    let record = |value: &str| TxtRecord { name: NAME.into(), value: value.into() };
    let records = [(), ()].map(|()| Rc::new(RefCell::new(vec![record(VALUE), record(&other)])));
    let provider = |records: &Rc<_>| -> Box<dyn DnsProvider> {
        Box::new(Plain { records: Rc::clone(records) })
    };
    let obtainer = bed.obtainer_with(records.iter().map(provider).collect());
    bed.run(async |_| {
        for _ in 0..3 {
            obtainer.clean_journal().await;
        }
    });
    assert_eq!(*records[0].borrow(), [record(&other)]);
    assert_eq!(*records[1].borrow(), [record(VALUE)]);
    assert_eq!(bed.journal(), ["three.json"]);
    let gone = RecordsEvent::ProviderGone { names: NAME.into(), provider: "gone".into() };
    assert_eq!(bed.log.events(Level::Warn), [Event::Records(Subject::Service, gone)]);
}
