//! Updates at the same moment, of which Route 53 keeps the last one only.

use crate::bed::{Bed, NAME, create, remove, run, txt, zone};
use crate::route53::route53;
use acme_dns_service::dns::DnsProvider;
use futures_util::future::join_all;
use servers::moto::Moto;
use servers::process::wait_until;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Orders at the same moment.
const ORDERS: usize = 20;

#[test]
fn no_value_of_many_orders_is_lost() {
    let bed = Bed::new();
    let moto = Moto::server(bed.dir.path());
    let zone = moto.create_zone(crate::bed::ZONE);
    moto.set_txt(&zone, NAME, &["foreign"]);
    // Two blocks for one zone.
    let providers = [route53(&bed, &moto, &zone), route53(&bed, &moto, &zone)];
    let records: Vec<_> =
        (0..ORDERS).map(|order| [txt(NAME, &format!("value-{order:02}"))]).collect();
    let of = |order: usize| &providers[order % 2];
    let creations = records.iter().enumerate().map(|(order, record)| create(of(order), record));
    run(join_all(creations)).into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let mut expected: Vec<String> =
        (0..ORDERS).map(|order| format!("\"value-{order:02}\"")).collect();
    expected.insert(0, "\"foreign\"".to_owned());
    assert_eq!(moto.txt(&zone, NAME), expected);
    assert_eq!(bed.log(), [""; 0], "nobody has overwritten anything");
    let removals = records.iter().enumerate().map(|(order, record)| remove(of(order), record));
    run(join_all(removals)).into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(moto.txt(&zone, NAME), ["\"foreign\""]);
}

#[test]
fn what_another_client_has_overwritten_is_written_again() {
    let bed = Bed::new();
    let moto = Moto::server(bed.dir.path());
    let zone = moto.create_zone(crate::bed::ZONE);
    let provider = route53(&bed, &moto, &zone);
    thread::scope(|scope| {
        scope.spawn(|| {
            let written = wait_until(LIMIT, || (!moto.txt(&zone, NAME).is_empty()).then_some(()));
            written.expect("the first write");
            moto.set_txt(&zone, NAME, &["foreign"]);
        });
        run(create(&provider, &[txt(NAME, "one")])).unwrap();
    });
    assert_eq!(moto.txt(&zone, NAME), ["\"foreign\"", "\"one\""]);
    assert_eq!(
        bed.log(),
        [
            "provider \"own\": another client has overwritten TXT record \"_acme-challenge.example.com\"; writing it again"
        ]
    );
}

#[test]
fn what_another_client_has_overwritten_later_is_found_by_another_look() {
    let bed = Bed::new();
    let moto = Moto::server(bed.dir.path());
    let zone_id = moto.create_zone(crate::bed::ZONE);
    let provider = route53(&bed, &moto, &zone_id);
    let record = [txt(NAME, "one")];
    run(create(&provider, &record)).unwrap();
    run(provider.restore(&zone(), &record)).unwrap();
    assert_eq!(bed.log(), [""; 0], "it is there");
    moto.set_txt(&zone_id, NAME, &["foreign"]);
    run(provider.restore(&zone(), &record)).unwrap();
    assert_eq!(moto.txt(&zone_id, NAME), ["\"foreign\"", "\"one\""]);
    assert_eq!(bed.log().len(), 1);
}

#[test]
fn what_another_client_has_brought_back_is_removed_again() {
    let bed = Bed::new();
    let moto = Moto::server(bed.dir.path());
    let zone = moto.create_zone(crate::bed::ZONE);
    let provider = route53(&bed, &moto, &zone);
    moto.set_txt(&zone, NAME, &["foreign", "one"]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_gone = || (moto.txt(&zone, NAME) == ["\"foreign\""]).then_some(());
            wait_until(LIMIT, is_gone).expect("the first removal");
            moto.set_txt(&zone, NAME, &["foreign", "one"]);
        });
        run(remove(&provider, &[txt(NAME, "one")])).unwrap();
    });
    assert_eq!(moto.txt(&zone, NAME), ["\"foreign\""]);
}
