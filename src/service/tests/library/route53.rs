//! Route 53, as moto models it.

use crate::bed::{Bed, Made, NAME, create, remove, remove_none, run, txt};
use acme_dns_service::dns::library::Library;
use servers::moto::Moto;

/// Makes a provider for a zone of moto, and gives it with the zone's id. A server is named by its endpoint, a proxy by
/// the environment. moto leaves out what tells the end of a list of zones, so the id is given.
pub(crate) fn route53(bed: &Bed, moto: &Moto, zone: &str) -> Library {
    let endpoint = format!("http://{}", moto.addr());
    let mut settings = vec![
        ("access_key_id", Made::Text("AKIDEXAMPLE")),
        ("secret_access_key", Made::Secret("s3cr/t+key")),
        ("hosted_zone_id", Made::Text(zone)),
    ];
    if bed.environment.is_empty() {
        settings.push(("endpoint", Made::Text(&endpoint)));
    }
    bed.provider("route53", &settings)
}

#[test]
fn values_come_and_go_beside_those_of_others() {
    for is_proxy in [false, true] {
        let mut bed = Bed::new();
        let moto = match is_proxy {
            false => Moto::server(bed.dir.path()),
            true => Moto::proxy(bed.dir.path()),
        };
        if is_proxy {
            bed = bed.with_environment(moto.environment());
        }
        let zone = moto.create_zone(crate::bed::ZONE);
        let provider = route53(&bed, &moto, &zone);
        moto.set_txt(&zone, NAME, &["foreign"]);
        let other = "_acme-challenge.www.example.com";
        let records = [txt(NAME, "one"), txt(NAME, "two \"q\\"), txt(other, &"x".repeat(300))];
        let ids = run(create(&provider, &records)).unwrap();
        assert_eq!(ids, ["one", "two \"q\\", &"x".repeat(300)], "a value tells it from others");
        assert_eq!(moto.txt(&zone, NAME), ["\"foreign\"", "\"one\"", r#""two \"q\\""#]);
        let (first, second) = ("x".repeat(255), "x".repeat(45));
        assert_eq!(moto.txt(&zone, other), [format!("\"{first}\" \"{second}\"")]);
        // What is there is not added twice.
        run(create(&provider, &records)).unwrap();
        assert_eq!(moto.txt(&zone, NAME).len(), 3);
        let spared = run(remove_none(&provider, &[txt(NAME, "one"), txt(NAME, "gone")])).unwrap();
        assert_eq!(spared.len(), 1, "only what is there is spared");
        assert_eq!(spared[0].record, txt(NAME, "one"));
        assert!(run(remove(&provider, &records)).unwrap().is_empty());
        assert_eq!(moto.txt(&zone, NAME), ["\"foreign\""]);
        assert_eq!(moto.txt(&zone, other), [""; 0]);
        assert!(run(remove(&provider, &records)).unwrap().is_empty(), "what is gone is removed");
        assert_eq!(bed.log(), [""; 0]);
    }
}

#[test]
fn a_refusal_says_what_to_look_for() {
    let bed = Bed::new();
    let moto = Moto::server(bed.dir.path());
    let _zone = moto.create_zone(crate::bed::ZONE);
    let provider = route53(&bed, &moto, "ZNONE");
    let error = run(create(&provider, &[txt(NAME, "one")])).unwrap_err();
    assert!(error.is_permanent() && error.is_definite(), "{error}");
    assert_eq!(
        error.to_string(),
        "provider \"own\" cannot create TXT record \"_acme-challenge.example.com\" in zone \"example.com\": HTTP 404; \
         check that zone \"example.com\" is there and that the credentials may see it"
    );
}
