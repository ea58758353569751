//! Which records a program is asked to remove, and when.

use crate::bed::{Bed, NAME, create, lego, placed, remove, run, settings, txt, zone};
use acme_dns_core::challenge::{Candidate, Kept, Mark};
use acme_dns_core::config::ExecSettings;
use acme_dns_service::dns::{DnsProvider, PlacedRecord, ProviderError, TxtRecord};
use std::cell::RefCell;

/// A server of a kind: a file with a value in each line. The removal is by value.
const BY_VALUE: &str = "echo \"$1 $3\" >> $dir/calls\n\
    case $1 in present) echo $3 >> $dir/values;;\n\
    *) grep -qx \"$3\" $dir/values || exit 4; sed -i \"/^$3\\$/d\" $dir/values;; esac";

/// The same, but whoever removes one value removes all.
const BY_NAME: &str = "echo \"$1 $3\" >> $dir/calls\n\
    case $1 in present) echo $3 >> $dir/values;; *) test -s $dir/values || exit 4; : > $dir/values;; esac";

fn one() -> TxtRecord {
    txt(NAME, "one")
}

fn two() -> TxtRecord {
    txt(NAME, "two")
}

fn of_journal(record: &TxtRecord) -> PlacedRecord {
    PlacedRecord { record: record.clone(), zone: zone(), id: None }
}

fn by_name(bed: &Bed, body: &str) -> acme_dns_service::dns::exec::Exec {
    let settings = settings(lego(&bed.script("hook", body)));
    bed.exec(&ExecSettings { removes_by_name: true, ..settings }, &[])
}

#[test]
fn the_rule_decides_with_what_is_known() {
    let bed = Bed::new();
    let provider = bed.lego(BY_VALUE);
    create(&provider, &[one(), two()]).unwrap();
    let asked = RefCell::new(Vec::new());
    let rule = |candidate: &Candidate<'_>| {
        asked.borrow_mut().push((
            candidate.kind.to_owned(),
            candidate.value.to_owned(),
            candidate.mark,
        ));
        if candidate.value == "one" { Err(Kept::NotConfigured) } else { Ok(()) }
    };
    let records = [of_journal(&one()), placed(&[two()]).remove(0)];
    let spared = run(provider.remove(&records, &rule)).unwrap();
    assert_eq!((spared.len(), &spared[0].record, spared[0].why), (1, &one(), Kept::NotConfigured));
    let asked = asked.into_inner();
    let expected = [("one", Mark::Unsupported), ("two", Mark::Ours)];
    assert_eq!(asked, expected.map(|(value, mark)| ("TXT".to_owned(), value.to_owned(), mark)));
    assert_eq!(bed.read("values"), "one\n");
}

#[test]
fn what_is_gone_is_not_removed_again() {
    let bed = Bed::new();
    let provider = bed.lego(BY_VALUE);
    create(&provider, &[one()]).unwrap();
    // The journal has a record of unknown fate removed twice.
    for _ in 0..2 {
        run(provider.remove(&[of_journal(&one())], &|_| Ok(()))).unwrap();
    }
    create(&provider, &[one()]).unwrap();
    remove(&provider, &[one()]).unwrap();
    assert_eq!(bed.read("calls"), "present one\ncleanup one\npresent one\ncleanup one\n");
    // This process knows nothing of this one.
    let error = run(provider.remove(&[of_journal(&two())], &|_| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("status 4"), "{error}");
}

#[test]
fn what_was_never_asked_for_is_not_removed() {
    let bed = Bed::new();
    let provider = bed.lego(&format!("[ $1-$3 != present-two ] || exit 1\n{BY_VALUE}"));
    let records = [one(), two(), txt(NAME, "three")];
    let error = create(&provider, &records).unwrap_err();
    assert!(!error.is_definite(), "{error}");
    let journal: Vec<PlacedRecord> = records.iter().map(of_journal).collect();
    let removed = run(provider.remove(&journal, &|_| Ok(())));
    // Two may be there, and the program says that it is not.
    assert!(removed.is_err());
    assert_eq!(bed.read("calls"), "present one\ncleanup one\ncleanup two\n");
    assert_eq!(bed.read("values"), "");
}

#[test]
fn a_failure_after_others_have_succeeded_is_not_definite() {
    let bed = Bed::new();
    let provider = bed.lego("chmod 644 $0");
    let error = create(&provider, &[one(), two()]).unwrap_err();
    assert!(matches!(&error, ProviderError::Unclear(_)) && !error.is_definite(), "{error}");
    let error = create(&provider, &[two()]).unwrap_err();
    assert!(error.is_definite(), "{error}");
}

#[test]
fn a_name_is_removed_when_no_order_needs_it() {
    let bed = Bed::new();
    let provider = by_name(&bed, BY_NAME);
    create(&provider, &[one()]).unwrap();
    create(&provider, &[two()]).unwrap();
    remove(&provider, &[one()]).unwrap();
    assert_eq!(bed.read("values"), "one\ntwo\n", "another order needs the name");
    remove(&provider, &[two()]).unwrap();
    assert_eq!(bed.read("values"), "");
    let calls = bed.read("calls");
    assert_eq!(calls.matches("cleanup").count(), 2, "{calls}");
}

#[test]
fn a_name_whose_removal_fails_is_removed_later() {
    let bed = Bed::new();
    let provider = by_name(&bed, &format!("[ $1 = present ] || rm $dir/up || exit 5\n{BY_NAME}"));
    create(&provider, &[one(), two()]).unwrap();
    assert!(remove(&provider, &[one(), two()]).is_err());
    std::fs::write(bed.path("up"), "").unwrap();
    remove(&provider, &[one(), two()]).unwrap();
    assert_eq!(bed.read("values"), "");
}

#[test]
fn a_script_that_removes_by_value_loses_nothing_when_it_is_called_by_name() {
    let bed = Bed::new();
    let provider = by_name(&bed, BY_VALUE);
    create(&provider, &[one()]).unwrap();
    create(&provider, &[two()]).unwrap();
    remove(&provider, &[one()]).unwrap();
    remove(&provider, &[two()]).unwrap();
    assert_eq!(bed.read("values"), "");
}
