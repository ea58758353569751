use super::form::{MAGIC, Pack};
use super::{PACK, PackedCertificate, pack_path};
use crate::store::certificates::{Certificates, IssuedPem, PackedRenewal, Store};
use crate::store::testing::{issued, issued_with};
use crate::store::{Trust, load_material};
use crate::x509::testing::key;
use acme_dns_core::schedule::Renewal;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

const NAMES: [&str; 3] = ["a.example", "b.example", "c.example"];

/// A state path with these certificates, and a pack of them.
fn packed() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for name in NAMES {
        store.save_certificate(name, &issued(&[name, "www.example"])).unwrap();
    }
    let renewal = Renewal { failures: 7, ..Renewal::default() };
    store.save_renewal("a.example", &renewal).unwrap();
    assert!(write(&store));
    (dir, store)
}

fn write(store: &Store) -> bool {
    // More names than there are certificates, in no order.
    let names = ["missing.example", "c.example", "a.example", "b.example"];
    store.write_pack(names.map(str::to_owned).to_vec(), || true).unwrap()
}

fn find(path: &Path, name: &str) -> Option<PackedCertificate> {
    let certificates = Certificates::open(path, &Trust::here()).unwrap().unwrap();
    let packed = certificates.packed().unwrap();
    packed.and_then(|packed| packed.certificate(name))
}

/// Failures of the renewal state, read where the file is not the one of the pack.
fn renewal_after(store: &Store, name: &str, found: &PackedCertificate) -> Option<u32> {
    let all = Certificates::open(store.path(), &Trust::here()).unwrap().unwrap();
    let packed = found.facts.renewal.expect("it is from the pack");
    let renewal: Option<Renewal> = match packed {
        packed if !all.has_renewal(name, &packed) => store.load_renewal(name).unwrap(),
        PackedRenewal::Absent => None,
        PackedRenewal::Saved(_, renewal) => Some(renewal),
    };
    renewal.map(|renewal| renewal.failures)
}

fn error(path: &Path) -> Option<String> {
    let certificates = Certificates::open(path, &Trust::here()).unwrap().unwrap();
    certificates.packed().err().map(|error| error.to_string())
}

#[test]
fn it_has_what_the_files_say() {
    let (dir, store) = packed();
    for name in NAMES {
        let found = find(dir.path(), name).expect("it is there");
        let material = load_material(dir.path(), name).unwrap().unwrap();
        assert_eq!(found.record, material.encode(), "{name}");
        let of_files = store.load_certificate(name).unwrap().unwrap().facts;
        assert_eq!(found.facts.traits, of_files.traits);
        assert_eq!(found.facts.stamp, of_files.stamp);
        assert_eq!(found.facts.ordered, of_files.ordered);
        let renewal = match found.facts.renewal.expect("it is from the pack") {
            PackedRenewal::Absent => None,
            PackedRenewal::Saved(_, renewal) => Some(renewal.failures),
        };
        assert_eq!(renewal, (name == "a.example").then_some(7));
        assert_eq!(renewal_after(&store, name, &found), renewal);
    }
    assert!(find(dir.path(), "missing.example").is_none());
    assert!(find(dir.path(), "").is_none() && find(dir.path(), "z").is_none());
}

#[test]
fn what_has_changed_since_is_not_taken_from_it() {
    let (dir, store) = packed();
    store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    let by_hand = dir.path().join("certs/b.example/fullchain.pem");
    let IssuedPem { fullchain, .. } = issued_with(&key(), &["b.example"], (0, 9));
    fs::write(by_hand, fullchain).unwrap();
    fs::remove_file(dir.path().join("certs/c.example")).unwrap();
    for name in NAMES {
        assert!(find(dir.path(), name).is_none(), "{name}");
    }
    assert!(write(&store));
    assert!(find(dir.path(), "a.example").is_some() && find(dir.path(), "c.example").is_none());
    let renewal = |failures| Renewal { failures, ..Renewal::default() };
    store.save_renewal("a.example", &renewal(1)).unwrap();
    store.save_certificate("c.example", &issued(&["c.example"])).unwrap();
    assert!(write(&store));
    // One that had a renewal state, and one that had none.
    let names = ["a.example", "c.example"];
    let found = names.map(|name| find(dir.path(), name).unwrap());
    for (found, name) in found.iter().zip(names) {
        store.save_renewal(name, &renewal(2)).unwrap();
        assert_eq!(renewal_after(&store, name, found), Some(2), "{name}");
    }
}

