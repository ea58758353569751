//! Accounts at the CA, and what is done with them besides ordering.

use super::key_changes::{Death, die_at};
use super::support::{Bed, ISSUER, Log};
use acme_dns_core::config::{ExternalAccount, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Environment;
use acme_dns_service::acme::{AcmeError, ObtainError, Obtainer, certificate_id};
use acme_dns_service::engine::Service;
use acme_dns_service::event::{AccountEvent, ActionEvent, Event, Subject};
use http::header::{LINK, RETRY_AFTER};
use http::{HeaderValue, Method};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::pebble::{Pebble, PebbleOptions};
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Match, Reply};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Bed {
    fn bound() -> Self {
        Self::start_with(|options| PebbleOptions {
            eab: BTreeMap::from([("kid-1".to_owned(), MAC_KEY.to_owned())]),
            ..options
        })
    }

    fn add_secret(&mut self, text: &str) -> SecretId {
        self.secrets.push(SecretString::from(text.to_owned()));
        SecretId(self.secrets.len())
    }

    pub(crate) fn bind(&mut self, key_id: &str, mac_key: &str) {
        let (key_id, mac_key) = (key_id.to_owned(), self.add_secret(mac_key));
        self.config.issuers[ISSUER].external_account = Some(ExternalAccount { key_id, mac_key });
    }

    pub(crate) fn set_account_key(&mut self, pem: &str) {
        self.config.issuers[ISSUER].account_key = Some(self.add_secret(pem));
    }

    /// The URL of the account, in a service of its own.
    pub(crate) fn account(&self) -> Result<String, AcmeError> {
        self.run(async |obtainer| obtainer.account(ISSUER, Environment::Production).await)
    }

    pub(crate) fn key_file(&self, name: &str) -> PathBuf {
        self.state().join("accounts/pebble").join(name)
    }

    pub(crate) fn kept_key(&self) -> Vec<u8> {
        fs::read(self.key_file("account_key.pem")).unwrap()
    }

    pub(crate) fn has_new_key(&self) -> bool {
        self.key_file("account_key.new.pem").exists()
    }

    pub(crate) fn notices(&self) -> Vec<Event> {
        self.log.events(Level::Notice)
    }

    /// Counts the accounts that the CA was asked for, apart from searches.
    pub(crate) fn creations(&self) -> usize {
        let requests = self.proxy.traffic.requests(&AcmeStep::NewAccount.requests());
        requests.iter().filter(|request| request.jws_payload()["contact"].is_array()).count()
    }

    /// No line of the log and no error shows a part of a secret or of an account key.
    pub(crate) fn assert_hidden(&self, errors: &[&dyn Debug]) {
        let mut secrets = Vec::new();
        for secret in &self.secrets {
            secrets.extend(secret.expose_secret().lines().map(str::to_owned));
        }
        for name in ["account_key.pem", "account_key.new.pem"] {
            let pem = fs::read_to_string(self.key_file(name)).unwrap_or_default();
            secrets.extend(pem.lines().map(str::to_owned));
        }
        secrets.retain(|line| line.len() > 8 && !line.starts_with("-----"));
        assert!(!secrets.is_empty());
        let mut lines = self.log.all();
        lines.extend(errors.iter().map(|error| format!("{error:?}")));
        for secret in secrets {
            let shown = lines.iter().find(|line| line.contains(&secret[..8]));
            assert!(shown.is_none(), "{shown:?}");
        }
    }
}

pub(crate) fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn pkcs8(key: &PKey<Private>) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

