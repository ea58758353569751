//! Certificates wherever nginx speaks TLS: http, streams and mail.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;
use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::{Leaf, TlsClient};

use crate::lone::{Lone, Served, ours};
use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Returns the certificate of a mail server after STARTTLS.
fn starttls(addr: SocketAddr, protocol: &str) -> Option<Leaf> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", protocol, "-connect", &addr.to_string()]);
    let output = command.stdin(Stdio::null()).output().expect("openssl runs");
    // The leaf comes first, among other text.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let start = text.find("-----BEGIN CERTIFICATE-----")?;
    Leaf::from_pem(&text.as_bytes()[start..]).ok()
}

/// Returns the certificate for a client that speaks TLS from the first byte.
fn tls(addr: SocketAddr) -> Option<Leaf> {
    TlsClient::new(addr).handshake().ok().map(|peer| peer.leaf)
}

/// A server of `mail` for each protocol, with TLS from the first byte and with STARTTLS.
struct Mail {
    imaps: Port,
    imap: Port,
    pop3: Port,
    smtp: Port,
}

impl Mail {
    fn reserve() -> Self {
        let port = Port::reserve;
        Self { imaps: port(), imap: port(), pop3: port(), smtp: port() }
    }

    /// The block, with directives for all of its servers.
    fn block(&self, directives: &str) -> String {
        let server = |port: &Port, rest: &str| {
            format!("    server {{ listen {}{rest}; acme_dns on; }}\n", port.addr())
        };
        format!(
            "mail {{\n    server_name {NAME};\n    auth_http 127.0.0.1:1/;\n    {directives}\n{}{}{}{}}}\n",
            server(&self.imaps, " ssl; protocol imap"),
            server(&self.imap, "; protocol imap; starttls on"),
            server(&self.pop3, "; protocol pop3; starttls on"),
            server(&self.smtp, "; protocol smtp; smtp_auth none; starttls only"),
        )
    }

    fn served(&self) -> Vec<Option<Leaf>> {
        vec![
            tls(self.imaps.addr()),
            starttls(self.imap.addr(), "imap"),
            starttls(self.pop3.addr(), "pop3"),
            starttls(self.smtp.addr(), "smtp"),
        ]
    }
}

#[test]
fn servers_of_all_kinds_share_one_certificate() {
    let mut site = Site::new();
    site.issuer = "profile default;".to_owned();
    let (stream, mail) = (Port::reserve(), Mail::reserve());
    site.nginx.main(format!(
        "stream {{\n    server {{ listen {} ssl; acme_dns {NAME}; return ok; }}\n}}\n{}",
        stream.addr(),
        mail.block("")
    ));
    site.set_servers(&[NAME]);
    let asked = site.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
    site.start_nginx();
    let served = |leaf: &Leaf| {
        let others = [vec![tls(stream.addr())], mail.served()].concat();
        assert!(others.iter().all(|other| other.as_ref() == Some(leaf)), "{others:?}");
    };
    let first = site.wait_for_certificate(NAME).leaf;
    served(&first);
    assert_eq!(site.entries("certs"), [".versions", NAME], "one certificate");
    asked.wait(LIMIT);
    let window = json!({"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"});
    site.bed.pebble.set_renewal_info(&first.pem(), &json!({ "suggestedWindow": window }));
    asked.release();
    // All of them change at once, without a reload.
    let workers = site.nginx.worker_pids();
    served(&site.wait_for_other(NAME, &first.serial).leaf);
    assert_eq!(site.nginx.worker_pids(), workers);
}

