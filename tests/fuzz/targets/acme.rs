//! The answers of a CA that are JSON, and the header `Retry-After`. The first byte chooses.
#![no_main]

use acme_dns_core::schedule::RenewalInfo;
use acme_dns_service::acme::fuzzing::{read_directory, read_problem};
use acme_dns_service::http::retry_after;
use fuzzing::assert_line;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, SystemTime};

/// The longest text of a CA in a message, and what stands for the rest.
const LONGEST: usize = 500 + "...".len();

fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    match kind {
        b'd' => drop(read_directory(content)),
        b'p' => problem(content),
        b'r' => wait(content),
        b'w' => window(content),
        _ => {}
    }
});

fn problem(content: &[u8]) {
    let Some(refusal) = read_problem(content) else { return };
    assert!(!refusal.to_string().is_empty());
    assert_line(&refusal.to_string(), usize::MAX);
    let all = refusal.subproblems.iter().map(|(_, sub)| sub).chain([&refusal]);
    for one in all {
        assert_line(&one.kind, LONGEST);
        assert_line(&one.detail, LONGEST);
    }
    for (identifier, _) in &refusal.subproblems {
        assert_line(identifier.as_deref().unwrap_or_default(), LONGEST);
    }
}

fn window(content: &[u8]) {
    let Ok(info) = RenewalInfo::parse(content, None) else { return };
    assert!(info.window.start < info.window.end);
    assert_line(info.explanation_url.as_deref().unwrap_or_default(), LONGEST);
}

fn wait(content: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(content) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, value);
    for now in [0, 784_111_777, 1_800_000_000] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let wait = retry_after(&headers, now);
        assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(86_400)));
    }
}
