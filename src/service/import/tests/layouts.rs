//! Places of the files of each client, and what these say of the CA.

use super::web_servers::traefik;
use super::{
    DAY, Files, Made, ONE_KEY, OTHER, OTHER_CA, REAL, REAL_CA, account_keys, config, dehydrated,
    make, search, search_in, tree, write,
};
use crate::import::fingerprint;
use crate::x509::testing::NOW;
use acme_dns_core::config::ImportFormat;
use acme_dns_core::id::CertificateId;
use acme_dns_core::level::Level;
use acme_dns_core::time::UnixTime;

/// The files of a client are found with all that they say.
fn check_layout(row: &str, format: ImportFormat, files: Files<'_>, made: &Made) {
    let dir = tree(files);
    let config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
    let (found, told) = search(&config);
    assert_eq!(told, [], "{row}");
    let [(imported, pair)] = found.as_slice() else { panic!("{row}: {}", found.len()) };
    assert_eq!(imported.fingerprint, made.fingerprint, "{row}");
    assert_eq!(fingerprint(&pair.chain[0]), made.fingerprint, "{row}");
    assert_eq!(pair.chain.len(), 2, "{row}");
    assert_eq!(pair.key.as_slice(), made.private.private_key_to_pkcs8().unwrap(), "{row}");
    assert_eq!(imported.directory, REAL, "{row}");
    assert_eq!(imported.validity.not_after, UnixTime(NOW + 30 * DAY), "{row}");
    assert!(imported.source.starts_with(dir.path()) && imported.source.exists(), "{row}");
    let existing = |issuer| {
        let paths = account_keys(&config, issuer);
        paths.into_iter().filter(|path| path.exists()).count()
    };
    let is_account =
        |path: &str| ["account", "elsewhere", "acme.json"].iter().any(|part| path.contains(part));
    let has_account = files.iter().any(|(path, _)| is_account(path));
    assert_eq!((existing(REAL_CA), existing(OTHER_CA)), (usize::from(has_account), 0), "{row}");
}

