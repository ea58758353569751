//! DNS messages as they come over UDP and TCP, and resolv.conf. The first byte chooses the type of
//! the records that were asked for.
#![no_main]

use acme_dns_service::resolver::fuzzing::{read_message, read_resolvers};
use fuzzing::assert_line;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "_acme-challenge.example.test";

/// Their numbers (RFC 1035 section 3.2.2, RFC 3596 section 2.1).
const TXT: u16 = 16;
const NS: u16 = 2;
const A: u16 = 1;
const AAAA: u16 = 28;

fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    let kind = match kind {
        b't' => TXT,
        b'n' => NS,
        b'4' => A,
        b'6' => AAAA,
        b'r' => return resolvers(content),
        _ => return,
    };
    let Some([high, low]) = content.first_chunk::<2>() else { return };
    let id = u16::from_be_bytes([*high, *low]);
    if let Some(taken) = read_message(content, id, NAME, kind) {
        taken.alias.iter().chain(&taken.servers).for_each(|name| assert_line(name, 4 * 255));
        taken.failure.iter().for_each(|failure| assert_line(failure, usize::MAX));
        assert!(taken.alias.is_none() || taken.values.is_empty());
        assert!(taken.failure.is_none() || taken.values.is_empty());
    }
    // The identifier is the only thing that a forger cannot see.
    assert_eq!(read_message(content, id.wrapping_add(1), NAME, kind), None);
});

fn resolvers(content: &[u8]) {
    let found = read_resolvers(&String::from_utf8_lossy(content));
    assert!(!found.is_empty() && found.iter().all(|address| address.port() == 53));
}
