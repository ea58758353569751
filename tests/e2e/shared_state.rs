//! Two on one state path: who waits for the lock serves what its holder writes.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::chown;

use rustix::process::Signal;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::clients::tls::{SslVersion, TlsClient};
use testbed::measurements::proc::kill;
use testbed::nginx::generations::{Generations, Variant, generation};

use crate::lone::Lone;
use crate::site::{CROWD, LIMIT, SERVICE};

const NAME: &str = "example.test";
const RSA_NAME: &str = "example.test-rsa";

/// Clients that each take one type of key and speak one version.
const CLIENTS: [(&str, SslVersion, &str); 4] = [
    ("ecdsa", SslVersion::TLS1_2, "ECDSA+SHA256"),
    ("rsa", SslVersion::TLS1_2, "RSA-PSS+SHA256:RSA+SHA256"),
    ("ecdsa", SslVersion::TLS1_3, "ECDSA+SHA256"),
    ("rsa", SslVersion::TLS1_3, "RSA-PSS+SHA256:RSA+SHA256"),
];

/// An nginx that waits, and the holder of the lock, which this process stands for.
struct Waiting {
    lone: Lone,
    made: Generations,
    lock: File,
}

impl Waiting {
    /// Takes the lock of a new state path, before nginx is there.
    fn new() -> Self {
        let lone = Lone::new();
        let state = lone.nginx.dir().join("acme_dns");
        fs::create_dir(&state).expect("it is new");
        let lock = File::create(state.join("lock")).expect("it can be made");
        for path in [state.clone(), state.join("lock")] {
            chown(path, Some(SERVICE), Some(SERVICE)).expect("root may do that");
        }
        lock.lock().expect("nobody else has it");
        let variant = |directory: &str, key| Variant {
            directory: directory.to_owned(),
            name: NAME.to_owned(),
            key,
        };
        let variants = vec![variant(NAME, "ecdsa:256"), variant(RSA_NAME, "rsa:2048")];
        let made = Generations::new(&state, Lone::DIRECTORY, variants);
        Self { lone, made, lock }
    }
}

/// The generation that a client gets.
fn served(addr: SocketAddr, name: Option<&str>, client: usize) -> Option<u64> {
    let (_, version, signatures) = CLIENTS[client];
    let mut client = TlsClient::new(addr).version(version).signatures(signatures);
    if let Some(name) = name {
        client = client.sni(name);
    }
    client.handshake().ok().and_then(|peer| generation(&peer.leaf.der))
}

/// A server for each client, so that the handshake of each is the first one after a change.
struct Servers {
    all: Vec<(String, SocketAddr, Option<String>)>,
    /// One more, which shows when a change has come.
    probe: SocketAddr,
}

impl Servers {
    /// Waits for a change, and looks what each client gets at each of its servers: the generations of both
    /// types of key.
    fn check(&self, when: &str, ecdsa: Option<u64>, rsa: Option<u64>) {
        let is_there = || {
            let probed = [served(self.probe, None, 2), served(self.probe, None, 3)];
            (probed == [ecdsa, rsa]).then_some(())
        };
        wait_until(LIMIT, is_there).unwrap_or_else(|| panic!("{when}: no change"));
        for (index, (kind, addr, name)) in self.all.iter().enumerate() {
            let client = index % CLIENTS.len();
            let (key, version, _) = CLIENTS[client];
            let expected = if key == "rsa" { rsa } else { ecdsa };
            let served = served(*addr, name.as_deref(), client);
            assert_eq!(served, expected, "{when}: {kind}, {key}, {version:?}");
        }
    }
}

