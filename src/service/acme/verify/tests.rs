use super::verify;
use crate::store::testing::{Ca, NOW, key, pem};
use acme_dns_core::time::UnixTime;
use openssl::pkey::{PKey, Private};

const VALID: (i64, i64) = (-3600, 86_400);

struct Pki {
    root: Ca,
    intermediate: Ca,
    key: PKey<Private>,
}

fn pki() -> Pki {
    let root = Ca::new("Root", None);
    let intermediate = Ca::new("Intermediate", Some(&root));
    Pki { root, intermediate, key: key() }
}

fn check(pem: &str, key: &PKey<Private>, names: &[&str]) -> Result<(String, String), String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let verified = verify(pem.as_bytes(), key, &names, UnixTime(NOW))?;
    Ok((verified.issuer, verified.serial))
}

#[test]
fn a_good_chain_is_accepted_with_and_without_the_ca() {
    let Pki { root, intermediate, key } = pki();
    let leaf = intermediate.issue(&key, &["*.A.example", "a.example"], VALID);
    let names = ["a.example", "*.a.example"];
    for chain in [
        &[&leaf][..],
        &[&leaf, &intermediate.certificate],
        &[&leaf, &intermediate.certificate, &root.certificate],
    ] {
        let (issuer, serial) = check(&pem(chain), &key, &names).unwrap();
        assert_eq!((issuer.as_str(), serial.as_str()), ("Intermediate", "12ab"));
    }
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let Pki { intermediate, key, .. } = pki();
    let leaf = intermediate.issue(&super::tests::key(), &["a.example"], VALID);
    let error = check(&pem(&[&leaf]), &key, &["a.example"]).unwrap_err();
    assert_eq!(error, "it is not for our key");
}

#[test]
fn the_names_are_exactly_those_of_the_order() {
    let Pki { intermediate, key, .. } = pki();
    for (held, expected) in [
        (&["a.example"][..], "it does not hold *.a.example"),
        (&["a.example", "*.a.example", "b.example"], "it also holds b.example"),
        (
            &["a.example", "*.a.example", "192.0.2.1"],
            "it also holds names that are not domain names",
        ),
    ] {
        let leaf = intermediate.issue(&key, held, VALID);
        let error = check(&pem(&[&leaf]), &key, &["a.example", "*.a.example"]).unwrap_err();
        assert_eq!(error, expected, "{held:?}");
    }
}

#[test]
fn the_certificate_is_valid_now() {
    let Pki { intermediate, key, .. } = pki();
    for (dates, expected) in [
        ((299, 86_400), None),
        ((301, 86_400), Some("it becomes valid in 301 s only")),
        ((-86_400, 1), None),
        ((-86_400, -5), Some("it expired 5 s ago")),
    ] {
        let leaf = intermediate.issue(&key, &["a.example"], dates);
        let error = check(&pem(&[&leaf]), &key, &["a.example"]).err();
        match expected {
            Some(text) => assert!(error.as_ref().is_some_and(|e| e.starts_with(text)), "{error:?}"),
            None => assert_eq!(error, None, "{dates:?}"),
        }
    }
}

#[test]
fn each_certificate_signs_the_one_before_it() {
    let Pki { root, intermediate, key } = pki();
    let leaf = intermediate.issue(&key, &["a.example"], VALID);
    let impostor = Ca::new("Intermediate", Some(&root));
    let out_of_order = [&leaf, &root.certificate, &intermediate.certificate];
    let same_name = [&leaf, &impostor.certificate];
    let leaf_twice = [&leaf, &leaf, &intermediate.certificate];
    for (chain, position) in [(&out_of_order[..], 2), (&same_name, 2), (&leaf_twice, 2)] {
        let error = check(&pem(chain), &key, &["a.example"]).unwrap_err();
        let expected =
            format!("certificate {position} of the chain did not sign the one before it");
        assert!(error.starts_with(&expected), "{error}");
    }
    let ca_first = [&intermediate.certificate, &leaf];
    assert_eq!(check(&pem(&ca_first), &key, &["a.example"]).unwrap_err(), "it is not for our key");
}

#[test]
fn garbage_is_refused() {
    let Pki { intermediate, key, .. } = pki();
    let leaf = pem(&[&intermediate.issue(&key, &["a.example"], VALID)]);
    for text in ["", "<html>", &leaf[..leaf.len() / 2]] {
        let error = check(text, &key, &["a.example"]).unwrap_err();
        assert!(error.contains("PEM"), "{error}");
    }
}
