//! Certificates from a domains file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use testbed::clients::tls::{Leaf, TlsClient};

use crate::lone::{Lone, Served, ours};
use crate::reload::{RELOAD, Reader};
use crate::site::{LIMIT, Site};

/// Waits until a certificate is on disk, whoever serves it.
fn wait_for_files(site: &Site, certificate: &str, mark: u64) -> Leaf {
    let line = format!("certificate \"{certificate}\" issued by");
    site.nginx.wait_for_log_from(mark, &line, LIMIT);
    site.check_files(certificate)
}

#[test]
fn a_line_is_a_certificate_without_a_server_and_of_the_servers_that_it_covers() {
    let mut site = Site::new();
    site.http = "acme_dns_domains domains.txt;".to_owned();
    site.nginx.add_file(
        "domains.txt",
        "# As dehydrated has it.\r\n\r\nMail.example.test\timap.example.test > Office\r\n\
         example.test *.example.test\r\n",
    );
    // The first is the default.
    site.add_server("_", "on name=office");
    site.add_server("www.example.test", "on");
    site.add_server("a.example.test", "on");
    site.start_nginx();
    let covering = site.wait_for_certificate("www.example.test").leaf;
    assert_eq!(covering.sans, ["*.example.test", "example.test"]);
    assert_eq!(site.served("a.example.test"), covering);
    assert_eq!(site.check_files("example.test"), covering);
    let office = wait_for_files(&site, "office", 0);
    assert_eq!(office.sans, ["imap.example.test", "mail.example.test"]);
    assert_eq!(site.wait_for_certificate("imap.example.test").leaf, office);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 2);
    assert_eq!(site.entries("certs"), [".versions", "example.test", "office"]);
    assert_eq!(site.lines("error", 0), [""; 0]);
}

#[test]
fn after_a_reload_new_lines_are_ordered_and_old_ones_are_left_alone() {
    let mut site = Site::new();
    site.http = "acme_dns_domains domains.txt;".to_owned();
    site.nginx.add_file("domains.txt", "a.example.test\nb.example.test\n");
    site.set_servers(&["a.example.test"]);
    site.start_nginx();
    let first = wait_for_files(&site, "a.example.test", 0);
    let gone = wait_for_files(&site, "b.example.test", 0);
    let mark = site.nginx.log_mark();
    site.nginx.add_file("domains.txt", "a.example.test\nc.example.test > added\n");
    site.reload();
    assert_eq!(wait_for_files(&site, "added", mark).sans, ["c.example.test"]);
    assert_eq!(site.served("a.example.test"), first);
    assert_eq!(site.check_files("b.example.test"), gone, "its files stay");
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 3);
}

#[test]
fn servers_without_a_line_go_on_as_before() {
    let mut lone = Lone::new();
    lone.nginx.add_file("domains.txt", "example.com *.example.com > web\nx.test > x\n");
    // Behind the servers, too.
    lone.set(&format!(
        "{}acme_dns on;
         server {{ listen LISTEN ssl; server_name www.example.com; }}
         server {{ listen LISTEN ssl; server_name b.www.example.com; }}
         server {{ listen LISTEN ssl; server_name k.example.com; acme_dns on key=rsa:2048; }}
         server {{ listen LISTEN ssl; server_name *.example.com example.com;
                  acme_dns example.com *.example.com; }}
         server {{ listen LISTEN ssl; server_name own.example.com; CERT KEY }}
         server {{ listen LISTEN ssl default_server; server_name _ ~^y; acme_dns on name=x; }}
         acme_dns_domains domains.txt;",
        Lone::DEFINITIONS
    ));
    let (good, output) = lone.nginx.test();
    assert!(good && !output.contains("[warn]"), "{output}");
    lone.nginx.start();
    for (name, expected) in [
        ("www.example.com", ours(&["*.example.com", "example.com"])),
        ("b.www.example.com", ours(&["b.www.example.com"])),
        ("k.example.com", ours(&["k.example.com"])),
        ("example.com", ours(&["*.example.com", "example.com"])),
        ("own.example.com", Served::Static),
        ("unknown.test", ours(&["x.test"])),
    ] {
        assert_eq!(lone.served(name), expected, "{name}");
    }
    assert_eq!(lone.missing(), ["web", "x", "b.www.example.com", "k.example.com"]);
}

#[test]
fn an_alias_in_http_is_for_all_servers() {
    let mut lone = Lone::new();
    lone.nginx.add_file("domains.txt", "example.com > web\n");
    lone.set(&format!(
        "{}acme_dns_domains domains.txt;
         acme_dns on name=web;
         server {{ listen LISTEN ssl; server_name a.test; }}
         server {{ listen LISTEN ssl default_server; server_name _; }}",
        Lone::DEFINITIONS
    ));
    lone.nginx.start();
    for name in ["a.test", "unknown.test"] {
        assert_eq!(lone.served(name), ours(&["example.com"]), "{name}");
    }
}

#[test]
fn streams_and_mail_use_lines_too() {
    let server = "server { listen LISTEN ssl; acme_dns on name=web; return ok; }";
    let mail = "server_name www.example.com; auth_http 127.0.0.1:1/;
                server { listen LISTEN ssl; protocol imap; acme_dns on; }";
    for (block, text) in [("stream", server), ("mail", mail)] {
        let mut lone = Lone::new();
        lone.nginx.add_file("domains.txt", "www.example.com b.example.com > web\n");
        let text = lone.fill_in(text);
        let main =
            format!("{}acme_dns_domains domains.txt;\n{block} {{ {text} }}\n", Lone::DEFINITIONS);
        lone.nginx.no_http().main(main);
        lone.nginx.start();
        let expected = ours(&["b.example.com", "www.example.com"]);
        assert_eq!(lone.served("www.example.com"), expected, "{block}");
    }
}

