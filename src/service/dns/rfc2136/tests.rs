//! Answers, honest and hostile ones.

use super::super::{About, ProviderError};
use super::exchange::Request;
use super::refusal::Asked;
use super::tsig::{SignedMessage, TsigKey};
use acme_dns_core::config::{DnsServer, Rfc2136Settings, SecretId, TsigAlgorithm};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use zeroize::Zeroizing;

const SIGNED_AT: u64 = 1_700_000_000;

/// A signed update that is on its way.
struct Sent {
    message: Message,
    signed: SignedMessage,
    key: TsigKey,
}

fn key(secret: u8) -> TsigKey {
    let secret = Zeroizing::new(vec![secret; 32]);
    TsigKey::new("update.example.com", TsigAlgorithm::Sha256, secret).expect("a name")
}

impl Sent {
    fn new() -> Self {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        let zone = Name::from_ascii("example.com.").expect("a name");
        message.add_query(Query::query(zone, RecordType::SOA));
        let key = key(1);
        let bytes = message.to_vec().expect("a message");
        let signed = key.sign(&bytes, SIGNED_AT).expect("a signature");
        Self { message, signed, key }
    }

    /// The answer with a code, not signed yet.
    fn answer(&self, code: ResponseCode) -> Vec<u8> {
        let mut answer = Message::response(self.message.metadata.id, OpCode::Update);
        answer.metadata.response_code = code;
        answer.add_queries(self.message.queries.clone());
        answer.to_vec().expect("a message")
    }

    fn signed_answer(&self, code: ResponseCode) -> Vec<u8> {
        self.key.sign_answer(&self.answer(code), &self.signed, (0, &[]))
    }

    /// Reads what came; `None` if it is no answer, and waited on for.
    fn read(&self, bytes: &[u8]) -> Option<Result<(), ProviderError>> {
        let request = Request { message: &self.message, signed: &self.signed, key: &self.key };
        let settings = Rfc2136Settings {
            server: DnsServer { host: "ns1.example.com".to_owned(), port: 53 },
            key_name: "update.example.com".to_owned(),
            key: SecretId(0),
            algorithm: TsigAlgorithm::Sha256,
            tcp: false,
            ttl: 60,
        };
        let asked = Asked {
            action: "cannot",
            zone: "example.com",
            settings: &settings,
            signed_at: SIGNED_AT,
        };
        Some(asked.check(&request.read(bytes).ok()?))
    }

    fn is_success(&self, bytes: &[u8]) -> bool {
        matches!(self.read(bytes), Some(Ok(())))
    }