fn sec1(key: &PKey<Private>) -> String {
    String::from_utf8(key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap()
}

pub(crate) fn problem(status: u16, kind: &str, detail: &str) -> Action {
    Action::Problem { status, kind: kind.into(), detail: detail.into(), retry_after: None }
}

/// Makes an event of the account at the bed's issuer.
pub(crate) fn of_pebble(event: AccountEvent) -> Event {
    Event::Account(Subject::Issuer("pebble".into()), event)
}

#[test]
fn an_external_account_is_bound_once() {
    let mut bed = Bed::bound();
    bed.bind("kid-1", MAC_KEY);
    let url = bed.account().unwrap();
    assert_eq!(bed.account().unwrap(), url);
    let [request] =
        bed.proxy.traffic.requests(&AcmeStep::NewAccount.requests()).try_into().unwrap();
    let binding = &request.jws_payload()["externalAccountBinding"];
    assert!(binding["signature"].is_string(), "{binding}");
    bed.assert_hidden(&[]);
}

#[test]
fn a_lost_answer_does_not_lose_a_bound_account() {
    let mut bed = Bed::bound();
    bed.bind("kid-1", MAC_KEY);
    let requests = AcmeStep::NewAccount.requests();
    bed.proxy.traffic.inject(Fault::new(requests.clone(), Action::LostAnswer));
    bed.account().unwrap();
    let [first, second] = bed.proxy.traffic.requests(&requests).try_into().unwrap();
    assert_eq!(first.jws_header()["jwk"], second.jws_header()["jwk"]);
}

#[test]
fn an_external_account_that_is_not_accepted_needs_a_person() {
    for (key_id, mac_key, expected) in [
        ("", "", "requires an external account: set \"external_account\" of issuer \"pebble\""),
        ("kid-1", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "creating the account was refused by"),
        ("kid-2", MAC_KEY, "creating the account was refused by"),
        (
            "kid-1",
            "this is no base64url",
            "the MAC key in \"external_account\" of issuer \"pebble\" is not in base64url",
        ),
    ] {
        let mut bed = Bed::bound();
        if !key_id.is_empty() {
            bed.bind(key_id, mac_key);
        }
        let error = bed.account().unwrap_err();
        assert!(error.to_string().contains(expected), "{key_id} {mac_key}: {error}");
        assert!(error.is_permanent() && error.is_issuer_wide(), "{key_id} {mac_key}: {error}");
        if !key_id.is_empty() {
            bed.assert_hidden(&[&error, &error.to_string(), &bed.obtain_error()]);
        }
    }
}

#[test]
fn an_account_is_found_by_a_key_from_a_file_else_created() {
    let key = p256();
    let mut urls = Vec::new();
    let mut bed = Bed::start();
    for (form, pem) in [("PKCS #8", pkcs8(&key)), ("SEC 1", sec1(&key))] {
        let _ = fs::remove_dir_all(bed.state());
        bed.set_account_key(&pem);
        bed.obtain().unwrap_or_else(|error| panic!("{form}: {error}"));
        urls.push(bed.account().unwrap());
        bed.assert_hidden(&[]);
    }
    assert_eq!(urls[0], urls[1]);
    assert_eq!(bed.creations(), 1);
    let url = urls[0].clone();
    let told = [
        AccountEvent::Created { url: url.clone() },
        AccountEvent::Found { url },
        AccountEvent::ContactsUpdated,
    ];
    assert_eq!(bed.notices(), told.map(of_pebble));
}

#[test]
fn a_ca_that_does_not_let_search_is_asked_for_the_account_all_the_same() {
    let mut bed = Bed::start();
    bed.set_account_key(&pkcs8(&p256()));
    let refusal = problem(403, "unauthorized", "no such thing");
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewAccount.requests(), refusal));
    bed.account().unwrap();
    assert_eq!(bed.creations(), 1);
}

#[test]
fn a_key_from_a_file_replaces_the_account_on_disk() {
    let mut bed = Bed::start();
    let first = bed.account().unwrap();
    bed.set_account_key(&pkcs8(&p256()));
    let second = bed.account().unwrap();
    assert_ne!(first, second);
    assert_eq!(bed.entries("accounts"), ["pebble", "pebble~1"]);
    assert_eq!(bed.account().unwrap(), second);
    let warnings = bed.log.events(Level::Warn);
    let [Event::Account(_, AccountEvent::SetAside { why, .. })] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(why.contains("\"account_key\" is another key"), "{why}");
}

