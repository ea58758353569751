//! TLS features of nginx that go on beside our certificates: client certificates, early data, sockets
//! of their own for workers, servers that are chosen by default.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use servers::authority::Authority;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::TlsClient;
use testbed::measurements::proc;

use crate::lone::{Lone, ours};
use crate::site::{LIMIT, Site};
use crate::support::s_client;

const NAME: &str = "example.test";

/// Sends a request; gives what OpenSSL's client shows.
fn visit(addr: SocketAddr, more: &[&str]) -> String {
    s_client(addr, NAME, &[&["-tls1_3", "-noservername"], more].concat())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn client_certificates_are_asked_for_and_sessions_of_servers_that_do_not_ask_are_not_resumed() {
    let mut site = Site::new();
    let clients = Authority::create(&site.nginx.dir().join("clients"));
    let (open, closed) = (Port::reserve(), Port::reserve());
    let server = |port: &Port, more: &str| {
        format!(
            "server {{ listen {} ssl; server_name {NAME}; acme_dns on; {more} return 200 inside; }}\n",
            port.addr()
        )
    };
    site.http = format!(
        "ssl_session_cache shared:SSL:1m;\n{}{}",
        server(&open, ""),
        server(
            &closed,
            &format!("ssl_verify_client on; ssl_client_certificate {};", text(clients.ca_file()))
        ),
    );
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let session = text(&site.nginx.dir().join("session"));
    assert!(visit(open.addr(), &["-sess_out", &session]).contains("\r\n\r\ninside"));
    assert!(visit(open.addr(), &["-sess_in", &session]).contains("Reused, TLSv1.3"));
    let refused = visit(closed.addr(), &["-sess_in", &session]);
    assert!(!refused.contains("Reused") && !refused.contains("\r\n\r\ninside"), "{refused}");
    let (certificate, key) = (text(clients.certificate_file()), text(clients.key_file()));
    let welcome = visit(closed.addr(), &["-cert", &certificate, "-key", &key]);
    assert!(welcome.contains("\r\n\r\ninside"), "{welcome}");
}

#[test]
fn early_data_is_taken_before_and_after_a_swap() {
    let mut site = Site::new();
    site.http = "ssl_early_data on;".to_owned();
    site.set_servers(&[NAME]);
    site.start_nginx();
    let first = site.wait_for_certificate(NAME).leaf;
    let (session, request) = (site.nginx.dir().join("session"), site.nginx.dir().join("request"));
    fs::write(&request, "GET / HTTP/1.0\r\n\r\n").expect("it is written");
    let (session, request) = (text(&session), text(&request));
    let early = ["-sess_in", &session, "-sess_out", &session, "-early_data", &request];
    visit(site.addr(), &["-sess_out", &session]);
    for round in ["before", "after"] {
        let said = visit(site.addr(), &early);
        assert!(said.contains("Early data was accepted"), "{round}: {said}");
        if round == "before" {
            fs::write(site.state().join(format!("actions/renew-{NAME}")), "")
                .expect("it is written");
            let helper = site.nginx.wait_for_helper();
            // Not by a reload, which makes other keys for tickets.
            proc::kill(helper, Signal::KILL);
            site.wait_for_other(NAME, &first.serial);
        }
    }
}

#[test]
fn all_sockets_serve_and_the_default_server_answers_for_names_that_nobody_has() {
    let mut site = Site::new();
    site.nginx.workers(2);
    let (shared, own) = (Port::reserve(), Port::reserve());
    site.http = format!(
        "server {{ listen {shared} ssl; listen {own} ssl reuseport default_server; server_name {NAME}; \
           acme_dns on; return 200; }}
         server {{ listen {shared} ssl default_server; listen {own} ssl; server_name b.{NAME}; \
           acme_dns on; return 200; }}",
        shared = shared.addr(),
        own = own.addr()
    );
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let b = format!("b.{NAME}");
    let root = site.bed.pebble.root_pem(0);
    let trusting = TlsClient::new(shared.addr()).sni(&b).roots(&root);
    let issued = wait_until(LIMIT, || trusting.handshake().ok());
    assert!(issued.is_some(), "{}", site.nginx.log());
    let rows = [
        (&shared, Some(NAME), NAME),
        (&shared, Some(&*b), &*b),
        (&shared, Some("unknown.test"), &*b),
        (&shared, None, &*b),
        (&own, Some(NAME), NAME),
        (&own, Some(&*b), &*b),
        (&own, Some("unknown.test"), NAME),
        (&own, None, NAME),
    ];
    for (port, name, expected) in rows {
        // As many as it takes for both workers to be among those that answer.
        for _ in 0..8 {
            let client = TlsClient::new(port.addr());
            let client = name.map_or(client.clone(), |name| client.sni(name));
            let leaf = client.handshake().expect("a handshake").leaf;
            assert_eq!(leaf.sans, [expected], "{name:?} at {}", port.addr());
        }
    }
}

/// Makes a key for ECH with OpenSSL's own tool, which from version 4.0 on it has.
fn ech_key(file: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.args(["ech", "-public_name", "public.test", "-out"]).arg(file);
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_name_in_an_encrypted_hello_gets_its_certificate() {
    const INNER: &str = "inner.test";
    let mut lone = Lone::new();
    let file = lone.nginx.dir().join("ech.pem");
    if !ech_key(&file) {
        println!("skipped: this OpenSSL has no Encrypted Client Hello");
        return;
    }
    let server = |name: &str| {
        format!(
            "server {{ listen LISTEN ssl; server_name {name}; acme_dns on; return 200 inside; }}\n"
        )
    };
    lone.set(&format!(
        "{}ssl_protocols TLSv1.3; ssl_ech_file {};\n{}{}",
        Lone::DEFINITIONS,
        text(&file),
        server("public.test"),
        server(INNER)
    ));
    let (passed, output) = lone.nginx.test();
    if !passed && output.contains("ssl_ech_file") {
        println!("skipped: this NGINX, or its OpenSSL, has no Encrypted Client Hello: {output}");
        return;
    }
    assert!(passed, "{output}");
    lone.nginx.start();
    let pem = fs::read_to_string(&file).expect("the key is readable");
    let list = pem.split("-----BEGIN ECHCONFIG-----").nth(1).expect("a configuration");
    let list = list.split("-----END").next().unwrap_or_default().replace(char::is_whitespace, "");
    for round in ["first", "second"] {
        let arguments = ["-tls1_3", "-servername", INNER, "-ech_config_list", &list];
        let shown = s_client(lone.addr(), INNER, &arguments);
        assert!(shown.contains("ECH: success"), "{round}: {shown}");
        assert!(shown.contains(&format!("CN = {INNER}")) || shown.contains(&format!("CN={INNER}")));
    }
    assert_eq!(lone.served("public.test"), ours(&["public.test"]), "without it");
}
