//! The record of a certificate in shared memory, which another process has written.
#![no_main]

use acme_dns_core::material::Material;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(material) = Material::decode(bytes) {
        assert!(!material.pairs.is_empty());
        assert!(material.pairs.iter().all(|pair| !pair.chain.is_empty()));
        // Each record has one form only.
        assert_eq!(material.encode().as_slice(), bytes);
    }
});
