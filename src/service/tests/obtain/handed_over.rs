//! Accounts that other clients have made, with keys of other types: taken over by one key change.

use super::accounts::{of_pebble, pkcs8, problem};
use super::key_changes::{Death, die_at};
use super::support::{Bed, ISSUER};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Environment;
use acme_dns_service::acme::Obtainer;
use acme_dns_service::event::{AccountEvent, Event};
use openssl::base64::encode_block;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use reqwest::Client;
use serde_json::{Value, json};
use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault, Reply};
use std::fs;

fn base64url(bytes: &[u8]) -> String {
    encode_block(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn p384() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

impl Bed {
    /// Makes an account as another client does, with an RSA key; gives its URL.
    fn account_of(&self, key: &PKey<Private>) -> String {
        let ca = fs::read(self.proxy.ca_file()).unwrap();
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let base = format!("https://{}", self.proxy.addr());
        let rsa = key.rsa().unwrap();
        let jwk = json!({"kty": "RSA", "n": base64url(&rsa.n().to_vec()),
            "e": base64url(&rsa.e().to_vec())});
        let url = format!("{base}/sign-me-up");
        let payload = json!({"termsOfServiceAgreed": true}).to_string();
        self.run(async |_| {
            let client = Client::builder().tls_certs_merge([ca]).build().unwrap();
            let nonce = client.head(format!("{base}/nonce-plz")).send().await.unwrap();
            let nonce = nonce.headers()["Replay-Nonce"].to_str().unwrap().to_owned();
            let header = json!({"alg": "RS256", "jwk": jwk, "nonce": nonce, "url": url});
            let [header, payload] =
                [header.to_string(), payload].map(|text| base64url(text.as_bytes()));
            let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
            let input = format!("{header}.{payload}");
            let signature = base64url(&signer.sign_oneshot_to_vec(input.as_bytes()).unwrap());
            let body = json!({"protected": header, "payload": payload, "signature": signature});
            let request = client.post(&url).header("Content-Type", "application/jose+json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 201);
            answer.headers()["Location"].to_str().unwrap().to_owned()
        })
    }

    /// Puts a key where one goes that was imported.
    fn import_key(&self, key: &PKey<Private>) {
        let der = key.private_key_to_pkcs8().unwrap();
        self.store().save_account_key("pebble", &der).unwrap();
    }

    fn key_changes(&self) -> usize {
        self.proxy.traffic.count(&AcmeStep::KeyChange.requests())
    }

    fn assert_has_ecdsa_key(&self) {
        let key = PKey::private_key_from_pem(&self.kept_key()).unwrap();
        assert_eq!(key.ec_key().unwrap().group().curve_name(), Some(Nid::X9_62_PRIME256V1));
        assert!(!self.has_new_key());
    }
}

#[test]
fn an_account_with_an_rsa_key_is_taken_over_with_one_key_change() {
    for is_imported in [false, true] {
        let mut bed = Bed::start();
        let key = rsa();
        let url = bed.account_of(&key);
        match is_imported {
            true => bed.import_key(&key),
            false => bed.set_account_key(&pkcs8(&key)),
        }
        bed.obtain().unwrap_or_else(|error| panic!("{is_imported}: {error}"));
        assert_eq!(bed.account().unwrap(), url, "{is_imported}");
        bed.assert_has_ecdsa_key();
        // The next start finds nothing to do, with the RSA key in the configuration still.
        bed.obtain().unwrap();
        assert_eq!((bed.account().unwrap(), bed.key_changes()), (url.clone(), 1), "{is_imported}");
        assert_eq!(bed.log.events(Level::Warn), [], "{is_imported}");
        let taken = of_pebble(AccountEvent::TakenOver { url });
        assert!(bed.notices().contains(&taken), "{is_imported}: {:?}", bed.notices());
        assert_eq!(bed.creations(), 0, "{is_imported}");
        if !is_imported {
            bed.assert_hidden(&[]);
        }
    }
}

#[test]
fn a_process_that_dies_while_an_account_is_handed_over_finds_out_at_its_next_start() {
    for death in [Death::BeforeItIsDone, Death::AfterItWasDone] {
        let mut bed = Bed::start();
        let key = rsa();
        let url = bed.account_of(&key);
        bed.set_account_key(&pkcs8(&key));
        die_at(&bed, &AcmeStep::KeyChange, death, async |obtainer: &Obtainer| {
            obtainer.account(ISSUER, Environment::Production).await
        });
        assert!(bed.has_new_key(), "{death:?}");
        assert_eq!(bed.account().unwrap(), url, "{death:?}");
        bed.assert_has_ecdsa_key();
        bed.obtain().unwrap();
    }
}

#[test]
fn a_lost_answer_does_not_lose_an_account_that_is_handed_over() {
    let mut bed = Bed::start();
    let key = rsa();
    let url = bed.account_of(&key);
    bed.set_account_key(&pkcs8(&key));
    bed.proxy.traffic.inject(Fault::new(AcmeStep::KeyChange.requests(), Action::LostAnswer));
    assert_eq!(bed.account().unwrap(), url);
    assert_eq!(bed.key_changes(), 1);
    bed.assert_has_ecdsa_key();
}

/// A CA that cannot change keys: what is done depends on who has given the key.
#[test]
fn where_a_key_cannot_be_changed_an_imported_account_is_left_and_a_given_key_is_an_error() {
    let without = Action::rewrite(|reply: &mut Reply| {
        let mut directory: Value = serde_json::from_slice(&reply.body).unwrap();
        directory["keyChange"] = Value::Null;
        reply.body = directory.to_string().into();
    });
    for (row, step, action, told) in [
        ("none", AcmeStep::Directory, without, "the CA has no key change"),
        ("501", AcmeStep::KeyChange, problem(501, "rejectedIdentifier", "not here"), "not here"),
        ("403", AcmeStep::KeyChange, problem(403, "unauthorized", "no keys"), "no keys"),
    ] {
        let mut bed = Bed::start();
        let key = rsa();
        let url = bed.account_of(&key);
        bed.proxy.traffic.inject(Fault::new(step.requests(), action).always());
        bed.import_key(&key);
        bed.obtain().unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_ne!(bed.account().unwrap(), url, "{row}");
        let warnings = bed.log.events(Level::Warn);
        let [Event::Account(_, AccountEvent::SetAside { why, .. })] = &warnings[..] else {
            panic!("{row}: {warnings:?}");
        };
        assert!(why.starts_with("the account that") && why.contains(told), "{row}: {why}");
        assert!(bed.key_changes() <= 1, "{row}: it is asked for once");

        fs::remove_dir_all(bed.state()).unwrap();
        bed.set_account_key(&pkcs8(&key));
        let error = bed.account().unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("it is not an ECDSA key on P-256, and its account "),
            "{row}: {text}"
        );
        assert!(text.contains(told) && error.is_permanent(), "{row}: {text}");
        assert!(!bed.has_new_key(), "{row}");
    }
}

#[test]
fn a_key_of_another_type_without_an_account_is_told() {
    let mut bed = Bed::start();
    for key in [rsa(), p384()] {
        bed.set_account_key(&pkcs8(&key));
        let error = bed.account().unwrap_err();
        assert!(error.is_permanent(), "{error}");
    }
    let text = bed.account().unwrap_err().to_string();
    assert!(text.contains("its account "), "{text}");
    assert_eq!(bed.creations(), 0);
}

#[test]
fn a_ca_that_is_away_while_an_account_is_handed_over_is_asked_again() {
    let mut bed = Bed::start();
    let key = rsa();
    let url = bed.account_of(&key);
    bed.set_account_key(&pkcs8(&key));
    let away = Action::Status { status: 502, retry_after: None };
    bed.proxy.traffic.inject(Fault::new(AcmeStep::KeyChange.requests(), away).always());
    let error = bed.account().unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    bed.proxy.traffic.clear_faults();
    assert_eq!(bed.account().unwrap(), url);
    bed.assert_has_ecdsa_key();
}