/// Every kind of context that a server can have, four of each.
fn every_kind(lone: &mut Lone, ports: &mut Vec<Port>) -> Servers {
    let bound = format!("acme_dns {NAME} key=ecdsa:256,rsa:2048;");
    let mut servers = Vec::new();
    let (mut http, mut stream, mut mail) = (String::new(), String::new(), String::new());
    let mut port = || {
        ports.push(Port::reserve());
        ports[ports.len() - 1].addr()
    };
    let (named, crowd, probe) = (port(), port(), port());
    let mut add = |kind: &str, addr, name: Option<String>| {
        servers.push((kind.to_owned(), addr, name));
    };
    http += &format!("server {{ listen {probe} ssl; {bound} }}\n");
    for (index, _) in CLIENTS.iter().enumerate() {
        let addr = port();
        http += &format!("server {{ listen {addr} ssl; {bound} }}\n");
        add("the default server", addr, None);
        let addr = port();
        stream += &format!("server {{ listen {addr} ssl; {bound} return ok; }}\n");
        add("stream", addr, None);
        let addr = port();
        mail += &format!("server {{ listen {addr} ssl; protocol imap; {bound} }}\n");
        add("mail", addr, None);
        // Other settings, so that it is alike to none.
        let name = format!("n{index}.test");
        http += &format!(
            "server {{ listen {named} ssl; server_name {name}; ssl_session_timeout {}m; {bound} }}\n",
            index + 7
        );
        add("a context of its own", named, Some(name));
    }
    for index in 0..CROWD {
        http += &format!("server {{ listen {crowd} ssl; server_name c{index}.test; {bound} }}\n");
    }
    for index in 0..CLIENTS.len() {
        add("a shared context", crowd, Some(format!("c{}.test", CROWD - 1 - index)));
    }
    // Sorted by kind, each takes one of the clients.
    servers.sort();
    lone.nginx.main(format!(
        "stream {{ {stream} }}\nmail {{ auth_http 127.0.0.1:1/; server_name mail.test; {mail} }}"
    ));
    let protocols = "ssl_protocols TLSv1.2 TLSv1.3;\n";
    lone.nginx.http(format!("{}{protocols}{http}", Lone::DEFINITIONS));
    Servers { all: servers, probe }
}

#[test]
fn the_first_handshake_after_a_change_has_what_is_new_of_each_type_of_key() {
    let mut waiting = Waiting::new();
    waiting.made.write_only(1, &[NAME]);
    let mut ports = Vec::new();
    let servers = every_kind(&mut waiting.lone, &mut ports);
    waiting.lone.nginx.start();
    servers.check("one type", Some(1), None);
    for (when, generation, renewed, ecdsa, rsa) in [
        ("a second type", 2, &[RSA_NAME][..], 1, 2),
        ("ECDSA alone", 3, &[NAME], 3, 2),
        ("RSA alone", 4, &[RSA_NAME], 3, 4),
        ("both", 5, &[NAME, RSA_NAME], 5, 5),
        ("ECDSA alone once more", 6, &[NAME], 6, 5),
    ] {
        waiting.made.write_only(generation, renewed);
        servers.check(when, Some(ecdsa), Some(rsa));
    }
}

#[test]
fn who_waits_serves_what_the_holder_writes_whoever_that_is() {
    let mut waiting = Waiting::new();
    waiting.lone.set(&format!(
        "{}server {{ listen LISTEN ssl; server_name {NAME}; acme_dns on; }}",
        Lone::DEFINITIONS
    ));
    waiting.lone.nginx.start();
    let addr = waiting.lone.addr();
    assert_eq!(served(addr, None, 2), None, "nothing is there yet");
    let wait_for = |waiting: &Waiting, number: u64| {
        let is_there = wait_until(LIMIT, || (served(addr, None, 2) == Some(number)).then_some(()));
        assert!(is_there.is_some(), "{number}: {}", waiting.lone.nginx.log());
    };
    waiting.made.write_only(1, &[NAME]);
    wait_for(&waiting, 1);
    // A third one takes the lock, before who waits can.
    let other = File::open(waiting.lone.nginx.dir().join("acme_dns/lock")).expect("it is there");
    let service = waiting.lone.nginx.wait_for_helper();
    kill(service, Signal::STOP);
    waiting.lock.unlock().expect("it was held");
    other.lock().expect("nobody else has it");
    kill(service, Signal::CONT);
    waiting.made.write_only(2, &[NAME]);
    wait_for(&waiting, 2);
    // What it finds when it gets the lock itself is served as well.
    waiting.made.write_only(3, &[NAME]);
    other.unlock().expect("it was held");
    wait_for(&waiting, 3);
}
