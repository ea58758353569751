//! The CA: its directory, its clock, and our account there.

use crate::bed::{Bed, ISSUER};
use acme_dns_core::config::Profile;
use acme_dns_service::store::{Account, Store};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Key};
use servers::Testbed;
use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::rt;
use servers::traffic::{Action, Fault};
use std::fs;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

#[test]
fn what_is_wrong_with_an_issuer_is_said() {
    let mut bed = Bed::start();
    for (required, id, words) in [
        (false, "I01", "certificates are ordered without it"),
        (true, "I01", "is required and not"),
    ] {
        bed.config.issuers[ISSUER].profile = Some(Profile { name: "tiny".into(), required });
        bed.expect("profile", "all,nowrite", id, words);
    }
    bed.config.issuers[ISSUER].profile = None;
    bed.config.issuers[ISSUER].trusted_certificate = None;
    bed.expect("certificate", "all,nowrite", "I01", "certificate verify failed");
    let mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let external = Testbed::start_with(|mut options| {
        options.eab.insert("kid-1".into(), mac_key.into());
        options
    });
    let issuer = &mut bed.config.issuers[ISSUER];
    issuer.directory = external.pebble.directory_url();
    issuer.trusted_certificate = Some(fs::read(external.pebble.ca_file()).unwrap());
    bed.expect("external account", "all,nowrite", "I01", "requires an external account");
}

/// A bed with a proxy in front of the CA.
fn through_proxy() -> (Bed, AcmeProxy) {
    let mut bed = Bed::start();
    let proxy = bed.testbed.acme_proxy();
    let issuer = &mut bed.config.issuers[ISSUER];
    issuer.directory = proxy.directory_url();
    issuer.trusted_certificate = Some(fs::read(proxy.ca_file()).unwrap());
    (bed, proxy)
}

#[test]
fn a_clock_that_is_wrong_is_told_by_the_seconds() {
    for (ahead, behind, direction, end) in [
        (120, 0, "ahead", ""),
        (0, 120, "behind", ""),
        (1200, 0, "ahead", ", too far for signatures and certificates"),
    ] {
        let (bed, proxy) = through_proxy();
        let date = move || {
            let now = SystemTime::now() + Duration::from_secs(behind);
            HeaderValue::from_str(&httpdate::fmt_http_date(now - Duration::from_secs(ahead)))
        };
        let change = Action::rewrite(move |reply| {
            reply.headers.insert(http::header::DATE, date().unwrap());
        });
        proxy.traffic.inject(Fault::new(AcmeStep::Directory.requests(), change).always());
        let words = ("this host's clock is ", &*format!(" s {direction}{end}"));
        bed.expect_seconds("all,nowrite", "R03", words, ahead + behind, "have it set by NTP");
    }
}

/// Registers an account with the CA, as another client does, and puts it into the state path.
fn register(bed: &Bed) -> instant_acme::Account {
    let (key, pkcs8) = Key::generate_pkcs8().unwrap();
    let stored = pkcs8.secret_pkcs8_der().to_vec();
    let issuer = &bed.config.issuers[ISSUER];
    let ca = issuer.trusted_certificate.as_deref();
    let http = Box::new(Http(rt::http_client(Duration::from_secs(20), ca)));
    let account = instant_acme::Account::builder_with_http(http);
    let creating = account.create_from_key((key, pkcs8.into()), issuer.directory.clone());
    let (account, _) = rt::block_on(creating).unwrap();
    fs::create_dir_all(&bed.config.state_path).unwrap();
    let stored = Account {
        url: account.id().to_owned(),
        directory: issuer.directory.clone(),
        contacts: Vec::new(),
        taken_from: None,
        former_keys: Vec::new(),
        key: stored.into(),
    };
    Store::open(&bed.config.state_path).unwrap().save_account(&issuer.name, &stored).unwrap();
    account
}

/// The client of the CA's that instant-acme needs.
struct Http(reqwest::Client);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(parts, body.to_bytes());
            let answer = client.execute(request.try_into().unwrap()).await.unwrap();
            let (parts, body) = Response::from(answer).into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

const REPLACED: &str =
    "it is replaced at the next order; one of \"account_key\" has to be replaced there";

#[test]
fn an_account_that_is_not_valid_any_more() {
    let mut bed = Bed::start();
    let account = register(&bed);
    let url = account.id().to_owned();
    assert_eq!(bed.findings("all,nowrite"), []);
    rt::block_on(account.deactivate()).unwrap();
    let refused =
        format!("account {url} is refused: looking for the account was refused by \"{url}\"");
    let observed = format!("{refused}: unauthorized: Account has been deactivated");
    bed.expect_words("all,nowrite", "I01", &observed, REPLACED);
    // It forgets all accounts.
    bed.testbed.pebble.restart();
    let observed = format!("{refused}: accountDoesNotExist: Account {url} not found.");
    bed.expect_words("all,nowrite", "I01", &observed, REPLACED);
}

#[test]
fn terms_that_nobody_has_agreed_to() {
    let (bed, proxy) = through_proxy();
    let account = register(&bed);
    let refusal = Action::Problem {
        status: 403,
        kind: "userActionRequired".into(),
        detail: "Terms of service have changed".into(),
        retry_after: None,
    };
    proxy.traffic.inject(Fault::new(AcmeStep::Account.requests(), refusal).always());
    let observed = format!(
        "the CA waits for agreement to its terms of service: looking for the account was refused by \"{}\": \
         userActionRequired: Terms of service have changed",
        account.id()
    );
    bed.expect_words("all,nowrite", "I01", &observed, "agree at the address that the CA names");
}
