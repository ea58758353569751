use super::{Unfit, Verified, verify};
use crate::x509::testing::{Ca, NOW, key, pem};
use acme_dns_core::time::UnixTime;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::time::Duration;

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

/// Checks a chain when both clocks say [`NOW`].
fn check(chain: &[&X509], key: &PKey<Private>, names: &[&str]) -> Result<Verified, String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let now = UnixTime(NOW);
    verify(pem(chain).as_bytes(), key, &names, now, Some(now)).map_err(|unfit| match unfit {
        Unfit::Wrong(why) => why,
        early @ Unfit::Early { .. } => format!("{early:?}"),
    })
}

fn error(result: Result<Verified, String>) -> String {
    result.map(|verified| verified.notes).unwrap_err()
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
        let verified = check(chain, &key, &names).unwrap();
        assert_eq!((verified.issuer.as_str(), verified.serial.as_str()), ("Intermediate", "12ab"));
        assert_eq!((verified.chain.len(), verified.is_exact), (chain.len(), true));
        assert_eq!(verified.notes, [""; 0]);
    }
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let Pki { intermediate, key, .. } = pki();
    let leaf = intermediate.issue(&super::tests::key(), &["a.example"], VALID);
    assert_eq!(error(check(&[&leaf], &key, &["a.example"])), "it is not for our key");
}

#[test]
fn a_certificate_that_lacks_a_name_is_refused() {
    let Pki { intermediate, key, .. } = pki();
    for (held, ordered, expected) in [
        (&["a.example"][..], &["a.example", "*.a.example"][..], "it does not hold *.a.example"),
        (&["*.a.example"], &["a.example", "*.a.example"], "it does not hold a.example"),
        (&["*.a.example"], &["x.y.a.example"], "it does not hold x.y.a.example"),
        (&["192.0.2.1"], &["a.example"], "it does not hold a.example"),
    ] {
        let leaf = intermediate.issue(&key, held, VALID);
        assert_eq!(error(check(&[&leaf], &key, ordered)), expected, "{held:?}");
    }
}

#[test]
fn a_certificate_that_covers_more_than_was_ordered_is_accepted_and_told() {
    let Pki { intermediate, key, .. } = pki();
    let added = "the CA has added names that were not ordered: ";
    for (held, ordered, expected) in [
        (
            &["a.example", "www.a.example"][..],
            &["a.example"][..],
            vec![format!("{added}www.a.example")],
        ),
        (&["a.example", "www.a.example"], &["www.a.example"], vec![format!("{added}a.example")]),
        (&["*.a.example", "a.example"], &["*.a.example"], vec![format!("{added}a.example")]),
        (&["*.a.example"], &["www.a.example"], vec![format!("{added}*.a.example")]),
        (
            &["a.example", "192.0.2.1"],
            &["a.example"],
            vec!["the CA has added 1 names that are not domain names".to_owned()],
        ),
    ] {
        let leaf = intermediate.issue(&key, held, VALID);
        let verified = check(&[&leaf], &key, ordered).unwrap();
        assert_eq!(verified.notes, expected, "{held:?}");
        let has_all = held.iter().filter(|name| !name.starts_with("192")).count() == ordered.len()
            && ordered.iter().all(|name| held.contains(name));
        assert_eq!(verified.is_exact, has_all, "{held:?}");
    }
    let many: Vec<String> = (0..50).map(|n| format!("{n:02}.a.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["a.example"]).collect();
    let leaf = intermediate.issue(&key, &many, VALID);
    let [note] = check(&[&leaf], &key, &["a.example"]).unwrap().notes.try_into().unwrap();
    assert!(note.ends_with(", 09.a.example and 40 more"), "{note}");
}

#[test]
fn the_dates_are_judged_with_the_clock_of_the_ca() {
    let Pki { intermediate, key, .. } = pki();
    let leaf = intermediate.issue(&key, &["a.example"], (0, 86_400));
    let names = ["a.example".to_owned()];
    let at = |ours: i64, theirs: Option<i64>| {
        let theirs = theirs.map(|theirs| UnixTime(NOW + theirs));
        let verified = verify(pem(&[&leaf]).as_bytes(), &key, &names, UnixTime(NOW + ours), theirs);
        verified.map(|verified| verified.skew.applied)
    };
    assert_eq!(at(0, Some(0)), Ok(0));
    assert_eq!(at(-7200, Some(0)), Ok(-7200), "our clock is behind");
    assert_eq!(at(90_000, Some(0)), Ok(90_000), "our clock is ahead of its life");
    assert_eq!(at(90_000, None), Ok(90_000));
    let (from, wait) = (UnixTime(NOW), Duration::from_secs(900));
    assert_eq!(at(-900, Some(-900)), Err(Unfit::Early { from, wait }));
    let expired = "it expired at 2027-01-16T08:00:00Z, by the CA's own clock";
    assert_eq!(at(90_000, Some(90_000)), Err(Unfit::Wrong(expired.to_owned())));
}

#[test]
fn a_chain_is_put_in_order_and_what_is_not_of_it_is_left_out() {
    let Pki { root, intermediate, key } = pki();
    let leaf = intermediate.issue(&key, &["a.example"], VALID);
    let (root, intermediate) = (&root.certificate, &intermediate.certificate);
    let stranger = Ca::new("Stranger", None).certificate;
    let note = "1 of the certificates that came with it are not of its chain and are not served";
    for (chain, expected, notes) in [
        (&[&leaf, root, intermediate][..], &[&leaf, intermediate, root][..], &[][..]),
        (&[intermediate, &leaf], &[&leaf, intermediate], &[]),
        (&[&leaf, &leaf, intermediate], &[&leaf, intermediate], &[]),
        (&[&leaf, intermediate, intermediate], &[&leaf, intermediate], &[]),
        (&[&leaf, &stranger, intermediate], &[&leaf, intermediate], &[note]),
        (&[&leaf, intermediate, root, &stranger], &[&leaf, intermediate, root], &[note]),
    ] {
        let verified = check(chain, &key, &["a.example"]).unwrap();
        let found: Vec<&X509> = verified.chain.iter().collect();
        assert!(found == expected, "{} certificates: {:?}", chain.len(), verified.issuer);
        assert_eq!(verified.notes, notes);
    }
}

#[test]
fn a_chain_without_what_signed_the_leaf_is_refused() {
    let Pki { root, intermediate, key } = pki();
    let leaf = intermediate.issue(&key, &["a.example"], VALID);
    let impostor = Ca::new("Intermediate", Some(&root));
    for chain in [&[&leaf, &impostor.certificate][..], &[&leaf, &root.certificate]] {
        let error = error(check(chain, &key, &["a.example"]));
        assert_eq!(error, "none of the certificates that came with it has signed it");
    }
}

#[test]
fn garbage_is_refused() {
    let Pki { intermediate, key, .. } = pki();
    let leaf = pem(&[&intermediate.issue(&key, &["a.example"], VALID)]);
    for text in ["", "<html>", &leaf[..leaf.len() / 2]] {
        let names = ["a.example".to_owned()];
        match verify(text.as_bytes(), &key, &names, UnixTime(NOW), None).map(|v| v.serial) {
            Err(Unfit::Wrong(why)) => assert!(why.contains("PEM"), "{why}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
