//! Orders of one zone that come at the same time.

use super::bed::{Bed, remove, run};
use acme_dns_service::dns::cloudflare::Cloudflare;
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use futures_util::future::join_all;
use http::Method;
use servers::traffic::{Action, Fault, Match};
use std::ops::Range;
use std::slice;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The record of an order.
fn record(number: usize) -> TxtRecord {
    let name = format!("_acme-challenge.h{number}.example.com");
    TxtRecord { name, value: format!("value {number}") }
}

/// The numbers of requests that change records, and of those among them that are for several records.
fn requests(bed: &Bed) -> (usize, usize) {
    let single = bed.count(Method::DELETE, "");
    (bed.count(Method::POST, "/dns_records") + single, bed.count(Method::POST, "/batch"))
}

/// Has an order create each of these records, all at the same time.
fn create(bed: &Bed, records: &[TxtRecord]) -> Vec<Result<String, ProviderError>> {
    let (cf, zone) = (bed.provider(), bed.zone());
    let orders = records.iter().map(|record| cf.create(&zone, slice::from_ref(record)));
    let created = run(join_all(orders)).into_iter();
    created.map(|ids| ids.map(|ids| ids.into_iter().next().expect("one"))).collect()
}

#[test]
fn they_ask_together_and_the_first_waits_for_nobody() {
    let bed = Bed::new();
    let records: Vec<_> = (0..30).map(record).collect();
    let ids: Vec<_> = create(&bed, &records).into_iter().map(Result::unwrap).collect();
    let expected: Vec<_> = records.iter().map(|record| bed.id_of(&record.value)).collect();
    assert_eq!((ids, requests(&bed)), (expected.clone(), (2, 1)));

    let (cf, zone) = (bed.provider(), bed.zone());
    let placed: Vec<_> = records
        .into_iter()
        .zip(expected)
        .map(|(record, id)| PlacedRecord { record, zone: zone.clone(), id: Some(id) })
        .collect();
    let removed = run(join_all(placed.iter().map(|one| remove(&cf, slice::from_ref(one)))));
    removed.into_iter().for_each(Result::unwrap);
    assert_eq!((bed.values(), requests(&bed)), (vec![], (4, 2)));
}

#[test]
fn more_than_one_request_can_hold_are_several() {
    let bed = Bed::new();
    let records: Vec<_> = (0..250).map(record).collect();
    create(&bed, &records).into_iter().for_each(|created| drop(created.unwrap()));
    assert_eq!((bed.values().len(), requests(&bed)), (250, (3, 2)));
}

#[test]
fn where_requests_follow_each_other_quickly_more_are_gathered() {
    let bed = Bed::new();
    let records: Vec<_> = (0..20).map(record).collect();
    let (cf, zone) = (bed.provider(), bed.zone());
    run(async {
        for record in &records[..5] {
            cf.create(&zone, slice::from_ref(record)).await.unwrap();
        }
        assert_eq!(requests(&bed), (5, 0), "nobody waits for others");
        let pauses = (0..).map(|number| Duration::from_millis(20 * number));
        join_all(records[5..].iter().zip(pauses).map(async |(record, pause)| {
            sleep(pause).await;
            cf.create(&zone, slice::from_ref(record)).await.unwrap();
        }))
        .await;
    });
    let (all, together) = requests(&bed);
    assert!((1..=3).contains(&together) && all <= 5 + together, "{all} requests");
    assert_eq!(bed.values().len(), 20);
}

#[test]
fn where_there_is_room_for_some_these_get_it() {
    let bed = Bed::new();
    bed.cloudflare.set_record_quota(6);
    let records: Vec<_> = (0..10).map(record).collect();
    let (cf, zone) = (bed.provider(), bed.zone());
    let orders = || records.iter().map(|record| cf.create(&zone, slice::from_ref(record)));
    let created = run(join_all(orders()));
    let refused: Vec<_> = created.into_iter().filter_map(Result::err).collect();
    assert_eq!((refused.len(), bed.values().len()), (4, 6));
    for error in refused {
        assert!(matches!(error.about(), About::Quota { .. }), "{error}");
        assert!(error.to_string().contains("create TXT record \"_acme-challenge.h"), "{error}");
    }
    assert_eq!(requests(&bed), (11, 1));
    // One after the other that was refused is not asked for with those of others soon.
    bed.cloudflare.set_record_quota(1000);
    run(join_all(orders())).into_iter().for_each(|created| drop(created.unwrap()));
    assert_eq!((bed.values().len(), requests(&bed).1), (10, 1));
}

