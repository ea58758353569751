use super::{Imported, account_files, certificates, fingerprint, open_account_key};
use crate::x509::testing::{Ca, NOW, key, pem};
use acme_dns_core::config::{Config, Import, ImportFormat, Issuer};
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::time::UnixTime;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use web_servers::traefik;

mod web_servers;

const REAL: &str = "https://ca.example:14000/acme/dir";
const OTHER: &str = "https://staging.example/dir";
const DAY: i64 = 86_400;

/// Paths and contents of files.
type Files<'a> = &'a [(&'a str, &'a str)];

/// Two issuers, and one certificate of the first.
fn config(imports: &[(ImportFormat, &Path)], names: &[&str], keys: &[KeyType]) -> Config {
    let import =
        |(format, path): &(ImportFormat, &Path)| Import { format: *format, path: path.into() };
    let mut config = Config::with_state_path("nowhere");
    config.issuers =
        vec![Issuer::with_directory("real", REAL), Issuer::with_directory("other", OTHER)];
    config.add_certificate("wanted", names, keys);
    config.imports = imports.iter().map(import).collect();
    config
}

/// What was found, and what was said.
type Found = (Vec<(Imported, Pair)>, Vec<(Level, String)>);

fn search(config: &Config) -> Found {
    let variants: Vec<usize> = (0..config.variants.len()).collect();
    let mut told = Vec::new();
    let mut log = |level, line: &str| told.push((level, line.to_owned()));
    let found = certificates(config, &variants, UnixTime(NOW), &mut log);
    (found, told)
}

/// Where keys of accounts for an issuer are.
fn account_keys(config: &Config, issuer: usize) -> Vec<PathBuf> {
    account_files(config, issuer).into_iter().map(|file| file.path).collect()
}

/// A chain of two with its key, in PEM.
struct Made {
    chain: String,
    leaf: String,
    issuer: String,
    key: String,
    private: PKey<Private>,
    fingerprint: [u8; 32],
}

