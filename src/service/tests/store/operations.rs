//! Operations that change files, each in the situations that matter.

use crate::fixtures::{Fixtures, NAME};
use acme_dns_core::schedule::Progress;
use acme_dns_service::dns::{PlacedRecord, TxtRecord, Zone};
use acme_dns_service::store::{JournalEntry, Store, StoreError};
use serde_json::json;
use servers::process::wait_until;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

type Prepare = fn(&Store, &Fixtures);
type Act = fn(&Store, &Fixtures) -> Result<(), StoreError>;

/// Something that changes files.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Makes what is there before.
    pub(crate) prepare: Prepare,
    /// States between the old and the new one that are as good as either.
    pub(crate) between: &'static [Act],
    pub(crate) act: Act,
    /// Set if what cannot be read is no failure: a state between is right also after a success.
    pub(crate) leaves_out: bool,
    /// It is opening the state path that is looked at.
    pub(crate) opens: bool,
    /// The certificate that must be on disk whatever happens, besides the new one.
    pub(crate) good: Option<usize>,
    /// The group that may read certificates, before and from then on.
    pub(crate) groups: (Option<u32>, Option<u32>),
}

impl Operation {
    const fn new(name: &'static str, prepare: Prepare, act: Act) -> Self {
        let (between, good, groups) = (&[], None, (None, None));
        Self { name, prepare, act, between, leaves_out: false, good, opens: false, groups }
    }

    const fn of_opening(self) -> Self {
        Self { opens: true, ..self }
    }

    const fn keeps(self, good: usize) -> Self {
        Self { good: Some(good), ..self }
    }

    /// `begin` is called when the state path is open, or is to be opened.
    pub(crate) fn carry_out(
        &self,
        path: &Path,
        fixtures: &Fixtures,
        begin: impl FnOnce(),
    ) -> Result<(), StoreError> {
        if self.opens {
            begin();
            return Store::open_shared(path, self.groups.1).map(|_| ());
        }
        let store = Store::open_shared(path, self.groups.1)?;
        begin();
        (self.act)(&store, fixtures)
    }

    const fn by_way_of(self, between: &'static [Act]) -> Self {
        Self { between, ..self }
    }

    const fn leaves_out(self) -> Self {
        Self { leaves_out: true, ..self }
    }

    const fn shared(self, before: Option<u32>, now: Option<u32>) -> Self {
        Self { groups: (before, now), ..self }
    }
}

