//! The certificate that is taken of several, and what makes one unusable.

use super::{DAY, ONE_KEY, config, dehydrated, fifo, make, make_with, search, search_in, write};
use crate::x509::testing::key;
use acme_dns_core::config::ImportFormat;
use acme_dns_core::id::VariantId;
use acme_dns_core::key::KeyType;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

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
    let [of_ec, of_rsa] = [0, 1].map(VariantId::new);
    for (row, certificates, expected) in [
        (
            "both",
            vec![("1", &ec), ("2", &rsa)],
            vec![(of_ec, ec.fingerprint), (of_rsa, rsa.fingerprint)],
        ),
        ("one", vec![("1", &ec)], vec![(of_ec, ec.fingerprint)]),
        ("the other", vec![("1", &rsa), ("2", &late)], vec![(of_rsa, late.fingerprint)]),
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

/// A change to the files of a certificate.
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
