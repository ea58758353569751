//! The answers of Cloudflare's API. The first two bytes are the status, in 256ths of all there are.
#![no_main]

use acme_dns_core::config::{CloudflareCredentials, CloudflareSettings, SecretId};
use acme_dns_service::dns::cloudflare::fuzzing::{
    AnswerReader, compare, quote_and_unquote, read_record, read_zone,
};
use acme_dns_service::dns::{ProviderError, Refusal};
use fuzzing::assert_line;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SECRET: &str = "s3cr3t";

/// The longest text of Cloudflare in a message.
const LONGEST: usize = 200;

thread_local! {
    static READER: AnswerReader = reader();
}

fn reader() -> AnswerReader {
    let settings = CloudflareSettings {
        credentials: CloudflareCredentials::Token(SecretId(0)),
        zone_id: None,
        ttl: 60,
        requests: None,
        api: "https://api.example/client/v4".to_owned(),
        trusted_certificate: None,
    };
    AnswerReader::new(&settings, SECRET).expect("a client")
}

fuzz_target!(|bytes: &[u8]| {
    let [high, low, body @ ..] = bytes else { return };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let status = StatusCode::from_u16(status).expect("a status");
    match READER.with(|reader| reader.read(status, body)) {
        Ok(result) => {
            assert!(status.is_success());
            items(&result);
        }
        Err(error) => failure(&error),
    }
});

fn items(result: &Value) {
    let list = result.as_array().map_or(std::slice::from_ref(result), Vec::as_slice);
    for item in list {
        if let Ok(zone) = read_zone(item) {
            assert!(!zone.name.is_empty() && !zone.id.is_empty());
            names(&zone.name, &zone.id);
        }
        if let Ok((id, value)) = read_record(item) {
            assert!(!id.is_empty());
            let (quoted, again) = quote_and_unquote(&value);
            assert_eq!(again, value, "{quoted}");
        }
    }
}

fn names(a: &str, b: &str) {
    let (common, holds, begins) = compare(a, b);
    assert!(a.ends_with(common) && b.ends_with(common));
    assert!(!holds || b.ends_with(a));
    assert!(!begins || a.len() >= b.len());
}

/// No message shows the token, and none has two lines.
fn failure(error: &ProviderError) {
    let text = error.to_string();
    assert!(!text.contains(SECRET), "{text}");
    assert_line(&text, usize::MAX);
    let (ProviderError::Unavailable { refusal, .. }
    | ProviderError::Unauthorized { refusal, .. }
    | ProviderError::Refused { refusal, .. }) = error
    else {
        return;
    };
    let Refusal { reasons, .. } = refusal;
    reasons.iter().for_each(|reason| assert_line(&reason.text, LONGEST));
}
