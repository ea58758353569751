use super::{NoQuestion, OcspError, Question, read_time};
use acme_dns_core::staple::{StapleWindow, StapleWindowError};
use acme_dns_core::time::UnixTime;
use openssl::error::ErrorStack;
use servers::ocsp::{Signer, Statement, Status};

const NOW: i64 = 1_795_466_700;
const TIMES: (i64, Option<i64>) = (NOW - 3600, Some(NOW + 3600));
const RESPONDER: &str = "http://ocsp.example.test:8080/path";

fn question(of: &Signer, issuer: &Signer) -> Option<Question> {
    let chain = [of, issuer].map(|signer| signer.certificate.to_der().unwrap());
    Question::new(&chain).ok()
}

/// Checks at [`NOW`] a statement about a certificate of `issuer`.
fn check(
    issuer: &Signer,
    signer: &Signer,
    status: Status,
    times: (i64, Option<i64>),
) -> Result<StapleWindow, OcspError> {
    let leaf = issuer.customer(&[RESPONDER]);
    let about = (&leaf.certificate, &issuer.certificate);
    let response = Statement { about, status, times }.sign(signer);
    let good = question(&leaf, issuer).unwrap().check(&response, UnixTime(NOW));
    assert!(
        ErrorStack::get().errors().is_empty(),
        "it would be taken for an error of a connection"
    );
    let good = good?;
    assert_eq!(good.staple.response, response);
    assert_eq!(good.staple.not_after, good.window.next_update);
    Ok(good.window)
}

#[test]
fn the_first_responder_that_http_leads_to_is_asked() {
    let issuer = Signer::authority();
    for (responders, expected) in [
        (&[RESPONDER][..], Some("ocsp.example.test:8080")),
        (&["ldap://a.test/", "no URL", "https://b.test", "http://c.test/"], Some("b.test")),
        (&["ldap://a.test/"], None),
        (&[], None),
    ] {
        let question = question(&issuer.customer(responders), &issuer);
        assert_eq!(question.map(|q| q.host()).as_deref(), expected, "{responders:?}");
        assert!(ErrorStack::get().errors().is_empty(), "{responders:?}");
    }
}

#[test]
fn why_nobody_can_be_asked_is_known() {
    let (issuer, other) = (Signer::authority(), Signer::authority());
    let (asks, silent) = (issuer.customer(&[RESPONDER]), issuer.customer(&[]));
    for (row, chain, expected) in [
        ("whole", &[&asks, &issuer][..], None),
        ("in another order", &[&asks, &other, &issuer], None),
        ("alone", &[&asks], Some(NoQuestion::NoIssuer)),
        ("with another issuer", &[&asks, &other], Some(NoQuestion::NoIssuer)),
        ("without a responder", &[&silent, &issuer], Some(NoQuestion::NoResponder)),
        ("without both", &[&silent], Some(NoQuestion::NoResponder)),
        ("nothing", &[], Some(NoQuestion::NoResponder)),
    ] {
        let chain: Vec<_> = chain.iter().map(|it| it.certificate.to_der().unwrap()).collect();
        assert_eq!(Question::new(&chain).err(), expected, "{row}");
        assert!(ErrorStack::get().errors().is_empty(), "{row}");
    }
}

