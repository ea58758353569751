//! `acme_dns sni`: the certificate is chosen by the name that a client asks for.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rustix::process::Signal;
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::http3::Http3Client;
use testbed::clients::tls::{LoadClient, SslVersion, TlsClient};
use testbed::measurements::proc;
use testbed::nginx::generations::{Generations, Variant, generation};

use crate::lone::{Lone, Served, ours};
use crate::site::{LIMIT, SERVICE, Site};
use crate::support::{block_on, client, is_resumed, s_client};

const LINES: &str = "shop.test > shop\n*.shop.test\na.shop.test b.test\nbücher.test\n";

/// An nginx that has nothing but a block with this text, and the lines as domains.
fn lone(block: &str, text: &str) -> Lone {
    let mut lone = Lone::new();
    lone.nginx.add_file("domains.txt", LINES);
    let text = lone.fill_in(text);
    let definitions = format!("{}acme_dns_domains domains.txt;\n", Lone::DEFINITIONS);
    match block {
        "http" => lone.nginx.http(format!("{definitions}{text}")),
        _ => lone.nginx.no_http().main(format!("{definitions}{block} {{ {text} }}\n")),
    };
    lone.nginx.start();
    lone
}

/// Certificate that each name gets, and what the server has for all others.
fn check(lone: &Lone, block: &str, others: &Served) {
    for (name, expected) in [
        ("shop.test", &ours(&["shop.test"])),
        ("x.shop.test", &ours(&["*.shop.test"])),
        ("a.shop.test", &ours(&["a.shop.test", "b.test"])),
        ("A.Shop.TEST", &ours(&["a.shop.test", "b.test"])),
        ("b.test", &ours(&["a.shop.test", "b.test"])),
        ("xn--bcher-kva.test", &ours(&["xn--bcher-kva.test"])),
        ("x.a.shop.test", others),
        ("unknown.test", others),
        ("test", others),
    ] {
        assert_eq!(lone.served(name), *expected, "{block}: {name}");
    }
}

#[test]
fn each_client_gets_the_certificate_of_its_name_wherever_nginx_speaks_tls() {
    let mail =
        "auth_http 127.0.0.1:1/; server_name mail.test; server { listen LISTEN ssl; protocol imap;";
    for (block, text) in [
        ("http", "server { listen LISTEN ssl; server_name _;"),
        ("stream", "server { listen LISTEN ssl; return ok;"),
        ("mail", mail),
    ] {
        let own = if block == "mail" { ours(&["mail.test"]) } else { ours(&[]) };
        check(&lone(block, &format!("{text} acme_dns sni; }}")), block, &own);
        let lone = lone(block, &format!("{text} acme_dns sni default=shop; }}"));
        check(&lone, block, &ours(&["shop.test"]));
        let nameless = TlsClient::new(lone.addr()).handshake().expect("a handshake");
        assert_eq!(nameless.leaf.sans, ["shop.test"], "{block}: without a name");
    }
}

