//! All types: their errors have no secret in them.

use crate::bed::NAME;
use acme_dns_core::config::LibraryType;
use acme_dns_core::config::provider::library_types;
use acme_dns_core::encoding::base64url;
use acme_dns_core::providers_protocol::{Action, Answer, FailureKind, NameValues, Request};
use openssl::rsa::Rsa;
use servers::paths::providers_program;
use servers::ports::Port;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time for an error of a host that nobody can reach.
const LIMIT: Duration = Duration::from_secs(20);

/// Types of which the library does not tell that a host cannot be reached.
const SILENT: [&str; 1] = ["ovh"];

/// Secret that is not the same in a URL.
const SECRET: &str = "s3cr/t+w\u{f6}rd=x";

/// Makes a value that the library takes for a setting.
fn made_up(kind: &str, name: &str) -> String {
    match (kind, name) {
        ("ovh", "endpoint") => "ovh-ca".to_owned(),
        ("azuredns", "environment") => "public".to_owned(),
        ("autodns", "context") | ("infoblox", "port") => "443".to_owned(),
        ("namecheap", "client_ip") => "192.0.2.1".to_owned(),
        ("infoblox" | "edgedns", "host") => "host.example".to_owned(),
        (_, "region") => "eu-west-1".to_owned(),
        (_, "endpoint" | "base_url" | "server_url") => "https://host.example".to_owned(),
        _ => "value".to_owned(),
    }
}

/// Gives the secret of a setting, and the part of it by which it is recognized.
fn secret_of(kind: &str, name: &str, pem: &str) -> (String, String) {
    let recognized = pem.lines().nth(1).unwrap().to_owned();
    match (kind, name) {
        ("googlecloud", "service_account") => (
            serde_json::json!({
                "type": "service_account", "client_email": "a@example.com", "private_key": pem,
                "token_uri": "https://oauth2.googleapis.com/token", "project_id": "p",
                "private_key_id": "k",
            })
            .to_string(),
            recognized,
        ),
        ("yandexcloud", "service_account") => (
            serde_json::json!({"id": "k", "service_account_id": "a", "private_key": pem})
                .to_string(),
            recognized,
        ),
        (_, "private_key") => (pem.to_owned(), recognized),
        _ => (SECRET.to_owned(), SECRET.to_owned()),
    }
}

fn is_secret(name: &str) -> bool {
    let parts = ["secret", "token", "password", "key", "service_account"];
    let is_public =
        ["access_key_id", "application_key", "access_key", "secret_id", "account_switch_key"];
    parts.iter().any(|part| name.contains(part))
        && !is_public.contains(&name)
        && name != "impersonate_service_account"
}

/// Tells whether a text shows a secret, as it is, percent-encoded or in base64.
fn shows(text: &str, secret: &str) -> bool {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let forms = [secret.to_owned(), encoded.to_lowercase(), encoded, base64url(secret.as_bytes())];
    forms.iter().any(|form| text.contains(form.as_str()))
}

/// Makes a request with made-up settings; gives it with the parts of its secrets by which they are recognized.
fn request(kind: &LibraryType, pem: &str) -> (Request, Vec<String>) {
    let (mut settings, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    let mut recognized = Vec::new();
    for name in kind.setting_names() {
        if is_secret(name) {
            let (secret, part) = secret_of(kind.name, name, pem);
            secrets.insert(name.to_owned(), secret);
            recognized.push(part);
        } else {
            settings.insert(name.to_owned(), made_up(kind.name, name));
        }
    }
    let request = Request {
        action: Action::Add,
        kind: kind.name.to_owned(),
        settings,
        secrets,
        zone: "example.com".to_owned(),
        records: vec![NameValues { name: NAME.to_owned(), values: vec!["one".to_owned()] }],
        ttl: kind.least_ttl(),
        timeout: LIMIT.as_secs(),
    };
    (request, recognized)
}

/// Has the program do a request, with a proxy; gives its answer and all that it says.
fn ask(request: &Request, proxy: &str) -> (Answer, String) {
    let mut command = Command::new(providers_program());
    command.env_clear().envs([("HTTPS_PROXY", proxy), ("HTTP_PROXY", proxy)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let line = serde_json::to_string(request).unwrap() + "\n";
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let answer = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    (answer, said + &String::from_utf8(output.stderr).unwrap())
}

#[test]
fn no_type_tells_a_secret_where_its_host_cannot_be_reached() {
    let closed = Port::reserve();
    let proxy = format!("http://user:proxypassw0rd@{}", closed.addr());
    let pem = Rsa::generate(2048).unwrap().private_key_to_pem().unwrap();
    let pem = String::from_utf8(pem).unwrap();
    for kind in library_types() {
        let begun = Instant::now();
        let (request, secrets) = request(kind, &pem);
        let (answer, said) = ask(&request, &proxy);
        let name = kind.name;
        assert!(begun.elapsed() < LIMIT, "{name}: {:?}", begun.elapsed());
        let Answer::Error(failure) = answer else { panic!("{name}: {said}") };
        if !SILENT.contains(&name) {
            assert_eq!(failure.kind, FailureKind::Unreachable, "{name}: {said}");
            assert!(failure.text.contains("Connection refused"), "{name}: {said}");
        }
        for secret in secrets.iter().map(String::as_str).chain(["proxypassw0rd"]) {
            assert!(!shows(&said, secret), "{name}: {said}");
        }
    }
}