#[test]
fn a_file_alone_is_enough() {
    let mut lone = Lone::new();
    lone.nginx.add_file("domains.txt", "a.example.com\n");
    lone.nginx.no_http().main(format!("{}acme_dns_domains domains.txt;\n", Lone::DEFINITIONS));
    lone.nginx.start();
    let line = lone.nginx.wait_for_log("acme_dns: no certificate \"a.example.com\" yet", LIMIT);
    assert!(line.ends_with("yet"), "no server has to do without: {line}");
}

#[test]
fn mistakes_are_told_with_file_and_line() {
    let mut lone = Lone::new();
    let dir = lone.nginx.path("").display().to_string().trim_end_matches('/').to_owned();
    let server = "server { listen LISTEN ssl; server_name _; acme_dns on name=typo; }";
    let label = "it has a label that is empty, longer than 63 characters or not made of letters, \
                 digits and inner hyphens";
    let mistake = |text: &str, message: &str| {
        (text.to_owned(), "domains.txt;", "", format!("{message} in DIR/domains.txt:2"))
    };
    let here = |directive: &'static str, message: &str| {
        (String::new(), directive, "", format!("{message} in DIR/nginx.conf:HERE"))
    };
    for (text, directive, more, expected) in [
        mistake("exa_mple.test", &format!("\"exa_mple.test\" cannot be certified: {label}")),
        mistake("a.test # main", "a comment needs a line of its own"),
        mistake("a.test >", "there is no alias behind \">\""),
        mistake(
            "b.test > first",
            "certificate \"first\" is defined with different settings",
        ),
        here("none.txt;", "open() \"DIR/none.txt\" failed (2: No such file or directory)"),
        here("domains.txt name=web;", "invalid parameter \"name=web\""),
        here("domains.txt key=rsa:1;", "invalid key type \"rsa:1\", known types are ecdsa:256, ecdsa:384, rsa:2048, rsa:3072, rsa:4096"),
        here("domains.txt issuer=other;", "no \"acme_dns_issuer\" is defined for \"issuer=other\""),
        here("\"\";", "invalid path \"\""),
        (
            "a.test > alias".to_owned(),
            "domains.txt;",
            server,
            "\"_\" cannot be certified: it is not a domain name, and no domains file has a certificate \"typo\" in DIR/nginx.conf:SERVER".to_owned(),
        ),
    ] {
        lone.nginx.add_file("domains.txt", format!("c.test > first\n{text}\n"));
        lone.set(&format!("{}acme_dns_domains {directive}\n{more}\n", Lone::DEFINITIONS));
        let (good, output) = lone.nginx.test();
        let conf = fs::read_to_string(lone.nginx.dir().join("nginx.conf")).expect("it is there");
        let line = |text: &str| {
            let at = conf.lines().position(|line| line.contains(text));
            at.map_or(0, |at| at + 1).to_string()
        };
        let expected = expected
            .replace("DIR", &dir)
            .replace("HERE", &line("acme_dns_domains"))
            .replace("SERVER", &line("name=typo"));
        let emerg: Vec<_> = output.lines().filter(|line| line.contains("[emerg]")).collect();
        assert!(!good, "{expected}");
        assert_eq!(emerg, [format!("nginx: [emerg] {expected}")]);
    }
}

#[test]
fn an_edited_file_is_not_put_into_force_by_a_renewal() {
    let mut reader = Reader::start(|site| {
        site.http = "acme_dns_domains domains.txt;".to_owned();
        // The helper compares what it may read.
        let file = site.nginx.add_file("domains.txt", "other.example.test\n");
        fs::set_permissions(file, Permissions::from_mode(0o644)).expect("a mode");
    });
    let before = reader.reloads();
    let file = reader.site.nginx.dir().join("domains.txt");
    fs::write(file, "other.example.test half a line\n").expect("it is written");
    reader.renew();
    let line = reader.site.nginx.wait_for_log("NGINX reads, but it is not reloaded", RELOAD);
    assert!(line.contains("[error]") && line.contains("domains.txt"), "{line}");
    assert_eq!(reader.reloads(), before);
}

#[test]
fn thousands_of_lines_and_servers_are_read() {
    let mut lone = Lone::new();
    let port = Port::reserve();
    let names: Vec<_> = (0..2000).map(|number| format!("n{number}.example.com")).collect();
    let lines: Vec<_> = names.iter().map(|name| format!("{name} *.{name}\n")).collect();
    lone.nginx.add_file("domains.txt", lines.concat());
    let server = |name| {
        format!("server {{ listen {} ssl; server_name www.{name}; acme_dns on; }}\n", port.addr())
    };
    let servers: Vec<_> = names.iter().map(server).collect();
    lone.set(&format!(
        "server_names_hash_max_size 16384; {}acme_dns_domains domains.txt;\n{}",
        Lone::DEFINITIONS,
        servers.concat()
    ));
    lone.nginx.start();
    let peer = TlsClient::new(port.addr()).sni("www.n1999.example.com").handshake();
    assert_eq!(peer.expect("a handshake").leaf.sans, ["*.n1999.example.com", "n1999.example.com"]);
    // One line for all of them, whoever uses them.
    let log = lone.nginx.log();
    let lines = log.lines().filter_map(|line| line.split_once(" certificates are missing"));
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok());
    let missing: Vec<usize> = lines.filter_map(|(start, _)| number(start)).collect();
    assert_eq!(missing.iter().sum::<usize>(), names.len(), "{log}");
    assert!(missing.len() <= 2, "{log}");
}
