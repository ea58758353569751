//! Which server gets which certificate.

use openssl::pkey::Id;
use openssl::x509::X509;
use servers::acme_proxy::AcmeStep;
use testbed::clients::tls::{Leaf, TlsError};

use crate::lone::{Lone, Served, ours};
use crate::site::Site;
use crate::support::s_client;

#[test]
fn on_in_http_means_servers_with_tls_and_names() {
    let lone = Lone::start(
        "acme_dns on;
         server { listen LISTEN ssl default_server; server_name _; ssl_reject_handshake on; }
         server { listen LISTEN ssl; server_name a.example.com; }
         server { listen LISTEN ssl; server_name own.example.com; CERT KEY }
         server { listen LISTEN ssl; server_name off.example.com; acme_dns off; CERT KEY }
         server { listen LISTEN ssl; server_name x.example.com; acme_dns given.example.com; }
         server { listen LISTEN ssl; server_name localhost; CERT KEY }
         server { listen OTHER; server_name plain.example.com; }
         server { listen OTHER; server_name a_b; }",
    );
    for (name, expected) in [
        ("a.example.com", ours(&["a.example.com"])),
        ("own.example.com", Served::Static),
        ("off.example.com", Served::Static),
        ("x.example.com", ours(&["given.example.com"])),
        ("localhost", Served::Static),
        ("unknown.example.com", Served::Nothing),
    ] {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    assert_eq!(lone.missing(), ["a.example.com", "given.example.com"]);
}

#[test]
fn the_nearest_directive_wins() {
    let server =
        |body: &str| format!("server {{ listen LISTEN ssl; server_name a.example.com; {body} }}");
    let acme = ours(&["a.example.com"]);
    for (http, body, expected) in [
        ("", "acme_dns on; CERT KEY", &Served::Static),
        ("", "CERT KEY acme_dns on;", &Served::Static),
        ("CERT KEY", "acme_dns on;", &acme),
        ("CERT KEY acme_dns on;", "", &Served::Static),
        ("CERT KEY acme_dns on;", "acme_dns on;", &acme),
        ("CERT KEY acme_dns off;", "acme_dns on;", &acme),
        ("acme_dns on;", "CERT KEY", &Served::Static),
        ("CERT KEY acme_dns on;", "acme_dns off;", &Served::Static),
    ] {
        let lone = Lone::start(&format!("{http}\n{}", server(body)));
        assert_eq!(lone.served("a.example.com"), *expected, "{http} {{ {body} }}");
    }
}

#[test]
fn names_come_from_the_server_or_from_the_directive() {
    let lone = Lone::start(
        "server { listen LISTEN ssl; server_name .dot.example; acme_dns on; }
         server { listen LISTEN ssl; server_name a.example b.example; acme_dns on; }
         server { listen LISTEN ssl; server_name c.example ~^c[0-9]+$; acme_dns on; }
         server { listen LISTEN ssl; server_name d.example; acme_dns .e.example f.example; }
         server { listen LISTEN ssl; server_name w.g.example .g.example; acme_dns on; }
         server { listen LISTEN ssl; server_name b\u{fc}cher.example; acme_dns on; }
         server { listen LISTEN ssl; server_name a.named.example; acme_dns on name=web; }",
    );
    for (name, expected) in [
        ("www.dot.example", ours(&["*.dot.example", "dot.example"])),
        ("a.example", ours(&["a.example", "b.example"])),
        ("b.example", ours(&["a.example", "b.example"])),
        ("c.example", ours(&["c.example"])),
        ("d.example", ours(&["*.e.example", "e.example", "f.example"])),
        ("w.g.example", ours(&["*.g.example", "g.example"])),
        ("a.named.example", ours(&["a.named.example"])),
    ] {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    let missing = lone.missing();
    for name in ["dot.example", "web", "xn--bcher-kva.example"] {
        assert!(missing.iter().any(|other| other == name), "{name}: {missing:?}");
    }
}

#[test]
fn definitions_stand_in_main_or_behind_the_server() {
    const SERVER: &str = "server { listen LISTEN ssl; server_name a.example.com; acme_dns on; }\n";
    let (issuer, provider) = Lone::DEFINITIONS.split_at(
        Lone::DEFINITIONS.find("acme_dns_provider").expect("the definitions of a provider"),
    );
    for (main, http) in [
        (Lone::DEFINITIONS, SERVER.to_owned()),
        ("", format!("{SERVER}{}", Lone::DEFINITIONS)),
        (issuer, format!("{provider}{SERVER}")),
    ] {
        let mut lone = Lone::new();
        lone.nginx.main(main);
        lone.set(&http);
        lone.nginx.start();
        assert_eq!(lone.served("a.example.com"), ours(&["a.example.com"]), "{main}{http}");
    }
}

#[test]
fn http2_and_http3_are_tls_too() {
    let lone = Lone::start(
        "acme_dns on;
         server { listen LISTEN ssl; listen LISTEN quic; http2 on; http3 on;
                  server_name a.example.com; }
         server { listen OTHER quic; server_name b.example.com; }",
    );
    assert_eq!(lone.served("a.example.com"), ours(&["a.example.com"]));
    assert_eq!(lone.missing(), ["a.example.com", "b.example.com"]);
}

/// Lines that the official image shows by default.
fn loud_lines(log: &str) -> Vec<&str> {
    let levels = ["[notice]", "[warn]", "[error]", "[crit]", "[alert]", "[emerg]"];
    log.lines().filter(|line| levels.iter().any(|level| line.contains(level))).collect()
}

#[test]
fn a_missing_certificate_is_one_line_and_not_one_a_connection() {
    // An authority that hangs, so that nothing else is logged in the meantime.
    let mut site = Site::new();
    let hang = servers::traffic::Fault::new(
        AcmeStep::Directory.requests(),
        servers::traffic::Action::Hang,
    );
    site.proxy.traffic.inject(hang.always());
    site.add_server("a.example.test *.a.example.test", "on");
    site.add_server("b.example.test", "on;\n    acme_dns_fallback reject");
    site.start_nginx();
    site.proxy.traffic.wait_for_request(&AcmeStep::Directory.requests(), crate::site::LIMIT);
    let lines: Vec<_> = site.lines("notice", 0);
    let found = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        found(
            "no certificate \"a.example.test\" yet, a self-signed one is served until it is issued"
        ),
        1,
        "{lines:?}"
    );
    assert_eq!(
        found("no certificate \"b.example.test\" yet, handshakes are rejected until it is issued"),
        1,
        "{lines:?}"
    );

    let mark = site.nginx.log_mark();
    let first = site.served("a.example.test");
    assert_eq!(first.sans, ["*.a.example.test", "a.example.test"]);
    assert_eq!(first.subject, "a.example.test");
    for _ in 0..3 {
        assert_eq!(site.served("a.example.test"), first, "one for all connections of a worker");
        match site.client("b.example.test").handshake() {
            Err(TlsError::Handshake(error)) => {
                assert!(error.contains("alert handshake failure"), "{error}");
                assert!(error.contains("alert number 40"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(loud_lines(&site.nginx.log_from(mark)), [""; 0]);
}

#[test]
fn servers_with_the_same_names_share_an_order() {
    let mut site = Site::new();
    site.add_server("a.example.test b.example.test", "on");
    site.add_server("c.example.test", "b.example.test a.example.test");
    site.start_nginx();
    let first = site.wait_for_certificate("a.example.test").leaf;
    assert_eq!(site.served("c.example.test"), first);
    assert_eq!(first.sans, ["a.example.test", "b.example.test"]);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    assert_eq!(site.entries("certs"), [".versions", "a.example.test"]);
}

/// Algorithm and bits.
fn key_of(leaf: &Leaf) -> (Id, u32) {
    let certificate = X509::from_der(&leaf.der).expect("it is readable");
    let key = certificate.public_key().expect("it has a key");
    (key.id(), key.bits())
}

#[test]
fn keys_are_of_the_type_that_is_asked_for() {
    let mut site = Site::new();
    let rows = [
        ("ecdsa:256", Id::EC, 256),
        ("ecdsa:384", Id::EC, 384),
        ("rsa:2048", Id::RSA, 2048),
        ("rsa:3072", Id::RSA, 3072),
    ];
    let name = |key: &str| format!("{}.example.test", key.replace(':', "-"));
    for (key, ..) in rows {
        site.add_server(&name(key), &format!("on key={key}"));
    }
    site.start_nginx();
    for (key, id, bits) in rows {
        let leaf = site.wait_for_certificate(&name(key)).leaf;
        assert_eq!(key_of(&leaf), (id, bits), "{key}");
        assert_eq!(site.check_files(&name(key)), leaf);
    }
}

#[test]
fn another_key_type_replaces_the_first() {
    const EC: &str = "ECDSA+SHA256";
    const RSA: &str = "RSA-PSS+SHA256:RSA+SHA256";
    let name = "example.test";
    let mut site = Site::new();
    let serves = |site: &Site, list: &str| site.client(name).signatures(list).handshake().is_ok();
    let mut serial = String::new();
    for (key, id, yes, no) in [
        ("ecdsa:256", Id::EC, EC, RSA),
        ("rsa:2048", Id::RSA, RSA, EC),
        ("ecdsa:256", Id::EC, EC, RSA),
    ] {
        site.set_servers(&[]);
        site.add_server(name, &format!("on key={key}"));
        if serial.is_empty() {
            site.start_nginx();
        } else {
            site.reload();
            // The old one goes on until the new one is there.
            let leaf = site.served(name);
            assert!(!leaf.issuer.contains(name), "{leaf:?}");
        }
        let leaf = site.wait_for_other(name, &serial).leaf;
        assert_eq!(key_of(&leaf).0, id);
        assert!(serves(&site, yes), "{key}");
        assert!(!serves(&site, no), "a certificate of the type before is still served: {key}");
        serial = leaf.serial;
    }
}

#[test]
fn a_certificate_by_a_command_of_openssl_has_no_effect_and_nginx_says_so() {
    const FILES: &str = "ssl_conf_command Certificate PEM; ssl_conf_command PrivateKey SECRET;";
    let server = |body: &str| format!("server {{ listen LISTEN ssl; server_name a.test; {body} }}");
    // The block, what is in it, and how many warnings there are.
    let rows = [
        ("http", server(&format!("acme_dns on; {FILES}")), 2),
        ("http", format!("{FILES} {}", server("acme_dns on;")), 2),
        ("http", format!("{FILES} acme_dns on; {} {}", server(""), server("CERT KEY")), 2),
        ("http", server("acme_dns on; ssl_conf_command certificate PEM;"), 1),
        ("http", server("acme_dns on; ssl_conf_command Options -SessionTicket;"), 0),
        ("http", format!("{FILES} {}", server("acme_dns on; ssl_conf_command Options Bugs;")), 0),
        ("http", format!("{FILES} {}", server("acme_dns on; CERT KEY")), 0),
        ("http", server(&format!("acme_dns on; acme_dns_fallback reject; {FILES}")), 2),
        (
            "stream",
            format!("server {{ listen LISTEN ssl; acme_dns a.test; {FILES} return ok; }}"),
            2,
        ),
        (
            "mail",
            format!(
                "auth_http 127.0.0.1:1/; {FILES}
                 server {{ listen LISTEN ssl; protocol imap; acme_dns a.test; }}"
            ),
            2,
        ),
    ];
    for (block, text, expected) in rows {
        let mut lone = Lone::new();
        let files = lone.fill_in("CERT KEY");
        let mut files = files.split([' ', ';']).filter(|word| word.starts_with('/'));
        let (pem, key) = (files.next().expect("a file"), files.next().expect("a file"));
        let text = text.replace("PEM", pem).replace("SECRET", key);
        match block {
            "http" => lone.set(&format!("{}{text}", Lone::DEFINITIONS)),
            "stream" => lone.stream(&text),
            _ => lone.mail(&text),
        }
        let (passed, output) = lone.nginx.test();
        let is_it = |line: &&str| line.contains("has no effect beside \"acme_dns\"");
        let lines: Vec<_> = output.lines().filter(is_it).collect();
        assert!(passed && lines.len() == expected, "{block} {text}: {output}");
        let good = |line: &&str| line.contains("[warn]") && line.contains("nginx.conf:");
        assert!(lines.iter().all(good), "{output}");
        if expected == 0 || text.contains("CERT") {
            continue;
        }
        // What is said is true.
        lone.nginx.start();
        let served = match text.contains("reject") {
            true => Served::Nothing,
            false => ours(&["a.test"]),
        };
        assert_eq!(lone.served("a.test"), served, "{block} {text}");
    }
}

#[test]
fn a_server_without_a_certificate_has_that_of_the_default_server() {
    const FILES: &str = "ssl_certificate data:$acme_dns_certificate; \
        ssl_certificate_key data:$acme_dns_certificate_key;";
    const STATUS: &str = "return 200 \"$acme_dns_certificate_name $acme_dns_status\";";
    for (row, first, second) in [
        ("variables", format!("acme_dns on; {FILES}"), String::new()),
        ("plain", "acme_dns on;".to_owned(), String::new()),
        ("variables, and off", format!("acme_dns on; {FILES}"), "acme_dns off;".to_owned()),
        ("named by address", format!("acme_dns on; {FILES}"), "server_name *.b.test;".to_owned()),
    ] {
        let mut lone = Lone::new();
        lone.set(&format!(
            "{}server {{ listen LISTEN ssl; server_name a.test; {first} }}
             server {{ listen LISTEN ssl; server_name b.test; {second} {STATUS} }}
             server {{ listen LISTEN ssl; server_name c.test; CERT KEY {STATUS} }}",
            Lone::DEFINITIONS,
        ));
        lone.nginx.start();
        for (name, expected) in [
            ("a.test", ours(&["a.test"])),
            ("b.test", ours(&["a.test"])),
            ("x.b.test", ours(&["a.test"])),
            ("c.test", Served::Static),
        ] {
            assert_eq!(lone.served(name), expected, "{row}: {name}");
        }
        let shown = s_client(lone.addr(), "b.test", &["-servername", "b.test", "-quiet"]);
        assert!(shown.contains("a.test none"), "{row}: {shown}");
        let shown = s_client(lone.addr(), "c.test", &["-servername", "c.test", "-quiet"]);
        assert!(!shown.contains("a.test"), "{row}: {shown}");
    }
    let mut lone = Lone::new();
    lone.stream(&format!(
        "server {{ listen LISTEN ssl; server_name a.test; acme_dns on; {FILES} return a; }}
         server {{ listen LISTEN ssl; server_name b.test; return b; }}"
    ));
    lone.nginx.start();
    assert_eq!(
        ["a.test", "b.test"].map(|name| lone.served(name)),
        [(); 2].map(|()| ours(&["a.test"]))
    );
}