#[test]
fn a_key_that_cannot_be_used_is_named_without_showing_it() {
    let mut bed = Bed::start();
    bed.set_account_key(&pkcs8(&PKey::generate_ed25519().unwrap()));
    let error = bed.account().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the account key of issuer \"pebble\" cannot be used: it is neither an ECDSA nor an RSA key \
         that signs requests to a CA"
    );
    assert!(error.is_permanent());
    bed.assert_hidden(&[&error, &error.to_string()]);
}

/// The process dies after the CA has made the account.
#[test]
fn an_account_whose_answer_was_not_read_is_found_at_the_next_start() {
    let bed = Bed::start();
    let work = async |obtainer: &Obtainer| obtainer.account(ISSUER, Environment::Production).await;
    die_at(&bed, &AcmeStep::NewAccount, Death::AfterItWasDone, work);
    assert_eq!(bed.notices(), []);
    let url = bed.account().unwrap();
    let told = [AccountEvent::Found { url }, AccountEvent::ContactsUpdated];
    assert_eq!(bed.notices(), told.map(of_pebble));
    assert_eq!(bed.creations(), 1);
}

#[test]
fn the_staging_environment_has_an_account_of_its_own() {
    let mut bed = Bed::start();
    let error = bed.run(async |obtainer| obtainer.account(ISSUER, Environment::Staging).await);
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "no \"staging\" is defined for issuer \"pebble\"");
    let dir = bed.testbed.dir();
    let options = PebbleOptions::new(bed.testbed.dns.addr());
    let pebble = Pebble::start(&dir.join("staging-ca"), options);
    let proxy = AcmeProxy::start(&dir.join("staging-proxy"), &pebble);
    bed.config.issuers[ISSUER].staging = Some(proxy.directory_url());
    let trusted = bed.config.issuers[ISSUER].trusted_certificate.as_mut().unwrap();
    trusted.extend(fs::read(proxy.ca_file()).unwrap());
    let mut urls = Vec::new();
    for round in 0..2 {
        for (environment, ca) in
            [(Environment::Staging, &proxy), (Environment::Production, &bed.proxy)]
        {
            let url =
                bed.run(async |obtainer| obtainer.account(ISSUER, environment).await).unwrap();
            let start = format!("https://{}/", ca.addr());
            assert!(url.starts_with(&start), "{round} {environment:?}: {url}");
            assert_eq!(ca.traffic.count(&AcmeStep::NewAccount.requests()), 1, "{environment:?}");
            urls.push(url);
        }
    }
    let files = ["account.json", "account_key.pem", "staging"];
    assert_eq!(bed.entries("accounts/pebble"), files);
    assert_eq!(bed.entries("accounts/pebble/staging"), files[..2]);
    let created = |url: &String| AccountEvent::Created { url: url.clone() };
    let staging = Event::Account(Subject::Staging("pebble".into()), created(&urls[0]));
    assert_eq!(bed.notices(), [staging, of_pebble(created(&urls[1]))]);
}