#[test]
fn certificates_of_servers_are_chosen_from_too_and_all_servers_choose_for_themselves() {
    let lone = lone(
        "http",
        "acme_dns sni default=shop;
         server { listen LISTEN ssl default_server; server_name _; acme_dns_fallback reject; }
         server { listen LISTEN ssl; server_name own.test; acme_dns own.test www.own.test; }
         server { listen LISTEN ssl; server_name static.test; CERT KEY }
         server { listen LISTEN ssl; server_name off.test; acme_dns off; CERT KEY }
         server { listen OTHER ssl; server_name _; acme_dns sni cache=1; acme_dns_fallback reject; }
         server { listen OTHER ssl; server_name *.own.test; acme_dns sni; }",
    );
    for (name, expected) in [
        ("own.test", ours(&["own.test", "www.own.test"])),
        ("www.own.test", Served::Nothing),
        ("static.test", Served::Static),
        ("off.test", Served::Static),
        // The default is not there yet, and neither is any other.
        ("unknown.test", Served::Nothing),
        ("shop.test", Served::Nothing),
    ] {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    let other = |name: &str| TlsClient::new(lone.other_addr()).sni(name).handshake();
    assert!(other("shop.test").is_err() && other("unknown.test").is_err());
    let there = other("www.own.test").expect("a handshake").leaf.sans;
    assert_eq!(there, ["own.test", "www.own.test"]);
}

#[test]
fn no_name_does_harm() {
    let lone = lone("http", "server { listen LISTEN ssl; server_name _; acme_dns sni; }");
    let workers = lone.nginx.worker_pids();
    let long = ["a".repeat(63).as_str(); 3].join(".") + &format!(".{}", "b".repeat(61));
    assert_eq!(long.len(), 253);
    let octets = "\u{1}".repeat(255);
    for name in [
        "",
        ".",
        "..",
        ".test",
        "*.",
        "*.shop.test",
        "a..test",
        "-",
        "ü.test",
        "\u{7f}",
        &octets,
        &long,
    ] {
        // Some are refused by OpenSSL or by nginx.
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("a client");
        builder.set_verify(SslVerifyMode::NONE);
        let configuration = builder.build().configure().expect("a client").verify_hostname(false);
        let mut ssl = configuration.use_server_name_indication(false).into_ssl("").expect("one");
        if ssl.set_hostname(name).is_ok() {
            let tcp = std::net::TcpStream::connect(lone.addr()).expect("a connection");
            let _outcome = ssl.connect(tcp);
        }
    }
    assert_eq!(lone.served("b.test"), ours(&["a.shop.test", "b.test"]));
    assert_eq!(lone.nginx.worker_pids(), workers, "none has died");
}

#[test]
fn issued_certificates_are_served_over_tcp_quic_streams_and_mail() {
    let mut site = Site::new();
    let (stream, mail) = (Port::reserve(), Port::reserve());
    site.quic = true;
    site.http = "acme_dns_domains customers.txt key=ecdsa:256,rsa:2048;".to_owned();
    site.nginx.add_file("customers.txt", "a.example.test\nb.example.test *.b.example.test > b\n");
    site.nginx.main(format!(
        "stream {{ server {{ listen {} ssl; acme_dns sni; return ok; }} }}\n\
         mail {{ auth_http 127.0.0.1:1/; server {{ listen {} ssl; protocol imap; acme_dns sni; }} }}\n",
        stream.addr(),
        mail.addr()
    ));
    site.add_server("_", "sni default=b");
    site.start_nginx();
    let root = site.bed.pebble.root_pem(0);
    for certificate in ["a.example.test", "a.example.test-rsa", "b", "b-rsa"] {
        let line = format!("certificate \"{certificate}\" issued by");
        site.nginx.wait_for_log(&line, LIMIT);
    }
    for (name, sans) in [
        ("a.example.test", &["a.example.test"][..]),
        ("b.example.test", &["*.b.example.test", "b.example.test"]),
        ("www.b.example.test", &["*.b.example.test", "b.example.test"]),
    ] {
        for addr in [site.addr(), stream.addr(), mail.addr()] {
            for (signatures, key) in [("ECDSA+SHA256", "EC"), ("RSA-PSS+SHA256:RSA+SHA256", "RSA")]
            {
                for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
                    let client = TlsClient::new(addr).sni(name).roots(&root).version(version);
                    let peer = client.signatures(signatures).handshake().expect("a handshake");
                    assert_eq!(peer.leaf.sans, sans, "{name} {addr}");
                    assert_eq!(peer.leaf.key, key, "{name} {addr}");
                }
            }
        }
        let over_quic = Http3Client::new(site.addr(), name, Some(&root)).visit();
        assert_eq!(over_quic.expect("over QUIC").peer.leaf.sans, sans, "{name}");
    }
    assert_eq!(site.served("unknown.test").sans, ["*.b.example.test", "b.example.test"]);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 4);
    assert_eq!(site.lines("error", 0), [""; 0]);
}

#[test]
fn variables_are_those_of_the_certificate_that_was_chosen() {
    let lone = lone(
        "http",
        "server { listen LISTEN ssl; server_name _; acme_dns sni default=shop;
                  return 200 \"name=$acme_dns_certificate_name.\"; }",
    );
    for (name, expected) in
        [("b.test", "a.shop.test"), ("x.shop.test", "_.shop.test"), ("unknown.test", "shop")]
    {
        let shown = s_client(lone.addr(), name, &["-servername", name]);
        assert!(shown.contains(&format!("name={expected}.")), "{name}: {shown}");
    }
}

