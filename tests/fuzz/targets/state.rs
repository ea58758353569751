//! The files of the state path but for certificates. The first byte chooses the file.
#![no_main]

use acme_dns_core::id::{IssuerId, ProviderId, VariantId};
use acme_dns_core::schedule::{
    Authority, Failure, FailureKind, Fingerprint, Known, Loading, Progress, ProviderIdentity,
    Renewal, Schedule, Scope, Task, Validity,
};
use acme_dns_core::time::UnixTime;
use acme_dns_service::store::Store;
use libfuzzer_sys::fuzz_target;
use std::cell::OnceCell;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// A key, so that a good `account.json` makes an account.
const KEY: &str = include_str!("../seeds/state-key.pem");

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path()).expect("a state path");
    fs::create_dir(dir.path().join("accounts/ca")).expect("a directory");
    (dir, store)
}

thread_local! {
    static STATE: OnceCell<(TempDir, Store)> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    STATE.with(|state| {
        let (dir, store) = state.get_or_init(open);
        let write = |name: &str, content: &[u8]| {
            fs::write(dir.path().join(name), content).expect("the file is written");
        };
        match kind {
            b'p' => {
                write("orders/a.json", content);
                progress(store);
            }
            b'r' => renewal(content),
            b'o' => {
                write("orders/a.order", content);
                order(store);
            }
            b'j' => {
                write("journal/a.json", content);
                journal(store);
            }
            b'a' => {
                write("accounts/ca/account.json", content);
                write("accounts/ca/account_key.pem", KEY.as_bytes());
                account(store);
            }
            b'k' => {
                write("accounts/ca/account.json", br#"{"url":"u","directory":"d","contacts":[]}"#);
                write("accounts/ca/account_key.pem", content);
                account(store);
            }
            _ => {}
        }
    });
});

/// It is written as it was read, and a schedule can begin, fail and succeed with it.
fn progress(store: &Store) {
    let Ok(progress) = store.load_progress("a") else { return };
    store.save_progress("a", &progress).expect("it is kept");
    assert_eq!(store.load_progress("a").ok(), Some(progress.clone()));
    let mut schedule = begin(None, Renewal::default(), progress);
    let next = schedule.poll_timeout().expect("it is due some time");
    if let Some(Task::Obtain(attempt)) = schedule.poll(next.max(NOW)) {
        let failure = Failure {
            kind: FailureKind::Temporary,
            retry_after: Some(Duration::MAX),
            scope: Scope::Issuer,
            ordered: true,
            is_lost: false,
            published: false,
        };
        let failed = schedule.handle_failed(attempt.variant, NOW, &failure, 1.0).progress;
        assert!(failed.failures > 0 && failed.unfinished == 0);
        assert!(failed.next > NOW);
    }
}

fn begin(validity: Option<Validity>, renewal: Renewal, progress: Progress) -> Schedule {
    let authorities = vec![Authority {
        issuer: IssuerId::default(),
        name: "ca".to_owned(),
        has_staging: true,
        limit: None,
    }];
    let known = Known {
        validity,
        renewal,
        progress,
        authorities: authorities.into(),
        provider: ProviderIdentity { id: ProviderId::default(), name: "dns".into() },
        names: vec!["a.example".to_owned()],
        fingerprint: Fingerprint::default(),
        is_under_way: false,
    };
    Schedule::new([known], NOW, Loading::default(), || 1.0)
}

/// Whatever is kept, a certificate is renewed before its end.
fn renewal(content: &[u8]) {
    let Ok(renewal) = serde_json::from_slice::<Renewal>(content) else { return };
    let end = NOW + Duration::from_secs(90 * 86_400);
    let validity = Validity { not_before: NOW, not_after: end };
    let schedule = begin(Some(validity), renewal, Progress::default());
    let (time, _) = schedule.renewal(VariantId::default()).expect("there is a certificate");
    assert!(time < end);
}

/// It is written as it was read.
fn order(store: &Store) {
    let Ok(Some(order)) = store.load_order("a") else { return };
    store.save_order("a", &order).expect("it is kept");
    let again = store.load_order("a").expect("it is read").expect("it is there");
    assert_eq!((&again.url, &again.names, &again.key), (&order.url, &order.names, &order.key));
}

fn journal(store: &Store) {
    for (id, entry) in store.journal_all().expect("the directory is read") {
        let Ok(entry) = entry else { continue };
        store.journal_write(&id, &entry).expect("it is kept");
        let again = store.journal_all().expect("the directory is read");
        assert!(again.into_iter().any(|(_, read)| read.ok().as_ref() == Some(&entry)));
    }
}

fn account(store: &Store) {
    let Ok(account) = store.load_account("ca") else { return };
    let account = account.expect("its file is there");
    store.save_account("ca", &account).expect("it is kept");
    let again = store.load_account("ca").expect("it is read").expect("it is there");
    assert_eq!((&again.url, &again.directory), (&account.url, &account.directory));
    assert_eq!((&again.contacts, &again.key), (&account.contacts, &account.key));
}