    fn error(&self, bytes: &[u8]) -> ProviderError {
        self.read(bytes).expect("an answer").expect_err("a refusal")
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn only_the_signed_answer_of_the_server_is_success() {
    let sent = Sent::new();
    assert!(sent.is_success(&sent.signed_answer(ResponseCode::NoError)));
    let plain = sent.answer(ResponseCode::NoError);
    let error = sent.error(&plain);
    assert!(error.to_string().contains("it is not signed, check that \"server\""), "{error}");
    assert!(!error.is_definite() && !error.is_permanent());
    let forged = key(2).sign_answer(&plain, &sent.signed, (0, &[]));
    assert!(sent.read(&forged).is_none(), "another secret");
    let other = Sent::new();
    let old = sent.key.sign_answer(&plain, &other.signed, (0, &[]));
    assert!(sent.read(&old).is_none(), "of another request");
    assert!(sent.read(&sent.signed.bytes).is_none(), "the request itself");
    let mut renamed = plain;
    renamed[0] ^= 1;
    let renamed = sent.key.sign_answer(&renamed, &sent.signed, (0, &[]));
    assert!(sent.read(&renamed).is_none(), "another identifier");
}

#[test]
fn refusals_say_what_to_do() {
    use ResponseCode::{FormErr, NotAuth, NotImp, NotZone, Refused, ServFail, YXRRSet};
    let sent = Sent::new();
    let plain = |code| sent.answer(code);
    let signed = |code| sent.signed_answer(code);
    let of_key = |error| sent.key.refuse(&sent.answer(NotAuth), error);
    let clock = |seconds: u64| {
        let answer = sent.answer(NotAuth);
        sent.key.sign_answer(&answer, &sent.signed, (18, &seconds.to_be_bytes()[2..]))
    };
    let zone = || About::Zone("example.com".into());
    let server = "server \"ns1.example.com:53\"";
    let rows: [(Vec<u8>, &str, &str, About, bool); 14] = [
        (of_key(16), "BADSIG", "has another secret for key", About::Credentials, true),
        (of_key(17), "BADKEY", "with hmac-sha256 that may update zone", zone(), true),
        (of_key(18), "BADTIME", "this host's clock differs by minutes", About::Provider, true),
        (clock(SIGNED_AT - 421), "BADTIME", "is 421 s ahead of that of", About::Provider, true),
        (clock(SIGNED_AT + 9000), "BADTIME", "is 9000 s behind that of", About::Provider, true),
        (of_key(22), "BADTRUNC", "not truncated", About::Provider, true),
        (signed(Refused), "REFUSED", "allow key \"update.example.com\"", zone(), true),
        (plain(Refused), "REFUSED", "if it is allowed, check its secret", zone(), true),
        (plain(NotAuth), "NOTAUTH", "name the zone's primary server", zone(), true),
        (signed(NotZone), "NOTZONE", "does not hold the name", About::Name, true),
        (plain(NotImp), "NOTIMP", "turn dynamic updates on", About::Provider, true),
        (plain(FormErr), "FORMERR", "", About::Name, true),
        (plain(ServFail), "SERVFAIL", "", About::Provider, false),
        (signed(YXRRSet), "RCODE 7", "", About::Provider, false),
    ];
    for (answer, code, advice, about, is_final) in rows {
        let error = sent.error(&answer);
        let text = error.to_string();
        assert!(text.contains(code) && text.contains(advice), "{code}: {text}");
        assert!(advice.is_empty() || code == "NOTZONE" || text.contains(server), "{code}: {text}");
        assert_eq!(*error.about(), about, "{text}");
        assert_eq!((error.is_definite(), error.is_permanent()), (is_final, is_final), "{text}");
    }
}

proptest! {
    #![proptest_config(config())]

    /// The case of names in the record is not signed; it is all that may differ.
    #[test]
    fn damaged_answers_are_never_taken_for_success(
        start in any::<prop::sample::Index>(),
        length in 0..8_usize,
        damage in vec(any::<u8>(), 0..8),
    ) {
        let sent = Sent::new();
        let answer = sent.signed_answer(ResponseCode::NoError);
        let start = start.index(answer.len());
        let end = (start + length).min(answer.len());
        let damaged = [&answer[..start], &damage, &answer[end..]].concat();
        let is_intact = damaged.eq_ignore_ascii_case(&answer);
        prop_assert!(is_intact || !sent.is_success(&damaged));
        prop_assert!(!sent.is_success(&answer[..start]));
    }

    #[test]
    fn other_octets_are_never_taken_for_success(
        rest in vec(any::<u8>(), 0..200),
        counts in prop::array::uniform4(0..3_u16),
    ) {
        let sent = Sent::new();
        prop_assert!(!sent.is_success(&rest));
        let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        let header = [&sent.signed.bytes[..2], &[0xa8, 0], &counts].concat();
        prop_assert!(!sent.is_success(&[header, rest].concat()));
    }
}

#[test]
fn every_octet_of_an_answer_counts() {
    let sent = Sent::new();
    let answer = sent.signed_answer(ResponseCode::NoError);
    for at in 0..answer.len() {
        for bit in 0..8 {
            let mut damaged = answer.clone();
            damaged[at] ^= 1 << bit;
            let is_intact = damaged.eq_ignore_ascii_case(&answer);
            assert!(is_intact || !sent.is_success(&damaged), "bit {bit} of octet {at}");
        }
        assert!(!sent.is_success(&answer[..at]), "{at} octets");
    }
    assert!(!sent.is_success(&[answer, vec![0]].concat()), "one octet more");
}