#[test]
fn a_session_is_resumed_with_its_own_name_only() {
    let http = "server { listen LISTEN ssl; server_name _; acme_dns sni; return 200; }
                server { listen LISTEN ssl; server_name other.test; acme_dns sni; return 200; }";
    let stream = "server { listen LISTEN ssl; acme_dns sni; return ok; }";
    for settings in [
        "",
        "ssl_session_cache shared:SSL:1m; ssl_session_tickets off;",
        "ssl_session_cache builtin;",
    ] {
        for (block, servers) in [("http", http), ("stream", stream)] {
            check_sessions(block, &format!("{settings} {servers}"));
        }
    }
}

fn check_sessions(block: &str, text: &str) {
    let lone = lone(block, text);
    let session = lone.nginx.dir().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let visit = |name: &str, more: &[&str]| {
            let own = [version, "-servername", name];
            is_resumed(&s_client(lone.addr(), name, &[&own, more].concat()))
        };
        assert!(!visit("a.shop.test", &["-sess_out", &session]), "{version} {block} {text}");
        for other in ["b.test", "x.shop.test", "other.test"] {
            assert!(!visit(other, &["-sess_in", &session]), "{version} {block} {text} {other}");
        }
        assert!(visit("a.shop.test", &["-sess_in", &session]), "{version} {block} {text}");
    }
}

/// Certificates that the test makes itself.
struct Stage {
    lone: Lone,
    generations: Generations,
    names: Vec<String>,
}

impl Stage {
    fn start(count: usize, cache: usize) -> Self {
        let mut lone = Lone::new();
        let names: Vec<_> = (0..count).map(|n| format!("n{n}.example.com")).collect();
        lone.nginx.add_file("domains.txt", names.join("\n"));
        let state = lone.nginx.dir().join("acme_dns");
        fs::create_dir(&state).expect("it is new");
        chown(&state, Some(SERVICE), Some(SERVICE)).expect("root may do that");
        let variant = |name: &String| Variant {
            directory: name.clone(),
            name: name.clone(),
            key: "ecdsa:256",
        };
        let variants = names.iter().map(variant).collect();
        let generations = Generations::new(&state, Lone::DIRECTORY, variants);
        generations.write(1);
        lone.set(&format!(
            "{}acme_dns_domains domains.txt;
             server {{ listen LISTEN ssl reuseport; server_name _; acme_dns sni cache={cache}; return 200; }}
             server {{ listen OTHER; location /acme/ {{ acme_dns_status json; }} }}",
            Lone::DEFINITIONS
        ));
        lone.nginx.workers(2).log_level("notice").start();
        Self { lone, generations, names }
    }

    /// The status of a certificate.
    fn status(&self, name: &str) -> Value {
        let url = format!("http://{}/acme/{name}", self.lone.other_addr());
        let text = block_on(async { client(None).get(url).send().await?.text().await });
        serde_json::from_str(&text.expect("it answers")).expect("it is JSON")
    }

    /// A client that takes nothing but a certificate of its name.
    fn client(&self, name: &str) -> TlsClient {
        TlsClient::new(self.lone.addr()).sni(name).roots(&self.generations.root_pem())
    }

    /// Waits until each name has been seen with a certificate of this generation.
    fn wait_for(&self, expected: u64) {
        for name in &self.names {
            let client = self.client(name);
            let seen = wait_until(LIMIT, || {
                let peer = client.handshake().unwrap_or_else(|e| panic!("{name}: {e}"));
                (generation(&peer.leaf.der) == Some(expected)).then_some(())
            });
            assert!(seen.is_some(), "{name}: {}", self.lone.nginx.log());
        }
    }
}

#[test]
fn swaps_and_reloads_under_load_give_nobody_the_certificate_of_another_name() {
    let mut stage = Stage::start(12, 3);
    stage.wait_for(1);
    let clients: Vec<_> = stage.names.iter().step_by(4).map(|name| stage.client(name)).collect();
    let loads: Vec<_> = clients
        .iter()
        .map(|client| LoadClient::start(client, 1, Duration::from_millis(20)))
        .collect();
    for generation in 2..=4 {
        stage.generations.write(generation);
        if generation % 2 == 0 {
            proc::kill(stage.lone.nginx.wait_for_helper(), Signal::KILL);
        } else {
            stage.lone.nginx.reload();
        }
        stage.wait_for(generation);
    }
    for load in loads {
        let report = load.stop();
        assert_eq!(report.failed, []);
        assert!(report.serials.len() >= 2, "{report:?}");
    }
}

