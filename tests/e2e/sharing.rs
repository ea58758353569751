//! Many servers share what nginx keeps for TLS; those that must not do not.

use std::path::Path;

use rustix::process::Signal;
use servers::authority::Authority;
use servers::process::wait_until;
use testbed::clients::http3::Http3Client;
use testbed::clients::tls::{Leaf, TlsError};
use testbed::measurements::proc;

use crate::lone::{Lone, Served, ours};
use crate::site::{CROWD, LIMIT, Site};
use crate::support::{is_resumed, s_client};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Returns what OpenSSL's client shows of a handshake with a server.
fn visit(lone: &Lone, name: &str, more: &[&str]) -> String {
    s_client(lone.addr(), name, &[&["-servername", name], more].concat())
}

/// Protocols that nginx has by default only from 1.23.4 on.
const PROTOCOLS: &str = "ssl_protocols TLSv1.2 TLSv1.3;\n";

/// A server of a name at `LISTEN`.
fn server(name: &str, more: &str) -> String {
    format!(
        "server {{ listen LISTEN ssl; server_name {name}; acme_dns on; return 200 {name}; {more} }}\n"
    )
}

/// More servers than have something of their own. The first one is the default server.
fn crowd(more: &str) -> String {
    (0..CROWD).map(|n| server(&format!("n{n}.test"), more)).collect()
}

#[test]
fn each_of_many_servers_has_its_own_certificate() {
    let names: Vec<_> = (0..80).map(|n| format!("n{n}.example.test")).collect();
    for default in ["", "server { listen LISTEN ssl default_server; ssl_reject_handshake on; }\n"] {
        let servers: String = names.iter().map(|name| server(name, "")).collect();
        let mut lone = Lone::start(&format!("{default}{servers}"));
        for round in ["after the start", "after a reload"] {
            for name in &names {
                assert_eq!(lone.served(name), ours(&[name]), "{round}");
                assert!(visit(&lone, name, &[]).contains(&format!("\r\n\r\n{name}")), "{round}");
            }
            let unknown = if default.is_empty() { ours(&[&names[0]]) } else { Served::Nothing };
            assert_eq!(lone.served("unknown.test"), unknown, "{round}");
            lone.nginx.reload();
        }
    }
}