#[test]
fn a_pack_that_is_not_whole_is_an_error_and_one_that_is_missing_is_none() {
    let (dir, store) = packed();
    let path = pack_path(dir.path());
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = error(dir.path()).expect("it is cut off");
        assert!(error.contains(PACK) && error.contains("not whole"), "{length}: {error}");
    }
    for place in (0..whole.len()).step_by(101) {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        fs::write(&path, damaged).unwrap();
        assert!(error(dir.path()).is_some(), "{place}");
    }
    fs::remove_file(&path).unwrap();
    assert!(error(dir.path()).is_none() && find(dir.path(), "a.example").is_none());
    assert!(write(&store) && find(dir.path(), "a.example").is_some());
}

#[test]
fn numbers_of_a_sealed_pack_are_not_trusted() {
    let (dir, _store) = packed();
    let whole = fs::read(pack_path(dir.path())).unwrap();
    let content = &whole[..whole.len() - 32];
    for place in MAGIC.len()..content.len() {
        let mut damaged = content.to_vec();
        damaged[place] ^= 0xff;
        let digest = openssl::sha::sha256(&damaged);
        damaged.extend_from_slice(&digest);
        let Some(pack) = Pack::of(Zeroizing::new(damaged)) else { continue };
        for name in NAMES {
            // Whatever it finds, it neither panics nor reads elsewhere.
            let _record = pack.find(name).and_then(|entry| pack.record(&entry));
        }
    }
}

#[test]
fn it_is_private_and_read_as_the_files_are() {
    let (dir, _store) = packed();
    let path = pack_path(dir.path());
    for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, mode);
    }
    fs::hard_link(&path, dir.path().join("link")).unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(error(dir.path()).is_some_and(|error| error.contains("hard link")));
        fs::remove_file(dir.path().join("link")).unwrap();
        chown(&path, Some(65_534), None).unwrap();
        assert!(error(dir.path()).is_some_and(|error| error.contains("not read by root")));
    }
}

#[test]
fn it_goes_with_what_is_forgotten_and_does_not_come_back() {
    let (dir, store) = packed();
    // It happens while another pack is being written, which has read the certificate already.
    let mut read = 0;
    let written = store.write_pack(NAMES.map(str::to_owned).to_vec(), || {
        read += 1;
        if read == 2 {
            store.forget("a.example").unwrap();
        }
        true
    });
    assert!(!written.unwrap());
    assert!(!pack_path(dir.path()).exists());
    assert_eq!(fs::read_dir(dir.path().join("packs")).unwrap().count(), 0, "nothing is left");
    assert!(write(&store));
    assert!(find(dir.path(), "a.example").is_none() && find(dir.path(), "b.example").is_some());
}

#[test]
fn what_is_revoked_is_not_taken_from_it() {
    let (dir, store) = packed();
    let material = store.load_certificate("a.example").unwrap().unwrap().material;
    store.mark_revoked(&[material.pairs[0].chain[0].clone()]).unwrap();
    assert!(find(dir.path(), "a.example").is_none(), "the pack has gone");
    assert!(write(&store));
    assert!(find(dir.path(), "a.example").is_none() && find(dir.path(), "b.example").is_some());
}

#[test]
fn one_that_is_given_up_or_cannot_be_written_leaves_the_one_before() {
    let (dir, store) = packed();
    assert!(!store.write_pack(vec!["a.example".to_owned()], || false).unwrap());
    assert!(find(dir.path(), "b.example").is_some());
    let leftover = dir.path().join("packs/.tmp-9-certificates");
    File::create(&leftover)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(9))
        .unwrap();
    let _lock = store.lock().unwrap().unwrap();
    assert!(!leftover.exists(), "what a crash has left is swept");
    assert!(find(dir.path(), "b.example").is_some());
}