#[test]
fn a_worker_keeps_no_more_certificates_ready_than_it_may() {
    let stage = Stage::start(300, 10);
    let memory = || -> Vec<u64> {
        stage.lone.nginx.worker_pids().into_iter().map(proc::private_bytes).collect()
    };
    let visit_twice = |names: &[String]| {
        for name in names.iter().chain(names) {
            stage.client(name).handshake().unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    };
    // The heap settles. Of each certificate that was kept beyond that, some 10 KB would show.
    let (first, others) = stage.names.split_at(30);
    visit_twice(first);
    let early = memory();
    visit_twice(others);
    let late = memory();
    for (early, late) in early.iter().zip(&late) {
        assert!(*late <= early + (1 << 20), "a worker's memory grows: {early} to {late}");
    }
}

#[test]
fn a_worker_does_not_copy_what_the_master_has_read() {
    // They leave small free pieces all over the master's heap, which has more than twenty MiB.
    const LINES: usize = 30_000;
    const VISITED: usize = 100;
    let mut lone = Lone::new();
    let lines: String = (0..LINES).map(|n| format!("n{n}.example.com\n")).collect();
    lone.nginx.add_file("domains.txt", lines);
    lone.set(&format!(
        "{}acme_dns_domains domains.txt;
         server {{ listen LISTEN ssl; server_name _; acme_dns sni; }}",
        Lone::DEFINITIONS
    ));
    lone.nginx.workers(2).start();
    let visit = |lone: &Lone| {
        for name in (0..VISITED).map(|n| format!("n{n}.example.com")) {
            assert_eq!(lone.served(&name), ours(&[&name]));
        }
        for worker in lone.nginx.worker_pids() {
            let own = proc::own_bytes(worker);
            assert!(own < 6 << 20, "a worker has {own} bytes of its own");
        }
    };
    visit(&lone);
    lone.nginx.reload();
    visit(&lone);
    // A configuration that is refused is read all the same, and a worker may be started after it.
    lone.set("wrong;");
    lone.nginx.try_reload().expect_err("there is no such directive");
    let before = lone.nginx.worker_pids();
    before.iter().for_each(|worker| proc::kill(*worker, Signal::KILL));
    let are_new = || {
        let now = lone.nginx.worker_pids();
        (now.len() == before.len() && now.iter().all(|worker| !before.contains(worker)))
            .then_some(())
    };
    assert!(wait_until(LIMIT, are_new).is_some(), "{}", lone.nginx.log());
    visit(&lone);
}

#[test]
fn an_error_that_there_is_none_of_takes_no_shared_memory() {
    const NUMBER: usize = 2_000;
    let stage = Stage::start(NUMBER, 10);
    // The plans are shown one after the other.
    let last = &stage.names[NUMBER - 1];
    let is_planned = || (!stage.status(last)["next"].is_null()).then_some(());
    wait_until(LIMIT, is_planned).unwrap_or_else(|| panic!("{}", stage.status(last)));
    let helper = stage.lone.nginx.wait_for_helper();
    let each = proc::shared_bytes(helper) / NUMBER as u64;
    assert!(each < 2_000, "{each} bytes for each certificate");
}

#[test]
fn a_domains_file_may_be_empty_at_first() {
    let mut lone = Lone::new();
    let file = lone.nginx.add_file("domains.txt", "");
    lone.set(&format!(
        "{}acme_dns_domains domains.txt;
         server {{ listen LISTEN ssl; server_name _; acme_dns sni; }}",
        Lone::DEFINITIONS
    ));
    lone.nginx.start();
    assert_eq!(lone.served("a.test"), ours(&[]));
    add_line(&file, "a.test");
    lone.nginx.reload();
    assert_eq!(lone.served("a.test"), ours(&["a.test"]));
}

fn add_line(file: &Path, line: &str) {
    let content = fs::read_to_string(file).expect("it is there");
    fs::write(file, format!("{content}{line}\n")).expect("it can be written");
}
