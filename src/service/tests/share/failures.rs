//! Servers that are away, refuse, or are not what the block says: what is said, and which endpoint it is about.

use crate::bed::{Bed, KEY, LONG, Line, Server, Watcher, done, host, path, run};
use acme_dns_service::share::{Engine, Expected, ShareError};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use servers::authority::Authority;
use servers::etcd::{Etcd, EtcdOptions, USER};
use servers::ports::Port;
use servers::redis::Redis;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::{fs, thread};

const KEYS: Line<'static> = &["encryption_key_file", KEY];

fn refusal(kind: &str, lines: &[Line<'_>]) -> ShareError {
    let host = host(kind, lines);
    run(async { host.load().await.expect_err("nothing is loaded") })
}

#[test]
fn a_server_that_is_away_is_named() {
    let port = Port::reserve();
    for (kind, scheme) in [("etcd", "http"), ("redis", "redis")] {
        let endpoint = format!("{scheme}://{}", port.addr());
        let error = refusal(kind, &[&["endpoint", &endpoint], KEYS]);
        let text = error.to_string();
        assert!(matches!(error, ShareError::Away { .. }), "{text}");
        assert!(text.starts_with(&format!("{endpoint} cannot be reached: ")), "{text}");
        assert!(text.contains("Connection refused") && !error.is_permanent(), "{text}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    for mut bed in Bed::all() {
        let host = bed.host();
        bed.pause();
        let error = run(async { host.get(&path("a")).await.unwrap_err() });
        assert!(matches!(error, ShareError::Timeout { .. }), "{}: {error}", bed.name());
        assert!(error.to_string().contains("no answer for 3 s"), "{error}");
        assert!(error.is_unclear(), "{error}");
    }
}

#[test]
fn a_wrong_password_is_refused_with_advice() {
    let mut etcd = Bed::etcd(EtcdOptions::default());
    if let Server::Etcd(etcd) = &mut etcd.server {
        etcd.enable_authentication("acme_dns/");
    }
    let (name, password) = USER;
    // A password of Redis has no spaces in its configuration.
    // The commands that docs/directives.md lists.
    let commands = "+eval +exists +get +set +incr +del +pexpire +hget +hmget +hset +hdel +hscan +xadd +xread \
                    +xinfo +info +select";
    let acl = format!("user default off\nuser {name} on >secret ~acme_dns/* {commands}\n");
    for (bed, password, no_password, no_rights) in [
        (etcd, password, "set \"username\" and", "grant the user's role"),
        (Bed::redis(&acl), "secret", "set \"password_file\"", "its user needs the commands"),
    ] {
        let user: Line<'_> = &["username", name];
        let right: [Line<'_>; 3] = [KEYS, user, &["password_file", password]];
        let wrong: [Line<'_>; 3] = [KEYS, user, &["password_file", "no password of anybody"]];
        let elsewhere: Line<'_> = &["prefix", "of_others"];
        for (lines, advice) in [
            (&wrong[..], "check \"username\" and"),
            (&[KEYS], no_password),
            (&[&right[..], &[elsewhere]].concat(), no_rights),
        ] {
            let host = bed.host_with(lines);
            let error = run(async { host.load().await.expect_err("it is refused") });
            let text = error.to_string();
            assert!(matches!(error, ShareError::Refused { .. }), "{text}");
            assert!(text.contains(advice) && error.is_permanent() && !error.is_unclear(), "{text}");
            assert!(!text.contains("no password of anybody"), "{text}");
        }
        let host = bed.host_with(&right);
        run(async {
            let from = host.load().await.unwrap().revision;
            let lease = host.lease("order-a", LONG).await.unwrap().unwrap();
            assert_eq!(host.renew(&lease).await, Ok(true), "{}", bed.name());
            let first = done(host.put(&path("a"), b"1", Expected::Absent, Some(&lease)).await);
            let mut watcher = Watcher::new(host.clone(), from);
            watcher.until_put("a", "1").await;
            done(host.remove(&path("a"), first, Some(&lease)).await);
            host.release(&lease).await.unwrap();
        });
    }
}

#[test]
fn a_user_of_a_server_that_asks_for_none_is_refused() {
    let bed = Bed::etcd(EtcdOptions::default());
    let host = bed.host_with(&[KEYS, &["username", "u"], &["password_file", "p"]]);
    let error = run(async { host.load().await.expect_err("it is refused") }).to_string();
    assert!(error.contains("enable its authentication, or remove \"username\""), "{error}");
}

#[test]
fn certificates_are_checked_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("authority"));
    let stranger = Authority::create(&dir.path().join("stranger"));
    let read = |path: &std::path::Path| fs::read_to_string(path).unwrap();
    let (ca, other_ca) = (read(authority.ca_file()), read(stranger.ca_file()));
    let (certificate, key) = (read(authority.certificate_file()), read(authority.key_file()));
    let options = EtcdOptions {
        authority: Some(&authority),
        asks_certificate: true,
        ..EtcdOptions::default()
    };
    for bed in [
        Bed::make(|dir| Server::Etcd(Etcd::start(dir, options))),
        Bed::make(|dir| Server::Redis(Redis::start_with_tls(dir, "", &authority))),
    ] {
        let own: [Line<'_>; 3] = [KEYS, &["certificate", &certificate], &["certificate_key", &key]];
        let trusted: &[&str] = &["trusted_certificate", &ca];
        let good = bed.host_with(&[&own[..], &[trusted]].concat());
        assert!(run(async { good.load().await }).is_ok(), "{}", bed.name());
        let foreign: &[&str] = &["trusted_certificate", &other_ca];
        for lines in [&own[..], &[&own[..], &[foreign]].concat()] {
            let host = bed.host_with(lines);
            let error = run(async { host.load().await.expect_err("it is not trusted") });
            assert!(matches!(error, ShareError::Untrusted { .. }), "{}: {error}", bed.name());
        }
        let unknown = bed.host_with(&[KEYS, trusted]);
        let text = run(async { unknown.load().await.expect_err("it is unknown") }).to_string();
        assert!(text.contains("certificate"), "{text}");
        let plain = bed.endpoints()[0].replace("rediss", "redis").replace("https", "http");
        let text = refusal(bed.name(), &[&["endpoint", &plain], KEYS]).to_string();
        assert!(text.starts_with(&plain), "{text}");
    }
}

/// The reason that a server gives for closing a connection may get lost: a server of our own makes each end for certain.
#[test]
fn a_connection_that_is_closed_without_a_word_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("authority"));
    let read = |path: &std::path::Path| fs::read_to_string(path).unwrap();
    let ca = read(authority.ca_file());
    let (certificate, key) = (read(authority.certificate_file()), read(authority.key_file()));
    let own: [Line<'_>; 2] = [&["certificate", &certificate], &["certificate_key", &key]];
    let ends = [End::Closed, End::Reset].map(|end| [(true, end), (false, end)]);
    for (has_tls, end) in ends.into_iter().flatten() {
        let address = closing_server(has_tls.then_some(&authority), end);
        for (kind, scheme) in [("etcd", "https"), ("redis", "rediss")] {
            let endpoint = format!("{scheme}://{address}");
            let lines: [Line<'_>; 3] =
                [KEYS, &["endpoint", &endpoint], &["trusted_certificate", &ca]];
            for (more, guess) in [
                (&[][..], "; perhaps it asks for a \"certificate\""),
                (&own, "; perhaps it does not trust the \"certificate\""),
            ] {
                let error = refusal(kind, &[&lines, more].concat());
                let text = error.to_string();
                assert!(matches!(error, ShareError::Away { .. }), "{kind} {end:?}: {text}");
                let guess = if has_tls { guess } else { "; perhaps it has no TLS" };
                assert!(text.ends_with(guess), "{kind} {end:?}: {text}");
            }
        }
    }
}

/// End of a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// After what was sent has been read.
    Closed,
    /// Before that, so that the system resets it.
    Reset,
}

/// Starts a server that ends each connection when something comes; with an authority, when it comes after the TLS handshake.
fn closing_server(authority: Option<&Authority>, end: End) -> SocketAddr {
    let acceptor = authority.map(|authority| {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate_chain_file(authority.certificate_file()).unwrap();
        acceptor.set_private_key_file(authority.key_file(), SslFiletype::PEM).unwrap();
        acceptor.build()
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = match (&acceptor, end) {
                (None, End::Closed) => connection.read(&mut [0; 65536]),
                (None, End::Reset) => connection.peek(&mut [0]),
                (Some(acceptor), end) => {
                    let Ok(mut stream) = acceptor.accept(connection) else { continue };
                    match end {
                        End::Closed => stream.read(&mut [0; 65536]),
                        End::Reset => stream.get_ref().peek(&mut [0]),
                    }
                }
            };
        }
    });
    address
}

#[test]
fn what_is_no_such_server_is_named() {
    let [etcd, redis] = Bed::all();
    let (etcd, redis) = (etcd.endpoints()[0].clone(), redis.endpoints()[0].clone());
    let (etcd, redis) = (etcd.trim_start_matches("http://"), redis.trim_start_matches("redis://"));
    for (kind, endpoint, expected) in [
        ("etcd", format!("http://{redis}"), "cannot be reached"),
        ("redis", format!("redis://{etcd}"), "cannot be reached"),
        ("etcd", format!("https://{etcd}"), "no TLS"),
        ("redis", format!("rediss://{redis}"), "no TLS"),
    ] {
        let text = refusal(kind, &[&["endpoint", &endpoint], KEYS]).to_string();
        assert!(text.starts_with(&endpoint) && text.contains(expected), "{text}");
    }
}
