//! The record of a certificate in shared memory, and the index of names, which another process has written.
#![no_main]

use acme_dns_core::id::CertificateId;
use acme_dns_core::index::NameIndex;
use acme_dns_core::material::Material;
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::AtomicU64;

const NAMES: [&str; 3] = ["a.test", "b.a.test", "*.a.test"];

/// Searches words for names, changes them, and searches again: whatever they are, each search ends.
fn search(bytes: &[u8]) {
    let words = bytes.as_chunks().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word)));
    let words: Vec<AtomicU64> = words.collect();
    let Some(index) = NameIndex::new(&words) else { return };
    for (number, name) in NAMES.into_iter().enumerate() {
        let found = index.find(name).count();
        let certificate = CertificateId::new(number);
        if index.insert(&words, name, certificate).is_ok() {
            assert!(index.find(name).any(|it| it == certificate), "{found} were found before");
        }
        let _full = index.remove(&words, name, certificate);
    }
}

fuzz_target!(|bytes: &[u8]| {
    search(bytes);
    if let Ok(material) = Material::decode(bytes) {
        assert!(!material.pairs.is_empty());
        assert!(material.pairs.iter().all(|pair| !pair.chain.is_empty()));
        // Each record has one form only.
        assert_eq!(material.encode().as_slice(), bytes);
    }
});
