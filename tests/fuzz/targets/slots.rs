//! The record of a certificate in shared memory, and the index of names, which another process has written.
#![no_main]

use acme_dns_core::id::CertificateId;
use acme_dns_core::index::NameIndex;
use acme_dns_core::material::Material;
use acme_dns_core::packed::{references, relocate, unpack};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::AtomicU64;

/// The longest part that the memory has.
const LONGEST: usize = 64 << 10;

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

/// Reads a packed record, and has it refer to another memory: it is the same there.
fn read_packed(bytes: &[u8]) {
    let part = |_, length| (length <= LONGEST).then(|| vec![1; length]);
    let record = unpack(bytes, part);
    let mut moved = bytes.to_vec();
    let relocated = relocate(&mut moved, |offset, length| {
        (length <= LONGEST).then_some(offset.wrapping_add(64))
    });
    assert!(record.is_none() || relocated.is_some());
    if relocated.is_some() {
        assert_eq!(unpack(&moved, part), record);
        assert_eq!(references(&moved).map(|(_, own)| own), references(bytes).map(|(_, own)| own));
    }
}

fuzz_target!(|bytes: &[u8]| {
    search(bytes);
    read_packed(bytes);
    if let Ok(material) = Material::decode(bytes) {
        assert!(!material.pairs.is_empty());
        assert!(material.pairs.iter().all(|pair| !pair.chain.is_empty()));
        // Each record has one form only.
        assert_eq!(material.encode().as_slice(), bytes);
    }
});
