//! Web servers that are their own clients: Caddy and Traefik.

use super::{
    Made, ONE_KEY, OTHER_CA, REAL, REAL_CA, account_keys, config, give, make, search, search_in,
    tree,
};
use crate::import::{account_files, open_account_key};
use acme_dns_core::config::ImportFormat;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Traefik's file, with one account.
pub(super) fn traefik(account: &str, certificates: &[&Made]) -> String {
    let base64 = |text: &str| openssl::base64::encode_block(text.as_bytes());
    let entries: Vec<_> = certificates
        .iter()
        .map(|made| json!({"certificate": base64(&made.chain), "key": base64(&made.key), "Store": "default"}))
        .collect();
    let account = json!({"Registration": {"uri": account}, "PrivateKey": base64("PKCS #1")});
    json!({"le": {"Account": account, "Certificates": entries}, "other": null}).to_string()
}

#[test]
fn one_file_of_traefik_has_the_certificates_and_accounts_of_several_cas() {
    let (of_real, of_other) = (make(&["a.test"], 30), make(&["a.test"], 80));
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let mut all = json(traefik("https://ca.example:14000/a/1", &[&make(&["b.test"], 9), &of_real]));
    let mut other = json(traefik("https://staging.example/a/1", &[&of_other]));
    other["le"]["Account"]["PrivateKey"] = Value::from("b3RoZXI=");
    all["staging"] = other["le"].take();
    let dir = tree(&[("acme.json", &all.to_string())]);
    let file = dir.path().join("acme.json");
    for path in [dir.path(), &file] {
        let config = config(&[(ImportFormat::Traefik, path)], &["a.test"], &ONE_KEY);
        let (found, told) = search(&config);
        assert_eq!(told, []);
        assert_eq!(found[0].0.fingerprint, of_real.fingerprint, "the other one is of another CA");
        assert_eq!(found[0].0.source, file);
        for (issuer, expected) in [(REAL_CA, "UEtDUyAjMQ=="), (OTHER_CA, "b3RoZXI=")] {
            assert_eq!(account_keys(&config, issuer), std::slice::from_ref(&file));
            let files = account_files(&config, issuer);
            let key = open_account_key(&config, &files[0]).unwrap().unwrap().pem.unwrap();
            let expected = format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{expected}\n-----END RSA PRIVATE KEY-----\n"
            );
            assert_eq!(key.as_slice(), expected.as_bytes());
        }
    }
}

#[test]
fn each_file_is_read_as_what_it_was_found_by() {
    let json = traefik("https://ca.example:14000/a/1", &[]);
    let user = "acme/ca.example-14000-acme-dir/users/default/default.key";
    let dir = tree(&[("acme.json", &json), (user, "a key")]);
    let [caddy, traefik] = [ImportFormat::Caddy, ImportFormat::Traefik].map(|it| (it, dir.path()));
    for imports in [[caddy, traefik], [traefik, caddy]] {
        let config = config(&imports, &["a.test"], &ONE_KEY);
        let files = account_files(&config, REAL_CA);
        assert_eq!(files.len(), 2);
        for file in files {
            let key = open_account_key(&config, &file).unwrap().unwrap();
            assert_eq!(key.pem.is_some(), file.path.ends_with("acme.json"), "{file:?}");
        }
    }
}