/// A group that this process, which is root's, can give things to.
const GROUP: Option<u32> = Some(65_534);

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::new(
        "open, nothing there",
        |store, _| fs::remove_dir_all(store.path()).unwrap(),
        |_, _| Ok(()),
    )
    .of_opening(),
    Operation::new("lock and sweep", leave_unfinished, lock),
    Operation::new("certificate, first", nothing, |s, f| certificate(s, f, 1)),
    Operation::new(
        "certificate, second",
        |s, f| certificates(s, f, 1),
        |s, f| certificate(s, f, 2),
    )
    .keeps(1),
    Operation::new("certificate, third", |s, f| certificates(s, f, 2), |s, f| certificate(s, f, 3))
        .keeps(2),
    Operation::new(
        "certificate, third, for a group",
        |s, f| certificates(s, f, 2),
        |s, f| certificate(s, f, 3),
    )
    .keeps(2)
    .shared(GROUP, GROUP),
    Operation::new("renewal, for a group", |s, f| certificates(s, f, 1), renewal)
        .keeps(1)
        .shared(GROUP, GROUP),
    Operation::new("lock, and a group from now on", |s, f| certificates(s, f, 2), lock)
        .keeps(2)
        .shared(None, GROUP),
    Operation::new("lock, and a group no more", |s, f| certificates(s, f, 2), lock)
        .keeps(2)
        .shared(GROUP, None),
    Operation::new(
        "certificate, once more",
        |s, f| certificates(s, f, 2),
        |s, f| certificate(s, f, 2),
    )
    .keeps(1),
    Operation::new("certificate, over a directory", make_plain, |s, f| certificate(s, f, 2))
        .keeps(1),
    Operation::new("certificate, over a damaged one", damage_third, |s, f| certificate(s, f, 4))
        .keeps(2),
    Operation::new("certificate, over a missing one", remove_third, |s, f| certificate(s, f, 4))
        .keeps(2),
    Operation::new("renewal", |s, f| certificates(s, f, 1), renewal).keeps(1),
    Operation::new("account, first", nothing, |s, f| account(s, f, "mailto:a@example.com"))
        .by_way_of(&[account_key]),
    Operation::new("account, contacts", an_account, |s, f| account(s, f, "mailto:b@example.com")),
    Operation::new("account, set aside", an_account, |s, _| match s.load_account("ca")? {
        Some(_) => s.set_account_aside("ca").map(|_| ()),
        None => Ok(()),
    }),
    Operation::new("account, new key", an_account, |s, f| s.save_new_account_key("ca", &f.key(2))),
    Operation::new("account, key adopted", two_keys, |s, _| {
        match s.load_new_account_key("ca")? {
            Some(_) => s.adopt_new_account_key("ca"),
            None => Ok(()),
        }
    }),
    Operation::new(
        "order",
        |s, f| s.save_order(NAME, &f.order(1)).unwrap(),
        |s, f| s.save_order(NAME, &f.order(2)),
    ),
    Operation::new("order, damaged", damage_order, |s, _| {
        // What is damaged is an error, and goes out of the way.
        match s.load_order(NAME) {
            Err(StoreError::Invalid { .. }) | Ok(None) => Ok(()),
            other => other.map(|_| ()),
        }
    }),
    Operation::new(
        "order, removed",
        |s, f| s.save_order(NAME, &f.order(1)).unwrap(),
        |s, _| s.remove_order(NAME),
    ),
    Operation::new("progress", nothing, |s, _| {
        let progress = Progress { failures: 3, ..Progress::default() };
        s.save_progress(NAME, &progress)
    }),
    Operation::new(
        "pack",
        |s, f| certificates(s, f, 1),
        |s, _| s.write_pack(vec![NAME.to_owned()], || true).map(|_| ()),
    )
    // What cannot be read is not in it.
    .by_way_of(&[|s, _| s.write_pack(Vec::new(), || true).map(|_| ())])
    .leaves_out()
    .keeps(1),
    Operation::new("pack, written anew", renewed_since_packed, |s, _| {
        s.write_pack(vec![NAME.to_owned()], || true).map(|_| ())
    })
    .by_way_of(&[|s, _| s.write_pack(Vec::new(), || true).map(|_| ())])
    .leaves_out(),
    Operation::new("pack, removed", renewed_since_packed, |s, _| s.remove_pack()),
    Operation::new(
        "journal",
        |s, _| s.journal_write(NAME, &entry(None)).unwrap(),
        |s, _| s.journal_write(NAME, &entry(Some("1"))),
    ),
    Operation::new(
        "journal, removed",
        |s, _| s.journal_write(NAME, &entry(None)).unwrap(),
        |s, _| s.journal_remove(NAME),
    ),
    Operation::new("journal, set aside", damage_journal, |s, _| {
        if s.journal_has(NAME) { s.journal_set_aside(NAME).map(|_| ()) } else { Ok(()) }
    }),
    Operation::new("action, written", ask, |s, _| s.action_write("renew-a.example", b"more")),
    Operation::new("action, done", ask, |s, _| s.action_done("renew-a.example")),
    Operation::new("action, refused", ask, |s, _| match s.actions_all()?.as_slice() {
        [] => Ok(()),
        _ => s.action_refuse("renew-a.example").map(|_| ()),
    }),
];

fn nothing(_: &Store, _: &Fixtures) {}

fn lock(store: &Store, _: &Fixtures) -> Result<(), StoreError> {
    // A process that is about to be started has a copy of every open file for a moment.
    let lock = wait_until(Duration::from_secs(10), || store.lock().transpose());
    lock.unwrap().map(|_| ())
}

fn certificate(store: &Store, fixtures: &Fixtures, number: usize) -> Result<(), StoreError> {
    store.save_certificate(NAME, &fixtures.issued(number))
}

fn account(store: &Store, fixtures: &Fixtures, contact: &str) -> Result<(), StoreError> {
    store.save_account("ca", &fixtures.account(contact))
}