fn make_with(private: PKey<Private>, names: &[&str], validity: (i64, i64)) -> Made {
    let ca = Ca::new("Test CA", None);
    let certificate = ca.issue(&private, names, validity);
    Made {
        chain: pem(&[&certificate, &ca.certificate]),
        leaf: pem(&[&certificate]),
        issuer: pem(&[&ca.certificate]),
        key: String::from_utf8(private.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        private,
        fingerprint: fingerprint(&certificate.to_der().unwrap()),
    }
}

fn make(names: &[&str], days: i64) -> Made {
    make_with(key(), names, (-DAY, days * DAY))
}

/// A directory with these files.
fn tree(files: Files<'_>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    dir
}

fn write(root: &Path, files: Files<'_>) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The tree of dehydrated with these certificates.
fn dehydrated(certificates: &[(&str, &Made)]) -> TempDir {
    let dir = tree(&[]);
    for (name, made) in certificates {
        let directory = format!("certs/{name}");
        let [chain, key] = ["fullchain", "privkey"].map(|file| format!("{directory}/{file}.pem"));
        write(dir.path(), &[(&chain, &made.chain), (&key, &made.key)]);
    }
    dir
}

const ONE_KEY: [KeyType; 1] = [KeyType::EcdsaP256];

/// Searches one tree for `a.test`, with one type of key.
fn search_in(format: ImportFormat, path: &Path) -> Found {
    search(&config(&[(format, path)], &["a.test"], &ONE_KEY))
}

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
    assert_eq!((existing(0), existing(1)), (usize::from(has_account), 0), "{row}");
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

/// As dehydrated writes it, with a newline.
fn base64url(url: &str) -> String {
    crate::encoding::base64url(format!("{url}\n").as_bytes())
}

#[test]
fn an_account_that_does_not_say_whose_it_is_needs_an_only_issuer() {
    for (format, file) in
        [(ImportFormat::Uacme, "private/key.pem"), (ImportFormat::Nginx, "account.key")]
    {
        let dir = tree(&[(file, "key")]);
        let mut config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
        assert!(account_keys(&config, 0).is_empty(), "{format}");
        config.issuers.truncate(1);
        assert_eq!(account_keys(&config, 0), [dir.path().join(file)], "{format}");
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
        config.certificates[0].issuers.push(1);
        let (found, _) = search(&config);
        assert_eq!(found[0].0.directory, OTHER, "{format}: one that is second");
    }
}

#[test]
fn all_forms_of_keys_are_read() {
    let p384 = EcKey::generate(&EcGroup::from_curve_name(Nid::SECP384R1).unwrap()).unwrap();
    let (ec, rsa) = (key(), Rsa::generate(2048).unwrap());
    let sec1 = |key: &EcKey<Private>| String::from_utf8(key.private_key_to_pem().unwrap()).unwrap();
    let pkcs1 = String::from_utf8(rsa.private_key_to_pem().unwrap()).unwrap();
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let with_parameters = format!("{parameters}{}", sec1(&ec.ec_key().unwrap()));
    let rsa = PKey::from_rsa(rsa).unwrap();
    let pkcs8 = String::from_utf8(rsa.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let text = format!("a comment\n\n{with_parameters}");
    for (row, private, pem) in [
        ("SEC 1", ec.clone(), sec1(&ec.ec_key().unwrap())),
        ("SEC 1 with parameters", ec.clone(), with_parameters),
        ("SEC 1 behind text", ec, text),
        ("SEC 1, P-384", PKey::from_ec_key(p384.clone()).unwrap(), sec1(&p384)),
        ("PKCS #1", rsa.clone(), pkcs1),
        ("PKCS #8, RSA", rsa, pkcs8),
    ] {
        let mut made = make_with(private, &["a.test"], (-DAY, DAY));
        made.key = pem;
        let dir = dehydrated(&[("a", &made)]);
        let (found, told) = search_in(ImportFormat::Dehydrated, dir.path());
        assert_eq!(told, [], "{row}");
        let key = made.private.private_key_to_pkcs8().unwrap();
        assert_eq!(found[0].1.key.as_slice(), key, "{row}");
    }
}

#[test]
fn an_exact_match_goes_first_and_then_the_one_that_expires_last() {
    let names = ["a.test", "*.a.test"];
    let exact = [make(&names, 10), make(&["*.A.test", "a.test"], 40), make(&names, 20)];
    let more = make(&["a.test", "*.a.test", "b.test"], 80);
    let fewer = make(&["*.a.test"], 80);
    let first = dehydrated(&[("1", &exact[0]), ("2", &more), ("3", &fewer)]);
    let second = dehydrated(&[("1", &exact[1]), ("2", &exact[2])]);
    let trees =
        [(ImportFormat::Dehydrated, first.path()), (ImportFormat::Dehydrated, second.path())];
    let found = |trees, names: &[&str]| {
        let (found, _) = search(&config(trees, names, &ONE_KEY));
        found.first().map(|(imported, _)| imported.fingerprint)
    };
    assert_eq!(found(&trees, &["a.test", "*.a.test"]), Some(exact[1].fingerprint));
    assert_eq!(found(&trees[..1], &["*.a.test", "a.test"]), Some(exact[0].fingerprint));
    assert_eq!(found(&trees, &["a.test"]), Some(more.fingerprint), "more names are fine");
    assert_eq!(found(&trees, &["b.test"]), Some(more.fingerprint));
    assert_eq!(found(&trees, &["www.a.test"]), None, "a wildcard is another name");
}

#[test]
fn two_variants_get_a_certificate_of_each_algorithm() {
    let rsa = |days| {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        make_with(key, &["a.test"], (-DAY, days * DAY))
    };
    let (ec, rsa, late) = (make(&["a.test"], 30), rsa(20), rsa(80));
    let keys = [KeyType::EcdsaP384, KeyType::Rsa4096];
    for (row, certificates, expected) in [
        ("both", vec![("1", &ec), ("2", &rsa)], vec![(0, ec.fingerprint), (1, rsa.fingerprint)]),
        ("one", vec![("1", &ec)], vec![(0, ec.fingerprint)]),
        ("the other", vec![("1", &rsa), ("2", &late)], vec![(1, late.fingerprint)]),
    ] {
        let dir = dehydrated(&certificates);
        let trees = [(ImportFormat::Dehydrated, dir.path())];
        let (found, told) = search(&config(&trees, &["a.test"], &keys));
        let found: Vec<_> = found.iter().map(|(it, _)| (it.variant, it.fingerprint)).collect();
        assert_eq!((found, told), (expected, vec![]), "{row}");
    }
    let dir = dehydrated(&[("1", &late)]);
    let (found, _) = search_in(ImportFormat::Dehydrated, dir.path());
    assert_eq!(found[0].0.fingerprint, late.fingerprint, "a lone variant takes any");
}

/// What is done to the files of a certificate.
type Damage = fn(&Path);

#[test]
fn what_cannot_be_used_is_named_with_the_reason() {
    let rows: [(&str, Damage, &str); 12] = [
        (
            "another key",
            |dir| write(dir, &[("privkey.pem", &make(&["a.test"], 1).key)]),
            "/certs/a/privkey.pem\" holds the key of another certificate",
        ),
        ("no key", |dir| fs::remove_file(dir.join("privkey.pem")).unwrap(), "is not there"),
        (
            "a passphrase",
            |dir| {
                let cipher = openssl::symm::Cipher::aes_128_cbc();
                let pem = key().private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
                fs::write(dir.join("privkey.pem"), pem).unwrap();
            },
            "holds no unencrypted private key in PEM",
        ),
        ("a key that is junk", |dir| write(dir, &[("privkey.pem", "junk")]), "no unencrypted"),
        (
            "a FIFO",
            |dir| {
                fs::remove_file(dir.join("privkey.pem")).unwrap();
                fifo(&dir.join("privkey.pem"));
            },
            "/certs/a/privkey.pem\" cannot be used: it is not a regular file",
        ),
        (
            "a chain that is a FIFO",
            |dir| {
                fs::remove_file(dir.join("fullchain.pem")).unwrap();
                fifo(&dir.join("fullchain.pem"));
            },
            "/certs/a/fullchain.pem\" cannot be used: it is not a regular file",
        ),
        (
            "links in a circle",
            |dir| {
                fs::remove_file(dir.join("fullchain.pem")).unwrap();
                symlink("fullchain.pem", dir.join("fullchain.pem")).unwrap();
            },
            "/certs/a/fullchain.pem\" failed (40: Too many levels of symbolic links",
        ),
        (
            "a huge file",
            |dir| {
                let file = fs::File::create(dir.join("fullchain.pem")).unwrap();
                file.set_len(1 << 40).unwrap();
            },
            "it is larger than",
        ),
        ("junk", |dir| write(dir, &[("fullchain.pem", "junk")]), "holds no certificate in PEM"),
        (
            "a chain that is cut off",
            |dir| {
                let pem = fs::read_to_string(dir.join("fullchain.pem")).unwrap();
                write(dir, &[("fullchain.pem", &pem[..pem.len() - 100])]);
            },
            "it is not a chain of certificates in PEM",
        ),
        (
            "expired",
            |dir| {
                let made = make(&["a.test"], 0);
                write(dir, &[("fullchain.pem", &made.chain), ("privkey.pem", &made.key)]);
            },
            "it is valid from 2027-01-14T08:00:00Z until 2027-01-15T08:00:00Z only",
        ),
        (
            "a curve that nobody wants",
            |dir| {
                let curve = EcGroup::from_curve_name(Nid::SECP521R1).unwrap();
                let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
                let made = make_with(key, &["a.test"], (-DAY, DAY));
                write(dir, &[("fullchain.pem", &made.chain), ("privkey.pem", &made.key)]);
            },
            "the type of its key is not supported",
        ),
    ];
    for (row, damage, expected) in rows {
        let dir = dehydrated(&[("a", &make(&["a.test"], 30))]);
        damage(&dir.path().join("certs/a"));
        let (found, told) = search_in(ImportFormat::Dehydrated, dir.path());
        assert!(found.is_empty(), "{row}");
        let [(_, line)] = told.as_slice() else { panic!("{row}: {told:?}") };
        assert!(line.contains(expected) && line.contains("import"), "{row}: {line}");
        assert!(line.contains(&dir.path().display().to_string()), "{row}: {line}");
        // Another one is taken without a word of this one.
        let good = dehydrated(&[("b", &make(&["a.test"], 2))]);
        let trees =
            [(ImportFormat::Dehydrated, dir.path()), (ImportFormat::Dehydrated, good.path())];
        let (found, told) = search(&config(&trees, &["a.test"], &ONE_KEY));
        assert_eq!((found.len(), told), (1, vec![]), "{row}");
    }
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[test]
fn strange_trees_are_told_once_and_stop_nobody() {
    let junk = tree(&[("certificates/a.crt", &make(&["a.test"], 30).chain)]);
    write(junk.path(), &[("certificates/a.json", "{junk"), ("certificates/a.key", "x")]);
    let (found, told) = search_in(ImportFormat::Lego, junk.path());
    assert!(found.is_empty() && told.len() == 1, "{told:?}");
    assert!(told[0].1.contains("a.json\" does not say which CA it is from"), "{told:?}");

    let empty = tree(&[]);
    let (_, told) = search_in(ImportFormat::Certbot, empty.path());
    let text = format!("\"{}\" holds no certificates of certbot", empty.path().display());
    assert_eq!(told, [(Level::Warn, format!("cannot be imported: {text}"))]);

    let file = tree(&[("live", "a file")]);
    let (_, told) = search_in(ImportFormat::Certbot, file.path());
    assert!(told[0].1.contains("/live\" failed (20: Not a directory)"), "{told:?}");

    let (found, told) = search_in(ImportFormat::Uacme, &empty.path().join("missing"));
    assert!(found.is_empty() && told.is_empty(), "nginx -t has warned: {told:?}");
}

#[test]
fn links_lead_to_what_was_issued_last() {
    let made = make(&["a.test"], 30);
    let dir = tree(&[
        ("archive/a/fullchain2.pem", &made.chain),
        ("archive/a/privkey2.pem", &made.key),
        ("live/README", ""),
    ]);
    fs::create_dir(dir.path().join("live/a")).unwrap();
    for file in ["fullchain", "privkey"] {
        let link = dir.path().join(format!("live/a/{file}.pem"));
        symlink(format!("../../archive/a/{file}2.pem"), link).unwrap();
    }
    let (found, told) = search_in(ImportFormat::Certbot, dir.path());
    assert_eq!((found.len(), told), (1, vec![]));
    let trees = [(ImportFormat::Certbot, dir.path())];
    let (found, told) = search(&config(&trees, &["b.test"], &ONE_KEY));
    assert_eq!((found.len(), told), (0, vec![]), "a file that is no certificate is none");
}

/// Gives a tree to a user who is not root.
fn give(path: &Path) {
    lchown(path, Some(65_534), Some(65_534)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

type Change = fn(&Path, &Path);
/// Changes to a tree of certbot, given it and another directory, and what is said then; empty if it is
/// imported all the same.
const CHANGES: [(&str, Change, &str); 9] = [
    ("as certbot leaves it", |_, _| {}, ""),
    (
        "an absolute link within",
        |tree, _| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            symlink(tree.join("archive/a/privkey2.pem"), tree.join("live/a/privkey.pem")).unwrap();
        },
        "",
    ),
    (
        "a directory by a link",
        |tree, _| {
            fs::rename(tree.join("live"), tree.join("real")).unwrap();
            symlink("archive/../real", tree.join("live")).unwrap();
        },
        "",
    ),
    (
        "an absolute link out of it",
        |tree, out| {
            fs::remove_file(tree.join("archive/a/privkey2.pem")).unwrap();
            symlink(out.join("privkey2.pem"), tree.join("archive/a/privkey2.pem")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a relative link out of it",
        |tree, out| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            let name = out.file_name().unwrap();
            let target = Path::new("../../..").join(name).join("privkey2.pem");
            symlink(target, tree.join("live/a/privkey.pem")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a directory out of it",
        |tree, out| {
            fs::remove_dir_all(tree.join("archive/a")).unwrap();
            symlink(out, tree.join("archive/a")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a circle",
        |tree, _| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            symlink("privkey.pem", tree.join("live/a/privkey.pem")).unwrap();
        },
        "Too many levels of symbolic links",
    ),
    (
        "a hard link",
        |tree, out| {
            fs::remove_file(tree.join("archive/a/privkey2.pem")).unwrap();
            let key = tree.join("archive/a/privkey2.pem");
            fs::hard_link(out.join("privkey2.pem"), key).unwrap();
        },
        "a hard link",
    ),
    (
        "a file of a third user",
        |tree, _| {
            chown(tree.join("archive/a/privkey2.pem"), Some(1), Some(1)).unwrap();
        },
        "belongs neither to root nor to the owner",
    ),
];

#[test]
fn a_tree_of_another_user_leads_nowhere_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = make(&["a.test"], 30);
    for (row, change, expected) in CHANGES {
        let files =
            [("archive/a/fullchain2.pem", &*made.chain), ("archive/a/privkey2.pem", &made.key)];
        let (dir, out) = (tree(&files), tree(&[("privkey2.pem", &made.key)]));
        write(out.path(), &[("fullchain2.pem", &made.chain)]);
        fs::create_dir_all(dir.path().join("live/a")).unwrap();
        for file in ["fullchain", "privkey"] {
            let link = dir.path().join(format!("live/a/{file}.pem"));
            symlink(format!("../../archive/a/{file}2.pem"), link).unwrap();
        }
        give(dir.path());
        change(dir.path(), out.path());
        let (found, told) = search_in(ImportFormat::Certbot, dir.path());
        assert_eq!(found.len(), usize::from(expected.is_empty()), "{row}: {told:?}");
        assert!(
            told.iter().any(|(_, line)| line.contains(expected)) || expected.is_empty(),
            "{row}: {told:?}"
        );
        // Where the tree is root's, root has made its links.
        if expected.contains("leads out") {
            chown(dir.path(), Some(0), Some(0)).unwrap();
            for file in ["archive/a/fullchain2.pem", "archive/a/privkey2.pem"] {
                chown(dir.path().join(file), Some(0), Some(0)).unwrap();
            }
            let (found, told) = search_in(ImportFormat::Certbot, dir.path());
            assert_eq!(found.len(), 1, "{row}: {told:?}");
        }
    }
}

#[test]
fn a_configuration_of_another_user_names_no_directory_outside() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = make(&["a.test"], 30);
    let elsewhere = dehydrated(&[("a.test", &made)]);
    let base = format!("BASEDIR={}\nCA={REAL}\n", elsewhere.path().display());
    for (owner, expected) in [(0, 1), (65_534, 0)] {
        let dir = tree(&[("config", &base)]);
        chown(dir.path(), Some(owner), Some(owner)).unwrap();
        let (found, told) = search_in(ImportFormat::Dehydrated, dir.path());
        assert_eq!(found.len(), expected, "{owner}: {told:?}");
        let is_told = told.iter().any(|(_, line)| line.contains("it leads out of"));
        assert_eq!(is_told, expected == 0, "{told:?}");
    }
}

#[test]
fn the_key_of_an_account_is_opened_in_its_tree_only() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for format in [ImportFormat::Uacme, ImportFormat::Caddy] {
        check_links_of_account_key(format);
    }
}

fn check_links_of_account_key(format: ImportFormat) {
    let path = match format {
        ImportFormat::Uacme => "private/key.pem",
        _ => "acme/ca.example-14000-acme-dir/users/default/default.key",
    };
    let real = format!("{path}.real");
    let real = real.rsplit('/').next().unwrap();
    for (link, expected) in [(real, true), ("/etc/shadow", false)] {
        let dir = tree(&[(&format!("{path}.real"), "a key")]);
        symlink(link, dir.path().join(path)).unwrap();
        give(dir.path());
        let mut config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
        config.issuers.truncate(1);
        let files = account_files(&config, 0);
        let opened = open_account_key(&config, &files[0]);
        assert_eq!(opened.is_ok_and(|file| file.is_some()), expected, "{format}: {link}");
    }
}