#[test]
fn a_deactivated_account_is_made_anew_and_a_blocked_one_is_not() {
    const LETS_ENCRYPT: &str = "An account with the provided public key exists but is deactivated";
    let search = || AcmeStep::NewAccount.requests().body("payload");
    let deactivated = Action::rewrite(|reply: &mut Reply| {
        let mut account: Value = serde_json::from_slice(&reply.body).unwrap();
        account["status"] = "deactivated".into();
        reply.body = account.to_string().into();
    });
    for (answer, is_replaced) in [
        (Some(deactivated), true),
        (Some(problem(403, "unauthorized", LETS_ENCRYPT)), true),
        (Some(problem(403, "unauthorized", "account is blocked")), false),
        (None, false),
    ] {
        let bed = Bed::start();
        bed.account().unwrap();
        let refusal = problem(403, "unauthorized", "account is not valid");
        bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), refusal));
        let case = format!("{answer:?} {is_replaced}");
        let is_blocked = answer.is_some() && !is_replaced;
        if let Some(answer) = answer {
            bed.proxy.traffic.inject(Fault::new(search(), answer));
        }
        let result = bed.obtain();
        assert_eq!(result.is_ok(), is_replaced, "{case}: {result:?}");
        assert_eq!(bed.creations(), 1 + usize::from(is_replaced), "{case}");
        let Err(error) = result else { continue };
        assert_eq!(error.is_permanent(), is_blocked, "{case}: {error}");
        let text = error.to_string();
        let expected = if is_blocked { "accounts/pebble\" away to get another" } else { "placing" };
        assert!(text.contains(expected), "{case}: {text}");
    }
}

#[test]
fn new_terms_of_service_are_named() {
    for (instance, expected) in [
        (None, "https://ca.example/terms"),
        (Some("https://ca.example/agree"), "https://ca.example/agree"),
    ] {
        let bed = Bed::start();
        let mut body = json!({
            "type": "urn:ietf:params:acme:error:userActionRequired",
            "detail": "Terms of service have changed",
        });
        if let Some(instance) = instance {
            body["instance"] = instance.into();
        }
        let mut reply = Reply::json(403, &body);
        let link = HeaderValue::from_static("<https://ca.example/terms>;rel=\"terms-of-service\"");
        reply.headers.insert(LINK, link);
        bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), Action::Reply(reply)));
        let error = bed.obtain_error();
        let end = format!("userActionRequired: Terms of service have changed, see \"{expected}\"");
        assert!(error.to_string().ends_with(&end), "{error}");
        assert!(error.is_permanent());
    }
}

#[test]
fn a_nonce_that_does_not_come_is_the_issuers_trouble() {
    let bed = Bed::start();
    bed.account().unwrap();
    let action = Action::Status { status: 503, retry_after: Some(600) };
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewNonce.requests(), action));
    let ObtainError::Acme(error) = bed.obtain_error() else { panic!("not of the CA") };
    assert!(error.to_string().starts_with("getting a nonce at \"https://127.0.0.1:"), "{error}");
    assert!(error.is_issuer_wide() && error.retry_after() == Some(Duration::from_secs(600)));
}

#[test]
fn a_certificate_is_revoked_and_again() {
    let bed = Bed::start();
    let issued = bed.obtain().unwrap();
    let leaf = X509::from_pem(issued.pem.fullchain.as_bytes()).unwrap();
    let der = leaf.to_der().unwrap();
    let status = || bed.testbed.pebble.certificate_status(&issued.serial);
    let odd = bed.run(async |obtainer| obtainer.revoke(ISSUER, &der, Some(7)).await).unwrap_err();
    assert!(odd.to_string().starts_with("revoking the certificate was refused by"), "{odd}");
    assert_eq!(status().as_deref(), Some("Valid"));
    for reason in [Some(4), None] {
        bed.run(async |obtainer| obtainer.revoke(ISSUER, &der, reason).await).unwrap();
        assert_eq!(status().as_deref(), Some("Revoked"));
    }
    let requests = bed.proxy.traffic.requests(&AcmeStep::Revoke.requests());
    assert_eq!(requests[1].jws_payload()["reason"], 4);
    assert_eq!(requests[2].status, Some(400));
    let without = Action::rewrite(|reply: &mut Reply| {
        let mut directory: Value = serde_json::from_slice(&reply.body).unwrap();
        directory["revokeCert"] = Value::Null;
        reply.body = directory.to_string().into();
    });
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), without));
    let error = bed.run(async |obtainer| obtainer.revoke(ISSUER, &der, None).await).unwrap_err();
    let expected = "revoking the certificate is not supported by the CA at \"https://127.0.0.1:";
    assert!(error.to_string().starts_with(expected) && error.is_permanent(), "{error}");
}

