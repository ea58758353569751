//! Records: compared and put, loaded, and encrypted.

use crate::bed::{Bed, KEY, NEW_KEY, Server, done, path, run, shown};
use acme_dns_service::share::{Change, Engine, Expected, Refusal, Written};
use std::collections::BTreeSet;
use std::slice::from_ref;

#[test]
fn a_record_is_changed_only_where_it_is_as_expected() {
    for bed in Bed::all() {
        let (host, name) = (bed.host(), bed.name());
        run(async {
            let path = path("certificates/a");
            assert_eq!(host.get(&path).await, Ok(None), "{name}");
            let first = done(host.put(&path, b"1", Expected::Absent, None).await);
            let again = host.put(&path, b"x", Expected::Absent, None).await;
            assert_eq!(again, Ok(Written::Lost), "{name}");
            let second = done(host.put(&path, b"2", Expected::At(first), None).await);
            assert!(second > first, "{name}");
            let late = host.put(&path, b"x", Expected::At(first), None).await;
            assert_eq!(late, Ok(Written::Lost), "{name}");
            let found = host.get(&path).await.unwrap().unwrap();
            assert_eq!(found.revision(), second, "{name}");
            assert_eq!(shown(from_ref(&found)), [("certificates/a".into(), "2".into())]);
            let removed = host.remove(&path, first, None).await;
            assert_eq!(removed, Ok(Written::Lost), "{name}");
            done(host.remove(&path, found.revision(), None).await);
            assert_eq!(host.get(&path).await, Ok(None), "{name}");
            let gone = host.remove(&path, found.revision(), None).await;
            assert_eq!(gone, Ok(Written::Lost), "{name}");
        });
    }
}

#[test]
fn of_two_hosts_that_put_at_once_one_is_faster() {
    for bed in Bed::all() {
        let (one, other) = (bed.host(), bed.host());
        run(async {
            let path = path("certificates/a");
            let (one, other) = tokio::join!(
                one.put(&path, b"1", Expected::Absent, None),
                other.put(&path, b"2", Expected::Absent, None),
            );
            let lost = [one, other].iter().filter(|put| **put == Ok(Written::Lost)).count();
            assert_eq!(lost, 1, "{}", bed.name());
        });
    }
}

#[test]
fn everything_below_the_prefix_is_loaded_and_nothing_else() {
    for bed in Bed::all() {
        let (host, other) = (
            bed.host(),
            bed.host_with(&[&["encryption_key_file", KEY], &["prefix", "acme_dns/records0"]]),
        );
        let content = "x".repeat(100);
        run(async {
            assert_eq!(host.load().await.unwrap().changes, [], "{}", bed.name());
            done(other.put(&path("a"), b"of others", Expected::Absent, None).await);
            // More than a page.
            let names: BTreeSet<String> =
                (0..450).map(|number| format!("certificates/{number}")).collect();
            for name in &names {
                done(host.put(&path(name), content.as_bytes(), Expected::Absent, None).await);
            }
            let news = host.load().await.unwrap();
            let loaded: BTreeSet<String> =
                news.changes.iter().map(|change| change.path().to_string()).collect();
            assert_eq!(loaded, names, "{}", bed.name());
            assert!(shown(&news.changes).iter().all(|(_, shown)| *shown == content));
            assert!(news.changes.iter().all(|change| change.revision() <= news.revision));
        });
    }
}

#[test]
fn the_server_is_not_given_what_is_shared() {
    for mut bed in Bed::all() {
        let host = bed.host();
        run(async {
            let (path, content) = (path("a"), b"-----BEGIN PRIVATE KEY-----");
            done(host.put(&path, content, Expected::Absent, None).await);
        });
        let dump = bed.dump();
        let hex = b"PRIVATE KEY".map(|byte| format!("\\x{byte:02x}")).concat();
        assert!(!dump.trim().is_empty() && !dump.contains("PRIVATE KEY") && !dump.contains(&hex));
    }
}

#[test]
fn a_record_that_cannot_be_opened_is_named_and_can_be_replaced() {
    for mut bed in Bed::all() {
        bed.forge("poisoned", "\u{1}12345678nonce67890121234567890123456");
        bed.forge("short", "\u{1}");
        bed.forge("newer", "\u{2}");
        bed.forge("nothing", "");
        let (host, name) = (bed.host(), bed.name());
        run(async {
            let news = host.load().await.unwrap();
            let refused = |path: &str| {
                let found = news.changes.iter().find(|change| change.path().as_str() == path);
                match found {
                    Some(Change::Refused { revision, why, .. }) => (*revision, why.clone()),
                    other => panic!("{name}: {other:?}"),
                }
            };
            let (revision, why) = refused("poisoned");
            assert!(matches!(why, Refusal::UnknownKey { .. }), "{name}: {why:?}");
            assert_eq!(refused("short").1, Refusal::Forged, "{name}");
            assert_eq!(refused("newer").1, Refusal::Newer { version: 2 }, "{name}");
            assert_eq!(refused("nothing").1, Refusal::Forged, "{name}");
            let path = path("poisoned");
            done(host.put(&path, b"good", Expected::At(revision), None).await);
            let found = host.get(&path).await.unwrap().unwrap();
            assert_eq!(shown(&[found]), [("poisoned".into(), "good".into())], "{name}");
        });
    }
}

#[test]
fn records_of_an_old_key_are_encrypted_anew_when_they_are_loaded() {
    for bed in Bed::all() {
        let keys = |keys: &[&str]| {
            let line: Vec<&str> = ["encryption_key_file"].iter().chain(keys).copied().collect();
            bed.host_with(&[&line])
        };
        let (old, both, new) = (keys(&[KEY]), keys(&[NEW_KEY, KEY]), keys(&[NEW_KEY]));
        run(async {
            done(old.put(&path("a"), b"content", Expected::Absent, None).await);
            let refused = new.load().await.unwrap().changes;
            assert!(matches!(refused.as_slice(), [Change::Refused { .. }]), "{}", bed.name());
            let loaded = both.load().await.unwrap().changes;
            let after = new.load().await.unwrap().changes;
            assert_eq!(shown(&after), [("a".into(), "content".into())], "{}", bed.name());
            // The revision that was given is that of the new record.
            assert_eq!(loaded, after, "{}", bed.name());
        });
    }
}

#[test]
fn a_server_that_is_full_says_so() {
    use servers::etcd::EtcdOptions;
    let full_etcd = Bed::etcd(EtcdOptions { quota: Some(100_000), ..EtcdOptions::default() });
    for bed in [full_etcd, Bed::redis("maxmemory 1mb\nmaxmemory-policy noeviction\n")] {
        let host = bed.host();
        let is_etcd = matches!(bed.server, Server::Etcd(_));
        let error = run(async {
            for number in 0..20 {
                let path = path(&number.to_string());
                let put = host.put(&path, &[0; 100_000], Expected::Absent, None).await;
                if let Err(error) = put {
                    return error.to_string();
                }
            }
            panic!("it is not full")
        });
        let expected = if is_etcd { "disarm its alarm NOSPACE" } else { "raise its \"maxmemory\"" };
        assert!(error.contains(" is full: ") && error.contains(expected), "{error}");
    }
}