#[test]
fn a_server_with_settings_of_its_own_has_them() {
    let mut lone = Lone::new();
    let clients = Authority::create(&lone.nginx.dir().join("clients"));
    let asks = format!("ssl_verify_client on; ssl_client_certificate {};", text(clients.ca_file()));
    let (same, other) = (
        "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;",
        "ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384;",
    );
    let servers = [
        crowd(same),
        server("a.test", same),
        server("b.test", same),
        server("asks.test", &asks),
        server("asks-too.test", &asks),
        server("other.test", other),
        server("other-too.test", other),
        server("rejects.test", "ssl_reject_handshake on;"),
        server("c.test", same),
    ];
    let level = "ssl_session_cache shared:SSL:1m;\n";
    lone.set(&format!("{}{PROTOCOLS}{level}{}", Lone::DEFINITIONS, servers.concat()));
    lone.nginx.start();
    let (certificate, key) = (text(clients.certificate_file()), text(clients.key_file()));
    let identity = ["-cert", &*certificate, "-key", &*key];
    for name in ["n0.test", "n1.test", "a.test", "b.test", "c.test"] {
        assert_eq!(lone.served(name), ours(&[name]));
        let shown = visit(&lone, name, &["-tls1_2"]);
        assert!(shown.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "{name}: {shown}");
        assert!(shown.contains("No client certificate CA names sent"), "{name}: {shown}");
    }
    for name in ["other.test", "other-too.test"] {
        assert_eq!(lone.served(name), ours(&[name]));
        let shown = visit(&lone, name, &["-tls1_2"]);
        assert!(shown.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"), "{name}: {shown}");
    }
    for name in ["asks.test", "asks-too.test"] {
        for version in ["-tls1_2", "-tls1_3"] {
            let inside = format!("\r\n\r\n{name}");
            assert!(!visit(&lone, name, &[version]).contains(&inside), "{name} without");
            let welcome = visit(&lone, name, &[&[version], &identity[..]].concat());
            assert!(welcome.contains(&inside), "{name} {version}: {welcome}");
        }
    }
    assert_eq!(lone.served("rejects.test"), Served::Nothing);
}

#[test]
fn what_stands_in_for_a_missing_certificate_is_as_each_server_wants_it() {
    let lone = Lone::start(&format!(
        "{}{}{}{}",
        crowd(""),
        server("a.test", ""),
        server("b.test", "acme_dns_fallback reject;"),
        server("c.test", "")
    ));
    for name in ["a.test", "c.test"] {
        assert_eq!(lone.served(name), ours(&[name]));
    }
    let refused = lone.handshake("b.test");
    assert!(matches!(refused, Err(TlsError::Handshake(_))), "{refused:?}");
}

#[test]
fn sessions_are_resumed_at_home_and_never_where_clients_are_asked() {
    let mut lone = Lone::new();
    let clients = Authority::create(&lone.nginx.dir().join("clients"));
    let asks = format!("ssl_verify_client on; ssl_client_certificate {};", text(clients.ca_file()));
    let servers = [crowd(""), server("a.test", ""), server("b.test", ""), server("c.test", &asks)];
    let cache = "ssl_session_cache shared:SSL:1m;\n";
    lone.set(&format!("{}{PROTOCOLS}{cache}{}", Lone::DEFINITIONS, servers.concat()));
    lone.nginx.start();
    let session = text(&lone.nginx.dir().join("session"));
    for version in ["-tls1_2", "-tls1_3"] {
        for name in ["n0.test", "n1.test", "a.test", "b.test"] {
            assert!(!is_resumed(&visit(&lone, name, &[version, "-sess_out", &session])));
            let again = visit(&lone, name, &[version, "-sess_in", &session]);
            assert!(is_resumed(&again), "{name} {version}: {again}");
            let inside = visit(&lone, "c.test", &[version, "-sess_in", &session]);
            assert!(!inside.contains("\r\n\r\nc.test"), "{name} {version}: {inside}");
        }
    }
}

#[test]
fn certificates_of_both_types_are_swapped_over_tcp_and_quic() {
    const NAME: &str = "example.test";
    const SIGNATURES: [&str; 2] = ["ECDSA+SHA256", "RSA-PSS+SHA256:RSA+SHA256"];
    let mut site = Site::new();
    (site.crowd, site.quic) = (CROWD, true);
    site.add_server(NAME, "on key=ecdsa:256,rsa:2048");
    site.start_nginx();
    let mut old: Option<[Leaf; 3]> = None;
    let mut killed = String::new();
    for round in ["issued", "renewed"] {
        let serves = |list: &str| site.trusting(NAME).signatures(list).handshake().ok();
        let is_new = |leaf: &Leaf| old.iter().flatten().all(|old| old.serial != leaf.serial);
        let new = wait_until(LIMIT, || {
            let [ecdsa, rsa] = SIGNATURES.map(|list| serves(list).map(|peer| peer.leaf));
            let over_quic = Http3Client::new(site.addr(), NAME, None).visit().ok()?.peer.leaf;
            let all = [ecdsa?, rsa?, over_quic];
            all.iter().all(is_new).then_some(all)
        });
        let new = new.unwrap_or_else(|| panic!("{round}:\n{}", site.nginx.log()));
        assert_eq!(new.each_ref().map(|leaf| &*leaf.key), ["EC", "RSA", "EC"], "{round}");
        assert!(new.iter().all(|leaf| leaf.sans == [NAME]), "{round}: {new:?}");
        if old.replace(new).is_none() {
            for certificate in [NAME.to_owned(), format!("{NAME}-rsa")] {
                let order = site.state().join("actions").join(format!("renew-{certificate}"));
                std::fs::write(order, "").expect("it is written");
            }
            let helper = site.nginx.wait_for_helper();
            proc::kill(helper, Signal::KILL);
            killed = format!("process {helper} exited (on signal 9)");
        }
    }
    let mut errors = site.lines("error", 0);
    errors.retain(|line| !line.contains(&killed));
    assert_eq!(errors, [""; 0]);
}

/// Measures the memory of the master that one more server takes, in bytes.
fn memory_of_a_server(more: impl Fn(usize) -> String) -> u64 {
    const SERVERS: [usize; 2] = [1, 1_000];
    let memory = SERVERS.map(|number| {
        let servers: String =
            (0..number).map(|n| server(&format!("n{n}.example.test"), &more(n))).collect();
        let hash = "server_names_hash_max_size 8192; server_names_hash_bucket_size 128;\n";
        let lone = Lone::start(&format!("{hash}{servers}"));
        proc::private_bytes(lone.nginx.master_pid())
    });
    (memory[1] - memory[0]) / (SERVERS[1] - SERVERS[0]) as u64
}

#[test]
fn servers_with_the_same_settings_take_little_memory() {
    // None has the dhparam of another, which OpenSSL need not read.
    let alike =
        memory_of_a_server(|_| "ssl_ciphers HIGH:!aNULL; ssl_protocols TLSv1.3;".to_owned());
    let own =
        memory_of_a_server(|n| format!("ssl_ciphers HIGH:!aNULL; ssl_session_timeout {}s;", n + 1));
    assert!(alike + 8192 < own, "{alike} bytes, where each has its own context: {own}");
}