#[test]
fn each_client_has_its_files_where_they_are_looked_for() {
    let made = make(&["a.test"], 30);
    let (chain, key) = (made.chain.as_str(), made.key.as_str());
    let account = format!("accounts/{}/account_key.pem", base64url(REAL));
    let acme_json = traefik("https://ca.example:14000/a/1", &[&made]);
    let rows: [(ImportFormat, Files<'_>); 8] = [
        (ImportFormat::Traefik, &[("acme.json", &acme_json)]),
        (
            ImportFormat::Caddy,
            &[
                ("certificates/ca.example-14000-acme-dir/a.test/a.test.crt", chain),
                ("certificates/ca.example-14000-acme-dir/a.test/a.test.key", key),
                (
                    "certificates/ca.example-14000-acme-dir/a.test/a.test.json",
                    r#"{"sans":["a.test"],"issuer_data":{"url":"https://cdn.example/c/1","ca":"https://ca.example:14000/acme/dir"}}"#,
                ),
                ("acme/ca.example-14000-acme-dir/users/account@a.test/me.key", key),
                ("acme/ca.example-14000-acme-dir/users/account@a.test/me.json", "{}"),
            ],
        ),
        (
            ImportFormat::Dehydrated,
            &[
                ("certs/a/fullchain.pem", chain),
                ("certs/a/privkey.pem", key),
                (&account, key),
                ("config", "# CA=\"x\"\nCA=\"https://ca.example:14000/acme/dir\" # ours\n"),
            ],
        ),
        (
            ImportFormat::Certbot,
            &[
                ("live/a/fullchain.pem", chain),
                ("live/a/privkey.pem", key),
                ("live/README", "not a certificate"),
                ("renewal/a.conf", "[renewalparams]\nserver = https://ca.example:14000/acme/dir\n"),
                ("accounts/ca.example:14000/acme/dir/1a/private_key.json", "{}"),
            ],
        ),
        (
            ImportFormat::Lego,
            &[
                ("certificates/a.crt", chain),
                ("certificates/a.issuer.crt", &made.issuer),
                ("certificates/a.key", key),
                ("certificates/a.json", r#"{"certUrl":"https://ca.example:14000/c/1"}"#),
                ("accounts/ca.example_14000/me@a.test/keys/me@a.test.key", key),
            ],
        ),
        (
            ImportFormat::AcmeSh,
            &[
                ("a.test_ecc/fullchain.cer", chain),
                ("a.test_ecc/a.test.key", key),
                ("a.test_ecc/a.test.conf", "Le_API='https://ca.example:14000/acme/dir'\n"),
                ("ca/ca.example/acme/dir/account.key", key),
                ("dnsapi/dns_cf.sh", "#!/bin/sh"),
            ],
        ),
        (
            ImportFormat::Nginx,
            &[
                ("a.test-1f2e.crt", chain),
                ("a.test-1f2e.key", key),
                ("account.key", key),
                ("account.url", "https://ca.example:14000/my-account/1"),
            ],
        ),
        (ImportFormat::Uacme, &[("a.test/cert.pem", chain), ("private/a.test/key.pem", key)]),
    ];
    for (format, files) in rows {
        check_layout(&format.to_string(), format, files, &made);
    }
}

#[test]
fn other_settings_and_versions_of_the_clients_are_understood() {
    let made = make(&["a.test"], 30);
    let (chain, key) = (made.chain.as_str(), made.key.as_str());
    let account = format!("elsewhere/{}/account_key.pem", base64url(REAL));
    let rows: [(&str, ImportFormat, Files<'_>); 4] = [
        (
            "directories of dehydrated",
            ImportFormat::Dehydrated,
            &[
                ("c/a/fullchain.pem", chain),
                ("c/a/privkey.pem", key),
                (&account, key),
                ("config", "CERTDIR=${BASEDIR}/c\nACCOUNTDIR=\"elsewhere\"\n"),
            ],
        ),
        (
            "lego without chains",
            ImportFormat::Lego,
            &[
                ("certificates/a.crt", &made.leaf),
                ("certificates/a.issuer.crt", &made.issuer),
                ("certificates/a.key", key),
            ],
        ),
        (
            "an old acme.sh",
            ImportFormat::AcmeSh,
            &[
                ("a.test/fullchain.cer", chain),
                ("a.test/a.test.key", key),
                ("ca/ca.example/account.key", key),
            ],
        ),
        ("no account", ImportFormat::Nginx, &[("a-1f2e.crt", chain), ("a-1f2e.key", key)]),
    ];
    for (row, format, files) in rows {
        check_layout(row, format, files, &made);
    }
}

/// Encodes a URL as dehydrated does, with a newline.
fn base64url(url: &str) -> String {
    acme_dns_core::encoding::base64url(format!("{url}\n").as_bytes())
}

#[test]
fn an_account_that_does_not_say_whose_it_is_needs_an_only_issuer() {
    for (format, file) in
        [(ImportFormat::Uacme, "private/key.pem"), (ImportFormat::Nginx, "account.key")]
    {
        let dir = tree(&[(file, "key")]);
        let mut config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
        assert!(account_keys(&config, REAL_CA).is_empty(), "{format}");
        config.issuers.truncate(1);
        assert_eq!(account_keys(&config, REAL_CA), [dir.path().join(file)], "{format}");
    }
}

#[test]
fn the_ca_of_dehydrated_is_in_its_configuration_or_its_only_account() {
    let made = make(&["a.test"], 30);
    let (real, other) =
        [REAL, OTHER].map(|url| format!("accounts/{}/account_key.pem", base64url(url))).into();
    let staging = "CA=\"letsencrypt-test\"";
    let rows: [(&str, Files<'_>, Result<(), &str>); 8] = [
        ("nothing says it", &[], Ok(())),
        ("the only account", &[(&real, ""), ("config", "HOOK=x")], Ok(())),
        ("another only account", &[(&other, "")], Err(OTHER)),
        ("several accounts", &[(&real, ""), (&other, "")], Ok(())),
        ("another CA", &[("config", staging)], Err("https://acme-staging-v02.api.letsencrypt.org")),
        ("yet another", &[("config", "CA=buypass")], Err("https://api.buypass.com/")),
        (
            "the default",
            &[("config", "KEY_ALGO=rsa\n")],
            Err("https://acme-v02.api.letsencrypt.org/directory"),
        ),
        (
            "what is said later",
            &[("config", staging), ("conf.d/ca.sh", &format!("export CA={REAL}"))],
            Ok(()),
        ),
    ];
    for (row, files, expected) in rows {
        let dir = dehydrated(&[("a", &made)]);
        write(dir.path(), files);
        let (found, told) = search_in(ImportFormat::Dehydrated, dir.path());
        match expected {
            Ok(()) => assert_eq!((found.len(), told), (1, vec![]), "{row}"),
            Err(url) => {
                assert_eq!((found.len(), told.len()), (0, 1), "{row}");
                let text = format!("is from another CA than configured ({url}");
                assert!(told[0].1.contains(&text), "{row}: {told:?}");
            }
        }
    }
}

#[test]
fn a_certificate_of_another_ca_is_not_taken() {
    let made = make(&["a.test"], 30);
    let (chain, key) = (made.chain.as_str(), made.key.as_str());
    let rows: [(ImportFormat, Files<'_>); 4] = [
        (
            ImportFormat::Certbot,
            &[
                ("live/a/fullchain.pem", chain),
                ("live/a/privkey.pem", key),
                ("renewal/a.conf", "server = https://staging.example/dir\n"),
            ],
        ),
        (
            ImportFormat::Lego,
            &[
                ("certificates/a.crt", chain),
                ("certificates/a.key", key),
                ("certificates/a.json", r#"{"certUrl":"https://staging.example/c/1"}"#),
            ],
        ),
        (
            ImportFormat::AcmeSh,
            &[
                ("a.test_ecc/fullchain.cer", chain),
                ("a.test_ecc/a.test.key", key),
                ("a.test_ecc/a.test.conf", "Le_API='https://staging.example/dir'\n"),
            ],
        ),
        (
            ImportFormat::Nginx,
            &[("a.crt", chain), ("a.key", key), ("account.url", "https://staging.example/a/1")],
        ),
    ];
    for (format, files) in rows {
        let dir = tree(files);
        let (found, told) = search_in(format, dir.path());
        assert!(found.is_empty(), "{format}");
        let [(Level::Notice, line)] = told.as_slice() else { panic!("{format}: {told:?}") };
        assert!(line.contains("from another CA than configured (https://staging.exa"), "{line}");
        let mut config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
        config.certificates[CertificateId::new(0)].issuers.push(OTHER_CA);
        let (found, _) = search(&config);
        assert_eq!(found[0].0.directory, OTHER, "{format}: one that is second");
    }
}
