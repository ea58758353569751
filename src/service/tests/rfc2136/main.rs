//! The RFC 2136 provider against BIND, Knot and PowerDNS.

mod bed;
mod errors;

use bed::*;

/// Values of somebody else at the name.
const FOREIGN: [&str; 2] = ["in two| strings", "somebody else's"];

fn with(more: &[&str]) -> Vec<String> {
    let mut values: Vec<String> = FOREIGN.iter().chain(more).map(|&v| v.to_owned()).collect();
    values.sort();
    values
}

#[test]
fn values_come_and_go_beside_each_other_and_foreign_ones_stay() {
    for bed in Bed::all() {
        for tcp in [false, true] {
            let (provider, row) = (bed.provider(tcp), format!("{}, TCP {tcp}", bed.server.name()));
            let ids = run(provider.create(&zone(), &[txt("apex"), txt("wildcard")])).unwrap();
            assert_eq!(ids.len(), 2);
            assert_eq!(bed.values(), with(&["apex", "wildcard"]), "{row}");
            // What is there already counts as created.
            run(provider.create(&zone(), &[txt("apex")])).unwrap();
            assert_eq!(bed.values(), with(&["apex", "wildcard"]), "{row}");
            let one = [placed("apex", Some(&ids[0]))];
            assert_eq!(run(provider.remove(&one, &|_| Ok(()))).unwrap(), [], "{row}");
            assert_eq!(bed.values(), with(&["wildcard"]), "{row}");
            let rest = [placed("apex", None), placed("wildcard", None), placed("WILDCARD", None)];
            assert_eq!(run(provider.remove(&rest, &|_| Ok(()))).unwrap(), [], "{row}");
            assert_eq!(bed.values(), with(&[]), "{row}");
        }
    }
}

#[test]
fn removal_asks_the_rule_and_tells_what_is_spared() {
    for bed in Bed::all() {
        let (provider, row) = (bed.provider(false), bed.server.name());
        let records = [txt("one"), txt("two"), txt("three")];
        run(provider.create(&zone(), &records)).unwrap();
        let rule = |candidate: &Candidate<'_>| match (candidate.value, candidate.mark) {
            ("one" | "gone", Mark::Unsupported) => Err(Kept::NotConfigured),
            ("two", Mark::Unsupported) | ("three", Mark::Ours) => Ok(()),
            _ => panic!("{candidate:?}"),
        };
        let all = ["one", "two", "gone"].map(|value| placed(value, None));
        let spared = run(provider.remove(&all, &rule)).unwrap();
        let spared: Vec<&str> = spared.iter().map(|spared| &*spared.record.value).collect();
        assert_eq!(spared, ["one"], "{row}: only what is there is spared");
        run(provider.remove(&[placed("three", Some("three"))], &rule)).unwrap();
        assert_eq!(bed.values(), with(&["one"]), "{row}");
    }
}

#[test]
fn a_name_without_values_is_gone() {
    for bed in Bed::all() {
        let (provider, row) = (bed.provider(false), bed.server.name());
        let name = format!("_acme-challenge.a.b.{ZONE}");
        let record = TxtRecord { name: name.clone(), value: "v".to_owned() };
        run(provider.create(&zone(), std::slice::from_ref(&record))).unwrap();
        assert_eq!(bed.lookup(&name), ["v"], "{row}");
        let placed = PlacedRecord { record, zone: zone(), id: None };
        run(provider.remove(std::slice::from_ref(&placed), &|_| Ok(()))).unwrap();
        assert_eq!(bed.lookup(&name), [""; 0], "{row}");
        let kept = run(provider.remove(&[placed], &|_| Err(Kept::Form))).unwrap();
        assert_eq!(kept, [], "{row}: it is not there");
    }
}

#[test]
fn concurrent_creations_lose_nothing() {
    for bed in Bed::all() {
        let providers = [bed.provider(false), bed.provider(true)];
        let values: Vec<String> = (0..20).map(|n| format!("value {n:02}")).collect();
        let records: Vec<TxtRecord> = values.iter().map(|value| txt(value)).collect();
        let created =
            records.iter().zip(providers.iter().cycle()).map(|(record, provider)| async {
                let zone = zone();
                provider.create(&zone, std::slice::from_ref(record)).await
            });
        for created in run(futures_util::future::join_all(created)) {
            created.unwrap();
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        assert_eq!(bed.values(), with(&values), "{}", bed.server.name());
        let all: Vec<PlacedRecord> = values.iter().map(|value| placed(value, None)).collect();
        run(providers[0].remove(&all, &|_| Ok(()))).unwrap();
        assert_eq!(bed.values(), with(&[]), "{}", bed.server.name());
    }
}

#[test]
fn more_records_than_a_message_may_have_come_and_go() {
    for bed in Bed::all() {
        let (provider, row) = (bed.provider(false), bed.server.name());
        let record = |n: u32| TxtRecord {
            name: format!("_acme-challenge.{n:03}.{ZONE}"),
            value: format!("{n:043}"),
        };
        let records: Vec<TxtRecord> = (0..250).map(record).collect();
        run(provider.create(&zone(), &records)).unwrap();
        let last = &records[249];
        assert_eq!(bed.lookup(&last.name), [last.value.as_str()], "{row}");
        let placed = |record| PlacedRecord { record, zone: zone(), id: None };
        let placed: Vec<PlacedRecord> = records.iter().cloned().map(placed).collect();
        run(provider.remove(&placed, &|_| Ok(()))).unwrap();
        assert!(records.iter().all(|record| bed.lookup(&record.name).is_empty()), "{row}");
    }
}

#[test]
fn every_algorithm_is_spoken() {
    for name in ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        for bed in Bed::with_algorithm(name) {
            let created = run(bed.provider(false).create(&zone(), &[txt("v")]));
            assert!(created.is_ok(), "{} {name}: {created:?}", bed.server.name());
        }
    }
}
