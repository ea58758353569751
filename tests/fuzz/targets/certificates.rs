//! Chains and keys in PEM: from the disk, and from a CA. A byte 0 divides the chain from the key;
//! where there is none, the key is one that fits the seeds.
#![no_main]

use acme_dns_core::material::Material;
use acme_dns_core::time::UnixTime;
use acme_dns_service::acme::fuzzing::read_chain;
use acme_dns_service::store::{load_certificate, load_material};
use libfuzzer_sys::fuzz_target;
use openssl::pkey::{PKey, Private};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Inside of the validity of the seeds.
const NOW: UnixTime = UnixTime(1_800_000_000);

const KEY: &[u8] = include_bytes!("../seeds/certificates-key.pem");

struct Files {
    _dir: TempDir,
    state: PathBuf,
    key: PKey<Private>,
    names: Vec<String>,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = dir.path().to_owned();
        fs::create_dir_all(state.join("certs/a")).expect("a directory");
        Self {
            _dir: dir,
            state,
            key: PKey::private_key_from_pem(KEY).expect("the key of the seeds"),
            names: vec!["a.example".to_owned(), "*.a.example".to_owned()],
        }
    }
}

thread_local! {
    static FILES: Files = Files::new();
}

fuzz_target!(|bytes: &[u8]| {
    let divided = bytes.iter().position(|byte| *byte == 0).map(|at| bytes.split_at(at));
    let (chain, key) = divided.map_or((bytes, KEY), |(chain, rest)| (chain, &rest[1..]));
    FILES.with(|files| {
        let write = |name: &str, content: &[u8]| {
            let path = files.state.join("certs/a").join(name);
            fs::write(path, content).expect("the file is written");
        };
        write("fullchain.pem", chain);
        write("privkey.pem", key);
        if let Ok(stored) = load_certificate(&files.state, "a") {
            let stored = stored.expect("its files are there");
            check(&stored.material);
            let _ = stored.validity.renewal_time(1.0);
            assert!(stored.names.is_sorted());
        }
        // What it accepts is not looked into.
        let _ = load_material(&files.state, "a");
        match read_chain(chain, &files.key, &files.names, NOW) {
            Ok(material) => check(&material),
            Err(why) => assert!(!why.is_empty()),
        }
    });
});

/// A worker reads it back.
fn check(material: &Material) {
    let [pair] = material.pairs.as_slice() else { panic!("one pair") };
    assert!(!pair.chain.is_empty() && !pair.key.is_empty());
    assert_eq!(Material::decode(&material.encode()).as_ref(), Ok(material));
}
