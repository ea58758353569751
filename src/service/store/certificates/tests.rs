use super::{Certificates, load_certificate, load_material};
use crate::store::testing::{issued, issued_with};
use crate::store::{IssuedPem, Store, Trust};
use crate::x509::testing::{NOW, key};
use acme_dns_core::key::KeyType;
use acme_dns_core::schedule::Renewal;
use acme_dns_core::time::UnixTime;
use openssl::pkey::PKey;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const FILES: [&str; 4] = ["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"];

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn file(dir: &Path, file: &str) -> PathBuf {
    dir.join("certs/a.example").join(file)
}

fn versions(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("certs/.versions/a.example")).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn error(dir: &Path) -> String {
    load_certificate(dir, "a.example").unwrap_err().to_string()
}

#[test]
fn a_certificate_is_read_as_it_was_kept() {
    let (dir, store) = store();
    assert!(load_certificate(dir.path(), "a.example").unwrap().is_none());
    assert!(load_material(dir.path(), "a.example").unwrap().is_none());
    store.save_certificate("a.example", &issued(&["a.example", "*.a.example"])).unwrap();
    let stored = store.load_certificate("a.example").unwrap().unwrap();
    assert_eq!(stored.facts.traits.names, ["*.a.example", "a.example"]);
    assert_eq!(stored.facts.traits.key, KeyType::EcdsaP256);
    assert_eq!(stored.facts.traits.directory.as_deref(), Some("https://ca.example/directory"));
    assert_eq!(stored.facts.traits.validity.not_before.0, NOW - 3600);
    assert_eq!(stored.facts.traits.validity.not_after.0, NOW + 86_400);
    let [pair] = stored.material.pairs.as_slice() else { panic!("one pair") };
    assert_eq!(pair.chain.len(), 2);
    fs::remove_file(file(dir.path(), "issuer.json")).unwrap();
    let copied = store.load_certificate("a.example").unwrap().unwrap();
    assert_eq!(
        copied.facts.traits.directory, None,
        "as of a certificate that was put there by hand"
    );
    let quick = load_material(dir.path(), "a.example").unwrap().unwrap();
    assert!(quick == copied.material, "both loaders read the same");
}