#[test]
fn the_account_of_a_resolver_that_names_no_ca_needs_an_only_issuer() {
    let dir = tree(&[("acme.json", r#"{"le":{"Account":{"PrivateKey":"MII="}}}"#)]);
    let mut config = config(&[(ImportFormat::Traefik, dir.path())], &["a.test"], &ONE_KEY);
    assert!(account_keys(&config, REAL_CA).is_empty());
    config.issuers.truncate(1);
    assert_eq!(account_keys(&config, REAL_CA), [dir.path().join("acme.json")]);
}

#[test]
fn a_file_of_traefik_that_cannot_be_used_is_named_with_the_reason() {
    let made = make(&["a.test"], 30);
    let v1 = r#"{"Account":{"Email":"me@a.test"},"Certificates":[{"Domain":{"Main":"a.test"}}]}"#;
    let junk = r#"{"le":{"Certificates":[{"certificate":"?","key":"?"}]}}"#;
    let cut =
        traefik(REAL, &[&made]).replace(&openssl::base64::encode_block(made.key.as_bytes()), "");
    for (row, content, expected) in [
        ("empty, as before the first start", "", "holds no certificates of traefik"),
        (
            "nothing yet",
            r#"{"le":{"Account":null,"Certificates":null}}"#,
            "holds no certificates of traefik",
        ),
        ("version 1", v1, "it is no \"acme.json\" of Traefik 2 or 3"),
        ("not JSON", "-----BEGIN CERTIFICATE-----", "it is no \"acme.json\" of Traefik 2 or 3"),
        ("no base64", junk, "it holds no certificate in PEM"),
        ("no key", &cut, "holds no unencrypted private key in PEM"),
    ] {
        let dir = tree(&[("acme.json", content)]);
        let (found, told) = search_in(ImportFormat::Traefik, &dir.path().join("acme.json"));
        assert!(found.is_empty(), "{row}");
        let [(_, line)] = told.as_slice() else { panic!("{row}: {told:?}") };
        assert!(line.contains(expected) && line.contains("/acme.json\""), "{row}: {line}");
    }
    let dir = tree(&[]);
    fs::File::create(dir.path().join("acme.json")).unwrap().set_len(1 << 40).unwrap();
    let (_, told) = search_in(ImportFormat::Traefik, dir.path());
    assert!(told[0].1.contains("it is larger than"), "{told:?}");
}

/// A certificate of Caddy's with what its JSON file says.
fn caddy(issuer: &str, name: &str, json: &str, made: &Made) -> TempDir {
    let base = format!("certificates/{issuer}/{name}/{name}");
    let files = ["crt", "key", "json"].map(|end| format!("{base}.{end}"));
    let [chain, key, data] = &files;
    tree(&[(chain, &made.chain), (key, &made.key), (data, json), ("certificates/README", "")])
}

#[test]
fn the_ca_of_caddy_is_in_a_file_of_each_certificate() {
    let made = make(&["*.a.test"], 30);
    let rows: [(&str, &str, &str, &str); 5] = [
        (
            "its directory",
            "ca",
            r#"{"issuer_data":{"ca":"https://ca.example:14000/acme/dir"}}"#,
            "",
        ),
        ("an old version", "ca", r#"{"issuer_data":{"url":"https://ca.example:14000/c/1"}}"#, ""),
        (
            "another CA",
            "ca",
            r#"{"issuer_data":{"ca":"https://staging.example/dir"}}"#,
            "from another CA than configured (https://staging.example/dir)",
        ),
        ("Caddy's own", "local", r#"{"sans":["a.test"],"issuer_data":null}"#, "names no ACME CA"),
        ("nothing", "ca", "", "names no ACME CA"),
    ];
    for (row, issuer, json, expected) in rows {
        let dir = caddy(issuer, "wildcard_.a.test", json, &made);
        let (found, told) =
            search(&config(&[(ImportFormat::Caddy, dir.path())], &["*.a.test"], &ONE_KEY));
        match expected {
            "" => assert_eq!((found.len(), told), (1, vec![]), "{row}"),
            expected => {
                assert_eq!((found.len(), told.len()), (0, 1), "{row}: {told:?}");
                assert!(told[0].1.contains(expected), "{row}: {told:?}");
            }
        }
    }
}

#[test]
fn the_account_of_caddy_with_a_contact_of_the_configuration_goes_first() {
    let users = "acme/ca.example-14000-acme-dir/users";
    let files = ["admin@a.test/admin.key", "default/default.key", "Me@a.test/me.key"];
    let paths = files.map(|file| format!("{users}/{file}"));
    let dir = tree(&paths.each_ref().map(|path| (path.as_str(), "key")));
    let mut config = config(&[(ImportFormat::Caddy, dir.path())], &["a.test"], &ONE_KEY);
    for (contact, first) in [("me@a.test", 2), ("admin@a.test", 0), ("default", 1)] {
        config.issuers[REAL_CA].contacts = vec![format!("mailto:{contact}")];
        let keys = account_keys(&config, REAL_CA);
        assert_eq!((keys.len(), &keys[0]), (3, &dir.path().join(&paths[first])), "{contact}");
        assert!(account_keys(&config, OTHER_CA).is_empty());
    }
}

#[test]
fn a_file_of_traefik_in_the_directory_of_another_user_leads_nowhere_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = make(&["a.test"], 30);
    let json = traefik("https://ca.example:14000/a/1", &[&made]);
    for (row, target, expected) in [("within", "real.json", true), ("outside", "", false)] {
        let (dir, out) = (tree(&[("real.json", &json)]), tree(&[("acme.json", &json)]));
        let file = dir.path().join("acme.json");
        match target {
            "" => symlink(out.path().join("acme.json"), &file).unwrap(),
            target => symlink(target, &file).unwrap(),
        }
        give(dir.path());
        let config = config(&[(ImportFormat::Traefik, &file)], &["a.test"], &ONE_KEY);
        let (found, told) = search(&config);
        assert_eq!(found.len(), usize::from(expected), "{row}: {told:?}");
        assert_eq!(account_keys(&config, REAL_CA).len(), usize::from(expected), "{row}");
        assert!(expected || told[0].1.contains("it leads out of"), "{told:?}");
    }
}