#[test]
fn the_issuer_and_its_delegates_are_believed_and_nobody_else() {
    let issuer = Signer::authority();
    let other = Signer::authority();
    for (signer, is_believed, what) in [
        (issuer.clone(), true, "the issuer"),
        (issuer.delegate(-1, 1), true, "a delegate"),
        (issuer.customer(&[]), false, "a customer of the issuer"),
        (issuer.delegate(-2, -1), false, "a delegate of the past"),
        (other.clone(), false, "another authority"),
        (other.delegate(-1, 1), false, "its delegate"),
        (issuer.delegate(-1, 1).delegate(-1, 1), false, "a delegate of a delegate"),
    ] {
        match check(&issuer, &signer, Status::Good, TIMES) {
            Ok(_) => assert!(is_believed, "{what}"),
            Err(OcspError::Signature(_)) => assert!(!is_believed, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
        let revoked = check(&issuer, &signer, Status::Revoked, TIMES).unwrap_err();
        let is_revoked = matches!(revoked, OcspError::Revoked(_));
        assert_eq!(is_revoked, is_believed, "{what}: {revoked}");
    }
}

#[test]
fn a_status_counts_with_its_times() {
    let issuer = Signer::authority();
    let ok = |window: StapleWindow| (window.this_update.0 - NOW, window.next_update.0 - NOW);
    for (status, times, expected) in [
        (Status::Good, TIMES, Ok((-3600, 3600))),
        (Status::Good, (NOW + 300, Some(NOW + 301)), Ok((300, 301))),
        (
            Status::Good,
            (NOW + 301, Some(NOW + 3600)),
            Err(OcspError::Window(StapleWindowError::Future(UnixTime(NOW + 301)))),
        ),
        (Status::Good, (NOW, None), Err(OcspError::Window(StapleWindowError::Endless))),
        (
            Status::Good,
            (NOW - 60, Some(NOW)),
            Err(OcspError::Window(StapleWindowError::Past(UnixTime(NOW)))),
        ),
        (Status::Unknown, TIMES, Err(OcspError::Unknown)),
        (Status::Revoked, TIMES, Err(OcspError::Revoked("1970-01-01T00:00:00Z".into()))),
        (Status::Revoked, (NOW, None), Err(OcspError::Revoked("1970-01-01T00:00:00Z".into()))),
    ] {
        let result = check(&issuer, &issuer, status, times).map(ok);
        let text = |error: OcspError| format!("{error:?}");
        assert_eq!(result.map_err(text), expected.map_err(text), "{status:?} {times:?}");
    }
}

#[test]
fn an_answer_about_another_certificate_is_not_ours() {
    let (issuer, other) = (Signer::authority(), Signer::authority());
    let leaf = issuer.customer(&[RESPONDER]);
    let question = question(&leaf, &issuer).unwrap();
    let (sibling, stranger) = (issuer.customer(&[]), other.customer(&[]));
    for (about, is_ours) in [
        ((&leaf.certificate, &issuer.certificate), true),
        ((&sibling.certificate, &issuer.certificate), false),
        ((&stranger.certificate, &other.certificate), false),
        // The serial number is ours, the issuer is not.
        ((&leaf.certificate, &other.certificate), false),
    ] {
        let response = Statement { about, status: Status::Good, times: TIMES }.sign(&issuer);
        match question.check(&response, UnixTime(NOW)) {
            Ok(_) => assert!(is_ours),
            Err(OcspError::OtherCertificate) => assert!(!is_ours),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn no_damaged_response_is_accepted() {
    let issuer = Signer::authority();
    let leaf = issuer.customer(&[RESPONDER]);
    let question = question(&leaf, &issuer).unwrap();
    let about = (&leaf.certificate, &issuer.certificate);
    let good = Statement { about, status: Status::Good, times: TIMES }.sign(&issuer);
    let check = |bytes: &[u8]| question.check(bytes, UnixTime(NOW));
    assert!(check(&good).is_ok());
    // What follows the signature is the signer's certificate, which we have too.
    for place in 0..good.len() - issuer.certificate.to_der().unwrap().len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x41;
        assert!(check(&bytes).is_err(), "byte {place}");
        assert!(check(&good[..place]).is_err(), "{place} bytes");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(matches!(check(&longer), Err(OcspError::Form)));
    assert!(matches!(check(b""), Err(OcspError::Form)));
    for (status, expected) in [
        (1, "malformedRequest"),
        (2, "internalError"),
        (3, "tryLater"),
        (5, "sigRequired"),
        (6, "unauthorized"),
        (9, "an unknown status"),
    ] {
        let error = check(&[0x30, 3, 0x0a, 1, status]).unwrap_err();
        assert_eq!(error.to_string(), format!("it answered \"{expected}\""));
    }
}

#[test]
fn times_of_responses_are_read() {
    for (text, expected) in [
        ("Nov 23 20:45:00 2026 GMT", Some(1_795_466_700)),
        ("Nov  6 08:49:37 1994 GMT", Some(784_111_777)),
        ("Nov  6 08:49:37.25 1994 GMT", Some(784_111_777)),
        ("Nov 23 20:45:00 2026", None),
        ("Nov 31 20:45:00 2026 GMT", None),
        ("Nov 23 2026 GMT", None),
        ("Bad time value", None),
        ("error", None),
        ("", None),
    ] {
        assert_eq!(read_time(text).map(|time| time.0), expected, "{text}");
    }
}