#[test]
fn renewal_information_is_passed_on_as_it_comes() {
    let bed = Bed::start();
    let issued = bed.obtain().unwrap();
    let leaf = X509::from_pem(issued.pem.fullchain.as_bytes()).unwrap();
    let id = certificate_id(&leaf).unwrap();
    let ask = || bed.run(async |obtainer| obtainer.renewal_info(ISSUER, &id).await);
    bed.proxy.traffic.clear_log();
    let step = AcmeStep::RenewalInfo.requests();

    let answer = ask().unwrap().unwrap();
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(document["suggestedWindow"]["start"].is_string(), "{document}");
    assert!(answer.retry_after.is_some());
    assert_eq!(bed.proxy.traffic.count(&Match::any().method(Method::POST)), 0, "no signature");

    let without = Action::rewrite(|reply: &mut Reply| {
        reply.headers.remove(RETRY_AFTER);
    });
    bed.proxy.traffic.inject(Fault::new(step.clone(), without));
    let answer = ask().unwrap().unwrap();
    assert_eq!(answer.retry_after, None);

    bed.proxy.traffic.inject(Fault::new(step.clone(), Action::Garbage));
    let answer = ask().unwrap().unwrap();
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());

    for (action, retry_after) in [
        (Action::Reply(Reply::new(404, "text/plain", "no")), None),
        (problem(404, "malformed", "no such certificate"), None),
        (Action::Status { status: 503, retry_after: Some(77) }, Some(Duration::from_secs(77))),
    ] {
        bed.proxy.traffic.inject(Fault::new(step.clone(), action.clone()));
        let error = ask().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("reading the renewal information "), "{action:?}: {text}");
        assert_eq!(error.retry_after(), retry_after, "{action:?}: {text}");
        assert!(!error.is_issuer_wide(), "{action:?}");
    }

    let without = Action::rewrite(|reply: &mut Reply| {
        let mut directory: Value = serde_json::from_slice(&reply.body).unwrap();
        directory.as_object_mut().unwrap().remove("renewalInfo");
        reply.body = directory.to_string().into();
    });
    bed.proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), without));
    assert_eq!(ask().unwrap(), None);
}

#[test]
fn what_a_ca_does_not_have_is_asked_for_once() {
    let bed = Bed::start();
    bed.account().unwrap();
    for refusal in [
        problem(501, "rejectedIdentifier", "not here"),
        problem(403, "unauthorized", "no"),
        Action::Reply(Reply::new(404, "text/html", "<html>")),
    ] {
        bed.proxy.traffic.clear_log();
        bed.proxy.traffic.clear_faults();
        let requests = AcmeStep::KeyChange.requests();
        bed.proxy.traffic.inject(Fault::new(requests.clone(), refusal.clone()).always());
        let actions = bed.state().join("actions");
        fs::write(actions.join("rollover-pebble"), "").unwrap();
        let log = Arc::<Log>::default();
        let service = Service::start(bed.settings(), log.clone()).unwrap();
        let refused = actions.join("rollover-pebble.invalid");
        let found = wait_until(Duration::from_secs(30), || refused.exists().then_some(()));
        assert!(found.is_some(), "{refusal:?}: {:#?}", log.all());
        service.stop();
        let is_refused = |event: &Event| match event {
            Event::Action(file, ActionEvent::Refused { why, .. }) => {
                file == "rollover-pebble" && why.starts_with("changing the account key ")
            }
            _ => false,
        };
        assert!(log.has(is_refused), "{refusal:?}: {:#?}", log.events(Level::Error));
        assert_eq!(bed.proxy.traffic.count(&requests), 1, "{refusal:?}");
        assert!(!actions.join("rollover-pebble").exists() && !bed.has_new_key(), "{refusal:?}");
        fs::remove_file(refused).unwrap();
    }
}