fn account_key(store: &Store, fixtures: &Fixtures) -> Result<(), StoreError> {
    store.save_account_key("ca", &fixtures.key(1))
}

fn renewal(store: &Store, _: &Fixtures) -> Result<(), StoreError> {
    store.save_renewal(NAME, &json!({ "at": 7 }))
}

fn certificates(store: &Store, fixtures: &Fixtures, last: usize) {
    for number in 1..=last {
        store.save_certificate(NAME, &fixtures.issued(number)).unwrap();
    }
}

fn renewed_since_packed(store: &Store, fixtures: &Fixtures) {
    certificates(store, fixtures, 1);
    assert!(store.write_pack(vec![NAME.to_owned()], || true).unwrap());
    store.save_certificate(NAME, &fixtures.issued(2)).unwrap();
}

fn make_plain(store: &Store, fixtures: &Fixtures) {
    certificates(store, fixtures, 1);
    let (link, version) = (store.path().join("certs").join(NAME), version(store, 1));
    fs::remove_file(&link).unwrap();
    fs::rename(version, link).unwrap();
}

fn damage_third(store: &Store, fixtures: &Fixtures) {
    certificates(store, fixtures, 3);
    fs::write(version(store, 3).join("privkey.pem"), "-----BEGIN").unwrap();
}

fn remove_third(store: &Store, fixtures: &Fixtures) {
    certificates(store, fixtures, 3);
    fs::remove_dir_all(version(store, 3)).unwrap();
}

fn version(store: &Store, number: usize) -> std::path::PathBuf {
    store.path().join("certs/.versions").join(NAME).join(number.to_string())
}

fn an_account(store: &Store, fixtures: &Fixtures) {
    account(store, fixtures, "mailto:a@example.com").unwrap();
}

fn two_keys(store: &Store, fixtures: &Fixtures) {
    an_account(store, fixtures);
    store.save_new_account_key("ca", &fixtures.key(2)).unwrap();
}

fn damage_order(store: &Store, _: &Fixtures) {
    private(store, &format!("orders/{NAME}.order"), "{");
}

fn damage_journal(store: &Store, _: &Fixtures) {
    private(store, &format!("journal/{NAME}.json"), "{");
    // One that was put aside before stays.
    private(store, &format!("journal/{NAME}.invalid"), "{{");
}

fn ask(store: &Store, _: &Fixtures) {
    private(store, "actions/renew-a.example", "please");
}

fn private(store: &Store, file: &str, text: &str) {
    let path = store.path().join(file);
    fs::write(&path, text).unwrap();
    crate::view::chmod(&path, 0o600);
}

/// Leaves what a killed process leaves in every directory.
fn leave_unfinished(store: &Store, fixtures: &Fixtures) {
    certificates(store, fixtures, 1);
    account(store, fixtures, "mailto:a@example.com").unwrap();
    account(store, fixtures, "mailto:a@example.com").unwrap();
    store.save_account("ca/staging", &fixtures.account("mailto:a@example.com")).unwrap();
    let directories = ["accounts", "accounts/ca", "accounts/ca/staging", "actions", "certs"];
    let more =
        ["certs/.versions", "certs/.versions/a.example", "certs/a.example", "journal", "orders"];
    for directory in directories.iter().chain(&more) {
        fs::write(store.path().join(directory).join(".tmp-1-0-file"), "half").unwrap();
    }
    let half = store.path().join("certs/.versions/a.example/.tmp-1-1-2");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("privkey.pem"), "half").unwrap();
    symlink("nowhere", store.path().join("certs/.tmp-1-2-a.example")).unwrap();
}

pub(crate) fn entry(id: Option<&str>) -> JournalEntry {
    let record = TxtRecord { name: "_acme-challenge.a.example".into(), value: "v".into() };
    let zone = Zone { id: "z".into(), name: "a.example".into() };
    JournalEntry::of("p", vec![PlacedRecord { record, zone, id: id.map(Into::into) }])
}

/// Makes in `path` what is there before an operation.
pub(crate) fn prepare(operation: &Operation, path: &Path, fixtures: &Fixtures) {
    let store = Store::open_shared(path, operation.groups.0).unwrap();
    drop(store.lock().unwrap().unwrap());
    (operation.prepare)(&store, fixtures);
}