#[test]
fn a_fault_of_one_is_its_own() {
    let bed = Bed::new();
    let mut records: Vec<_> = (0..5).map(record).collect();
    records[3].name = "_acme-challenge.elsewhere.test".to_owned();
    let created = create(&bed, &records);
    let errors: Vec<_> = created.into_iter().filter_map(Result::err).collect();
    assert!(matches!(&errors[..], [ProviderError::NoZone { .. }]), "{errors:?}");
    assert!(errors[0].to_string().contains(&records[3].name), "{}", errors[0]);
    assert_eq!(bed.values(), ["value 0", "value 1", "value 2", "value 4"]);
}

#[test]
fn a_failure_of_all_is_told_to_each_as_its_own() {
    let bed = Bed::new();
    let busy = Action::Error { status: 503, code: 10013, message: "not now".to_owned() };
    bed.always(Method::POST, "/batch", busy);
    let created = create(&bed, &(0..3).map(record).collect::<Vec<_>>());
    assert!(created[0].is_ok(), "it was alone");
    for (number, created) in created.into_iter().enumerate().skip(1) {
        let error = created.unwrap_err();
        let own = format!("create TXT record \"{}\" in zone", record(number).name);
        assert!(error.to_string().contains(&own), "{error}");
        assert!(!error.is_definite(), "it may have been created");
    }
}

#[test]
fn without_batches_each_asks_by_itself() {
    let bed = Bed::new();
    bed.cloudflare.set_batch_enabled(false);
    let records: Vec<_> = (0..5).map(record).collect();
    create(&bed, &records).into_iter().for_each(|created| drop(created.unwrap()));
    assert_eq!((bed.values().len(), requests(&bed)), (5, (6, 1)));
}

/// Four orders, of which the first that asks is never answered.
struct Orders {
    bed: Bed,
    cf: Cloudflare,
    zone: Zone,
    records: Vec<TxtRecord>,
}

impl Orders {
    fn new() -> Self {
        let bed = Bed::new();
        let first = Fault::new(Match::new(Method::POST, "/dns_records"), Action::Hang);
        bed.cloudflare.traffic.inject(first.times(1));
        let (cf, zone) = (bed.provider(), bed.zone());
        Self { bed, cf, zone, records: (0..4).map(record).collect() }
    }

    async fn create(&self, number: usize) -> Result<Vec<String>, ProviderError> {
        self.cf.create(&self.zone, slice::from_ref(&self.records[number])).await
    }

    /// Has these create their records at the same time.
    async fn create_all(&self, numbers: Range<usize>) {
        let created = join_all(numbers.map(|number| self.create(number))).await;
        created.into_iter().for_each(|created| drop(created.unwrap()));
    }
}

#[test]
fn an_order_that_is_given_up_holds_nobody_up() {
    let orders = Orders::new();
    run(async {
        // The second is given up while it waits.
        let given_up = |number, after| timeout(Duration::from_millis(after), orders.create(number));
        let (first, second, ()) =
            tokio::join!(given_up(0, 400), given_up(1, 100), orders.create_all(2..4));
        assert!(first.is_err() && second.is_err(), "they were given up");
    });
    assert_eq!(orders.bed.values(), ["value 2", "value 3"]);
    assert_eq!(requests(&orders.bed), (2, 1));
}

#[test]
fn an_order_whose_request_takes_long_holds_nobody_up() {
    let orders = Orders::new();
    run(async {
        tokio::select! {
            biased;
            first = orders.create(0) => panic!("it was to hang: {first:?}"),
            () = orders.create_all(1..4) => {}
        }
    });
    assert_eq!((orders.bed.values().len(), requests(&orders.bed)), (3, (2, 1)));
}