#[test]
fn no_http_is_needed() {
    let mail = Mail::reserve();
    let mut site = Site::new();
    let stream = Port::reserve();
    let definitions = site.definitions();
    site.nginx.no_http().main(format!(
        "{definitions}\nstream {{\n    acme_dns on;\n    server {{ listen {} ssl; server_name \
         stream.example.test; return ok; }}\n}}\n{}",
        stream.addr(),
        mail.block("")
    ));
    site.nginx.start();
    let root = site.bed.pebble.root_pem(0);
    let trusted = |name: &str, addr| TlsClient::new(addr).sni(name).roots(&root).handshake().ok();
    let stream_leaf = wait_until(LIMIT, || trusted("stream.example.test", stream.addr()));
    let mail_leaf = wait_until(LIMIT, || trusted(NAME, mail.imaps.addr()));
    assert!(stream_leaf.is_some() && mail_leaf.is_some(), "{}", site.nginx.log());
    let mail_leaf = mail_leaf.map(|peer| peer.leaf);
    assert!(mail.served().iter().all(|leaf| *leaf == mail_leaf), "{:?}", mail.served());
    assert_eq!(site.entries("certs"), [".versions", NAME, "stream.example.test"]);
}

#[test]
fn a_stream_server_is_chosen_by_its_name() {
    let mut lone = Lone::new();
    lone.stream(
        "acme_dns on;
         server { listen LISTEN ssl; server_name a.test; return a; }
         server { listen LISTEN ssl; server_name b.test *.b.test; acme_dns b.test *.b.test; return b; }
         server { listen LISTEN ssl; server_name c.test; ssl_reject_handshake on; }
         server { listen LISTEN ssl; server_name d.test; CERT KEY return d; }
         server { listen LISTEN ssl; server_name e.test; acme_dns off; CERT KEY return e; }
         server { listen OTHER; return plain; }",
    );
    lone.nginx.start();
    let rows = [
        ("a.test", ours(&["a.test"])),
        ("x.b.test", ours(&["*.b.test", "b.test"])),
        ("c.test", Served::Nothing),
        ("d.test", Served::Static),
        ("e.test", Served::Static),
        ("unknown.test", ours(&["a.test"])),
    ];
    for (name, expected) in rows {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    assert_eq!(lone.missing(), ["a.test", "b.test"]);
}

#[test]
fn a_mail_server_without_tls_asks_for_nothing() {
    let mut lone = Lone::new();
    lone.mail(
        "acme_dns on; auth_http 127.0.0.1:1/;
         server { listen LISTEN ssl; protocol imap; server_name imap.test; }
         server { listen OTHER; protocol imap; server_name plain.test; }",
    );
    lone.nginx.start();
    assert_eq!(lone.served("imap.test"), ours(&["imap.test"]));
    assert_eq!(lone.missing(), ["imap.test"]);
    // Nor does one with a certificate of its own.
    let mut lone = Lone::new();
    lone.mail(
        "acme_dns on; auth_http 127.0.0.1:1/;
         server { listen LISTEN ssl; protocol imap; server_name imap.test; CERT KEY }
         server { listen OTHER; protocol pop3; server_name pop.test; acme_dns_fallback reject; starttls on; }",
    );
    lone.nginx.start();
    assert_eq!(lone.served("imap.test"), Served::Static);
    assert_eq!(lone.missing(), ["pop.test"]);
    assert_eq!(starttls(lone.other_addr(), "pop3"), None, "it rejects");
}

#[test]
fn mistakes_in_streams_and_mail_are_named() {
    let rows = [
        (
            "stream",
            "server { listen LISTEN ssl; acme_dns on; return ok; }",
            "needs a \"server_name\"",
        ),
        ("stream", "server { listen LISTEN ssl; acme_dns *.*.test; return ok; }", "\"*.*.test\""),
        (
            "stream",
            "server { listen LISTEN ssl; acme_dns a.test; KEY return ok; }",
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\" in ",
        ),
        (
            "mail",
            "auth_http 127.0.0.1:1/; server { listen LISTEN ssl; protocol imap; acme_dns a.test; KEY }",
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\" in ",
        ),
        (
            "mail",
            "auth_http 127.0.0.1:1/; server { listen LISTEN ssl; protocol imap; acme_dns a.test \
             issuer=none; }",
            "no \"acme_dns_issuer\" is defined for \"issuer=none\" in ",
        ),
    ];
    for (block, text, expected) in rows {
        let mut lone = Lone::new();
        match block {
            "stream" => lone.stream(text),
            _ => lone.mail(text),
        }
        let (passed, output) = lone.nginx.test();
        assert!(
            !passed && output.contains("[emerg]") && output.contains(expected),
            "{text}: {output}"
        );
    }
}
