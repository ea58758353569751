//! Chains and keys: from the disk, and from a CA. A certificate in DER is put into PEM first, so that
//! its parts are reached. In PEM a byte 0 divides the chain from the key. Where no key is given, it is
//! the one of the seeds.
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

/// First octets of DER: a SEQUENCE with a length of two octets.
const DER: &[u8] = &[0x30, 0x82];

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
    let pem = bytes.starts_with(DER).then(|| to_pem(bytes));
    let (chain, key) = match bytes.iter().position(|byte| *byte == 0) {
        _ if pem.is_some() => (pem.as_deref().unwrap_or_default().as_bytes(), KEY),
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, KEY),
    };
    FILES.with(|files| check_files(files, chain, key));
});

fn to_pem(der: &[u8]) -> String {
    let base64 = openssl::base64::encode_block(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn check_files(files: &Files, chain: &[u8], key: &[u8]) {
    let write = |name: &str, content: &[u8]| {
        let path = files.state.join("certs/a").join(name);
        fs::write(path, content).expect("the file is written");
    };
    write("fullchain.pem", chain);
    write("privkey.pem", key);
    if let Ok(stored) = load_certificate(&files.state, "a") {
        let stored = stored.expect("its files are there");
        check(&stored.material);
        let _ = stored.facts.traits.validity.renewal_time(1.0);
        assert!(stored.facts.traits.names.is_sorted());
    }
    // What it accepts is not looked into.
    let _ = load_material(&files.state, "a");
    match read_chain(chain, &files.key, &files.names, NOW) {
        Ok(material) => check(&material),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A worker reads it back.
fn check(material: &Material) {
    let [pair] = material.pairs.as_slice() else { panic!("one pair") };
    assert!(!pair.chain.is_empty() && !pair.key.is_empty());
    assert_eq!(Material::decode(&material.encode()).as_ref(), Ok(material));
}
