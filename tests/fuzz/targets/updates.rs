//! Answers to dynamic updates, with a TSIG record as their last one or without. What is signed as a request is
//! not taken for an answer: the digest of an answer covers the signature of its request.
#![no_main]

use acme_dns_service::dns::rfc2136::fuzzing::SignatureReader;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The signature of a request.
const REQUEST_MAC: [u8; 32] = [7; 32];

static READER: LazyLock<SignatureReader> =
    LazyLock::new(|| SignatureReader::new("update.example.com").expect("a name"));

fuzz_target!(|answer: &[u8]| {
    if let Some((is_valid, message)) = READER.read(answer, &REQUEST_MAC) {
        assert!(!is_valid, "nobody who has not the key can sign");
        assert!(message.len() <= answer.len());
    }
    let signed = READER.sign(answer, 1_700_000_000).expect("a signature");
    if let Some((is_valid, _)) = READER.read(&signed, &REQUEST_MAC) {
        assert!(!is_valid, "a request is no answer");
    }
});
