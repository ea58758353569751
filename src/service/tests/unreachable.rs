//! Providers of our own types whose servers cannot be reached, over a proxy that is down: each says so, and none of them
//! a secret. `library` has the same for the types of the library.

use acme_dns_core::config::{
    AcmeDnsCredentials, AcmeDnsSettings, CloudflareCredentials, CloudflareSettings, DnsServer,
    DuckDnsSettings, HttpReqSettings, HttpReqUser, PowerDnsSettings, Provider, ProviderKind,
    Rfc2136Settings, SecretId, TsigAlgorithm,
};
use acme_dns_service::dns::{TxtRecord, Zone, providers};
use acme_dns_service::http::Clients;
use acme_dns_service::program::Programs;
use futures_util::future::join_all;
use secrecy::SecretString;
use servers::ports::Port;
use std::env;
use std::process::Command;
use std::rc::Rc;

const NAME: &str = "_acme-challenge.testbed.duckdns.org";
const API: &str = "https://api.host.example";

/// In base64, as a TSIG key is; not the same in a URL.
const SECRET: &str = "czNjcmV0L29mK3RoZS90ZXN0PQ==";
const PROXY_SECRET: &str = "proxypassw0rd";

fn kinds(server: &Port) -> [(&'static str, ProviderKind); 6] {
    let (api, trusted_certificate) = (API.to_owned(), None);
    let account = AcmeDnsCredentials::Account {
        username: "user".into(),
        password: SecretId(0),
        subdomain: "sub".into(),
    };
    let user = HttpReqUser { name: "user".into(), password: SecretId(0) };
    [
        (
            "cloudflare",
            ProviderKind::Cloudflare(CloudflareSettings {
                credentials: CloudflareCredentials::Token(SecretId(0)),
                zone_id: Some("0a1b".into()),
                ttl: 60,
                requests: None,
                api: api.clone(),
                trusted_certificate: None,
            }),
        ),
        (
            "powerdns",
            ProviderKind::PowerDns(PowerDnsSettings {
                api: api.clone(),
                api_key: SecretId(0),
                server_id: "localhost".into(),
                ttl: 60,
                trusted_certificate: None,
            }),
        ),
        (
            "acme-dns",
            ProviderKind::AcmeDns(AcmeDnsSettings {
                api: api.clone(),
                credentials: account,
                trusted_certificate: None,
            }),
        ),
        (
            "duckdns",
            ProviderKind::DuckDns(DuckDnsSettings {
                token: SecretId(0),
                api: api.clone(),
                trusted_certificate: None,
            }),
        ),
        (
            "httpreq",
            ProviderKind::HttpReq(HttpReqSettings {
                endpoint: api,
                user: Some(user),
                trusted_certificate,
            }),
        ),
        (
            "rfc2136",
            ProviderKind::Rfc2136(Rfc2136Settings {
                server: DnsServer::parse(&server.addr().to_string()).unwrap(),
                key_name: "key.example".into(),
                key: SecretId(0),
                algorithm: TsigAlgorithm::Sha256,
                tcp: false,
                ttl: 60,
            }),
        ),
    ]
}

/// Tells whether a text shows a secret, as it is or percent-encoded.
fn shows(text: &str, secret: &str) -> bool {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let forms = [secret.to_owned(), encoded.to_lowercase(), encoded];
    forms.iter().any(|form| text.contains(form.as_str()))
}

/// Clients read the environment, which is another one in a process of its own.
#[test]
fn no_provider_tells_a_secret() {
    let closed = Port::reserve();
    let proxy = format!("http://user:{PROXY_SECRET}@{}", closed.addr());
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "behind_a_proxy_that_is_down", "--ignored", "--nocapture"]);
    let output = command.env("HTTPS_PROXY", &proxy).env_remove("NO_PROXY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "the other test runs it behind a proxy"]
fn behind_a_proxy_that_is_down() {
    let closed = Port::reserve();
    let dir = tempfile::tempdir().unwrap();
    let programs = Rc::new(Programs::new(dir.path().join("programs"), |_| {}));
    let (names, kinds): (Vec<_>, Vec<_>) = kinds(&closed).into_iter().unzip();
    let configs: Vec<Provider> = kinds
        .into_iter()
        .map(|kind| Provider {
            name: "dns".into(),
            zones: Vec::new(),
            zone: None,
            kind,
            secrets: vec![SecretId(0)],
        })
        .collect();
    let secret = |_| SecretString::from(SECRET);
    let made = providers(&configs.into(), secret, &Clients::default(), &programs, |_| {}).unwrap();
    let zone = Zone { id: "duckdns.org".into(), name: "duckdns.org".into() };
    let record = [TxtRecord { name: NAME.into(), value: "v".repeat(43) }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let creations = made.values().map(|provider| provider.create(&zone, &record));
    let errors = runtime.block_on(join_all(creations));
    let mut telling = Vec::new();
    for (name, error) in names.iter().zip(errors) {
        let error = error.expect_err(name);
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains("Connection refused"), "{name}: {text}");
            if [SECRET, PROXY_SECRET].into_iter().any(|secret| shows(&text, secret)) {
                telling.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(telling.is_empty(), "{telling:#?}");
}