#[test]
fn files_have_the_customary_names_and_are_private() {
    let (dir, store) = store();
    let issued = issued(&["a.example"]);
    store.save_certificate("a.example", &issued).unwrap();
    let read = |name| fs::read_to_string(file(dir.path(), name)).unwrap();
    assert_eq!(read("fullchain.pem"), issued.fullchain);
    assert_eq!(read("cert.pem") + &read("chain.pem"), issued.fullchain);
    assert_eq!(read("cert.pem").matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(read("privkey.pem"), *issued.key);
    for name in FILES {
        let mode = fs::metadata(file(dir.path(), name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let directory = fs::metadata(dir.path().join("certs/a.example")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o700);
    assert!(fs::read_link(dir.path().join("certs/a.example")).unwrap().is_relative());
}

#[test]
fn all_files_change_together_and_the_version_before_stays() {
    let (dir, store) = store();
    let mut all: Vec<IssuedPem> = Vec::new();
    for expected in [&["1"][..], &["1", "2"], &["2", "3"], &["3", "4"]] {
        all.push(issued(&["a.example"]));
        store.save_certificate("a.example", all.last().unwrap()).unwrap();
        assert_eq!(versions(dir.path()), expected);
        let read = fs::read_to_string(file(dir.path(), "fullchain.pem")).unwrap();
        assert_eq!(read, all.last().unwrap().fullchain);
    }
    let before = dir.path().join("certs/.versions/a.example/3/privkey.pem");
    assert_eq!(fs::read_to_string(before).unwrap(), *all[2].key);
}

#[test]
fn a_crash_before_the_swap_leaves_the_old_certificate_and_no_rest() {
    let (dir, store) = store();
    let old = issued(&["a.example"]);
    store.save_certificate("a.example", &old).unwrap();
    // Killed while it wrote the files, or between the rename of the version and that of the link.
    let versions_path = dir.path().join("certs/.versions/a.example");
    fs::create_dir(versions_path.join(".tmp-0-2")).unwrap();
    fs::write(versions_path.join(".tmp-0-2/fullchain.pem"), "-----BEGIN").unwrap();
    fs::create_dir(versions_path.join("2")).unwrap();
    symlink("x", dir.path().join("certs/.tmp-1-a.example")).unwrap();
    assert!(load_certificate(dir.path(), "a.example").unwrap().is_some());
    let _lock = store.lock().unwrap().unwrap();
    assert_eq!(versions(dir.path()), ["1", "2"]);
    assert!(fs::symlink_metadata(dir.path().join("certs/.tmp-1-a.example")).is_err());
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    assert_eq!(versions(dir.path()), ["1", "3"], "what was never served goes");
}

#[test]
fn a_copied_directory_is_read_and_replaced() {
    let (dir, store) = store();
    let old = issued(&["a.example"]);
    let plain = dir.path().join("certs/a.example");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("fullchain.pem"), &old.fullchain).unwrap();
    fs::write(plain.join("privkey.pem"), &*old.key).unwrap();
    assert!(load_certificate(dir.path(), "a.example").unwrap().is_some());
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    assert_eq!(versions(dir.path()), ["1", "2"]);
    assert!(fs::read_link(&plain).is_ok());
}

#[test]
fn a_key_that_was_put_there_by_hand_may_have_another_form() {
    let (dir, _store) = store();
    let old = issued(&["a.example"]);
    let key = PKey::private_key_from_pem(old.key.as_bytes()).unwrap();
    let plain = dir.path().join("certs/a.example");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("fullchain.pem"), &old.fullchain).unwrap();
    let sec1 = String::from_utf8(key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap();
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for form in [sec1.clone(), format!("{parameters}{sec1}")] {
        fs::write(plain.join("privkey.pem"), &form).unwrap();
        let certificates = Certificates::open(dir.path(), &Trust::Everyone).unwrap().unwrap();
        let (quickly, _) = certificates.load_quickly("a.example").unwrap().expect(&form);
        let material = load_material(dir.path(), "a.example").unwrap().expect(&form);
        let stored = load_certificate(dir.path(), "a.example").unwrap().expect(&form);
        let read = PKey::private_key_from_pkcs8(&quickly.pairs[0].key).unwrap();
        assert!(read.public_eq(&key), "{form}");
        assert!(quickly == material && material == stored.material, "all read the same: {form}");
        assert!(stored.facts.traits.is_imported, "it is wanted as it is");
    }
}

#[test]
fn what_is_no_link_to_a_version_is_kept_when_it_is_replaced() {
    let (dir, store) = store();
    let link = dir.path().join("certs/a.example");
    fs::write(&link, "a file").unwrap();
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    let kept = dir.path().join("certs/.versions/a.example/1");
    assert_eq!(fs::read_to_string(kept).unwrap(), "a file");
    // Whatever the number at its end: it is none of ours.
    fs::remove_file(&link).unwrap();
    symlink("/elsewhere/1", &link).unwrap();
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    assert_eq!(versions(dir.path()), ["1", "2", "3"]);
    assert!(load_certificate(dir.path(), "a.example").unwrap().is_some());
}

#[test]
fn names_that_are_no_numbers_of_ours_are_left_alone() {
    let (dir, store) = store();
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    let others = ["007", "18446744073709551615", "copy"];
    for name in others {
        fs::create_dir(dir.path().join("certs/.versions/a.example").join(name)).unwrap();
    }
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    assert_eq!(versions(dir.path()), ["007", "18446744073709551615", "2", "3", "copy"]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (dir, store) = store();
    let (one, other) = (issued(&["a.example"]), issued(&["a.example"]));
    let mixed = IssuedPem {
        key: other.key.clone(),
        fullchain: one.fullchain.clone(),
        directory: String::new(),
        profile: None,
        ordered: None,
        is_imported: false,
    };
    store.save_certificate("a.example", &mixed).unwrap();
    assert!(error(dir.path()).contains("is not that of the certificate"), "{}", error(dir.path()));
}

#[test]
fn garbage_and_truncated_files_are_refused_with_their_path() {
    let good = issued(&["a.example"]);
    let second = good.fullchain.rfind("-----BEGIN").unwrap();
    for (name, text, expected) in [
        ("fullchain.pem", "", "holds no certificate in PEM"),
        ("fullchain.pem", "garbage", "holds no certificate in PEM"),
        ("fullchain.pem", &good.fullchain[..200], "not a chain of certificates"),
        ("fullchain.pem", &good.fullchain[..good.fullchain.len() - 100], "bad end line"),
        ("fullchain.pem", &good.fullchain[..second + 20], "is cut off"),
        ("fullchain.pem", &good.key, "holds no certificate in PEM"),
        ("privkey.pem", "", "no private key in PEM"),
        ("privkey.pem", &good.key[..100], "no private key in PEM"),
        ("privkey.pem", &good.fullchain, "no private key in PEM"),
    ] {
        let (dir, store) = store();
        store.save_certificate("a.example", &good).unwrap();
        fs::write(file(dir.path(), name), text).unwrap();
        let error = error(dir.path());
        assert!(error.contains(expected) && error.contains(name), "{name} {text}: {error}");
        assert!(!error.contains("BEGIN"), "{error}");
        assert!(load_material(dir.path(), "a.example").is_err(), "{name} {text}");
    }
    let (dir, store) = store();
    store.save_certificate("a.example", &good).unwrap();
    fs::remove_file(file(dir.path(), "privkey.pem")).unwrap();
    let error = error(dir.path());
    assert!(error.contains("privkey.pem\" failed (2: No such file"), "{error}");
}

#[test]
fn reading_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("state");
    assert!(load_certificate(&missing, "a.example").unwrap().is_none());
    assert!(!missing.exists());
}

/// Reads a certificate as root, who trusts these users.
fn quickly(dir: &Path, trusted: &[u32]) -> Result<bool, String> {
    let trust = Trust::Owners(trusted.to_vec());
    let certificates = Certificates::open(dir, &trust).unwrap().unwrap();
    let found = certificates.load_quickly("a.example");
    found.map(|found| found.is_some()).map_err(|error| error.to_string())
}

#[test]
fn a_reader_who_is_root_trusts_root_and_those_who_are_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let rows: [(u32, &[u32], bool); 5] = [
        (0, &[], true),
        (1, &[], true),
        (65_534, &[], false),
        (65_534, &[7, 65_534], true),
        (65_534, &[7], false),
    ];
    for name in ["fullchain.pem", "privkey.pem", "issuer.json"] {
        let (dir, store) = store();
        store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
        chown(dir.path(), Some(1), Some(1)).unwrap();
        let file = file(dir.path(), name);
        for (owner, trusted, is_read) in rows {
            chown(&file, Some(owner), Some(owner)).unwrap();
            let trust = Trust::Owners(trusted.to_vec());
            let certificates = Certificates::open(dir.path(), &trust).unwrap().unwrap();
            let found = certificates.load_quickly("a.example");
            let is_whole = found.is_ok_and(|found| found.is_some_and(|(_, f)| f.is_some()));
            assert_eq!(is_whole, is_read, "{name} {owner} {trusted:?}");
            let certificates = Certificates::open(dir.path(), &Trust::Everyone).unwrap().unwrap();
            assert!(certificates.load_quickly("a.example").is_ok_and(|found| found.is_some()));
        }
    }
}

#[test]
fn a_link_to_a_file_beside_it_is_followed_as_dehydrated_makes_it() {
    let old = issued(&["a.example"]);
    let rows = [
        ("privkey-7.pem", true),
        ("./privkey-7.pem", false),
        ("../a.example/privkey-7.pem", false),
        ("below/privkey-7.pem", false),
        ("again.pem", false),
        ("missing.pem", false),
    ];
    for (target, is_followed) in rows {
        let (dir, store) = store();
        let plain = dir.path().join("certs/a.example");
        fs::create_dir_all(plain.join("below")).unwrap();
        fs::write(plain.join("fullchain-7.pem"), &old.fullchain).unwrap();
        fs::write(plain.join("privkey-7.pem"), &*old.key).unwrap();
        fs::write(plain.join("below/privkey-7.pem"), &*old.key).unwrap();
        symlink("privkey-7.pem", plain.join("again.pem")).unwrap();
        symlink("fullchain-7.pem", plain.join("fullchain.pem")).unwrap();
        symlink(target, plain.join("privkey.pem")).unwrap();
        let read = load_certificate(dir.path(), "a.example").is_ok_and(|read| read.is_some());
        assert_eq!(read, is_followed, "{target}");
        assert_eq!(quickly(dir.path(), &[]).is_ok(), is_followed, "{target}");
        if is_followed {
            store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
            let kept = dir.path().join("certs/.versions/a.example/1/privkey.pem");
            assert_eq!(fs::read_to_string(kept).unwrap(), *old.key, "{target}");
        }
    }
}

#[test]
fn what_cannot_be_read_at_a_glance_is_left_to_the_service() {
    let (dir, store) = store();
    assert_eq!(quickly(dir.path(), &[]), Ok(false));
    let kept = issued(&["a.example"]);
    store.save_certificate("a.example", &kept).unwrap();
    let key = PKey::private_key_from_pem(kept.key.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(cipher, b"").unwrap();
    fs::write(file(dir.path(), "privkey.pem"), encrypted).unwrap();
    let expected = "its private key is encrypted";
    assert!(quickly(dir.path(), &[]).unwrap_err().contains(expected));
    assert!(error(dir.path()).contains(expected), "{}", error(dir.path()));
    let large = "#".repeat(70_000) + &kept.key;
    fs::write(file(dir.path(), "privkey.pem"), large).unwrap();
    assert!(quickly(dir.path(), &[]).unwrap_err().contains("larger than 65536 bytes"));
}

#[test]
fn what_a_new_certificate_of_its_name_does_not_cover_is_kept_aside() {
    let (dir, store) = store();
    let aside = || {
        let all = Certificates::open(dir.path(), &Trust::Everyone).unwrap().unwrap();
        let mut names = all.names().unwrap();
        names.retain(|name| super::is_aside(name));
        names.into_iter().map(|name| (all.traits(&name).unwrap().names, name)).collect::<Vec<_>>()
    };
    let first = issued(&["a.example", "b.example"]);
    for names in [&["a.example", "b.example"][..], &["*.example", "c.example"]] {
        store.save_certificate("a.example", &first).unwrap();
        store.save_certificate("a.example", &issued(names)).unwrap();
        assert_eq!(aside(), [], "{names:?} covers it");
        fs::remove_dir_all(dir.path().join("certs")).unwrap();
        Store::open(dir.path()).unwrap();
    }
    store.save_certificate("a.example", &first).unwrap();
    store.save_certificate("a.example", &issued(&["a.example", "c.example"])).unwrap();
    let [(names, name)] = aside().try_into().unwrap();
    assert_eq!(names, ["a.example", "b.example"]);
    let kept = store.load_certificate(&name).unwrap().unwrap();
    assert_eq!(kept.material.pairs.len(), 1);
    store.remove_aside("a.example").unwrap();
    store.remove_aside(&name).unwrap();
    assert_eq!(aside(), []);
    // To a staging environment and back.
    let staging =
        |pem: IssuedPem| IssuedPem { directory: "https://staging.example/".into(), ..pem };
    store.save_certificate("a.example", &staging(issued(&["a.example", "c.example"]))).unwrap();
    assert_eq!(aside().len(), 1);
    assert!(store.load_certificate("a.example").unwrap().is_some());
}

#[test]
fn what_has_expired_by_a_clock_that_is_ahead_alone_is_kept_aside() {
    const DAY: i64 = 86_400;
    let (_dir, store) = store();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let ended = |names: &[&str]| issued_with(&key(), names, (now - NOW - 9 * DAY, now - NOW - DAY));
    for (ahead, is_there) in [(0, false), (DAY / 2, false), (2 * DAY, true)] {
        let first = ended(&["a.example", "b.example"]);
        store.save_certificate("a.example", &first).unwrap();
        let renewal = Renewal { skew: ahead, ..Renewal::default() };
        store.save_renewal("a.example", &renewal).unwrap();
        store.save_certificate("a.example", &ended(&["a.example"])).unwrap();
        let all = Certificates::open(store.path(), &Trust::Everyone).unwrap().unwrap();
        let names = all.names().unwrap();
        let aside = names.iter().find(|name| super::is_aside(name));
        assert_eq!(aside.is_some(), is_there, "{ahead}");
        let Some(aside) = aside else { continue };
        assert_eq!(store.load_renewal::<Renewal>(aside).unwrap(), Some(renewal));
        let traits = all.traits(aside).unwrap();
        for (later, has_expired) in [(0, false), (2 * DAY, true)] {
            assert_eq!(store.has_expired(aside, &traits, UnixTime(now + later)), has_expired);
        }
    }
}
