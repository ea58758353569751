//! Files that are not what they should be: what is said, and that nothing is lost.

use crate::faults::scratch;
use crate::fixtures::{Fixtures, NAME};
use crate::operations::entry;
use crate::view::everything;
use acme_dns_core::schedule::Progress;
use acme_dns_service::store::{Store, StoreError, load_certificate, load_material};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;

type Load = fn(&Store) -> Result<(), StoreError>;
type Replace = fn(&Store, &Fixtures) -> Result<(), StoreError>;

/// A kind of file.
struct Kind {
    file: &'static str,
    load: Load,
    /// The work of the service after that, beginning with what it puts out of the way.
    replace: Replace,
    /// True if what is damaged is still there then.
    stays: bool,
}

const KINDS: &[Kind] = &[
    Kind {
        file: "certs/a.example/fullchain.pem",
        load: certificate,
        replace: new_certificate,
        stays: true,
    },
    Kind {
        file: "certs/a.example/privkey.pem",
        load: certificate,
        replace: new_certificate,
        stays: true,
    },
    Kind {
        file: "certs/a.example/issuer.json",
        load: |store| match store.load_certificate(NAME)?.unwrap().issuer_error {
            Some(error) => Err(error),
            None => Ok(()),
        },
        replace: new_certificate,
        stays: true,
    },
    Kind {
        file: "certs/a.example/renewal.json",
        load: |store| store.load_renewal::<Renewal>(NAME).map(|renewal| assert!(renewal.is_some())),
        replace: new_certificate,
        stays: true,
    },
    Kind { file: "accounts/ca/account.json", load: account, replace: new_account, stays: true },
    Kind { file: "accounts/ca/account_key.pem", load: account, replace: new_account, stays: true },
    Kind {
        file: "accounts/ca/account_key.new.pem",
        load: |store| store.load_new_account_key("ca").map(|key| assert!(key.is_some())),
        replace: new_account,
        stays: true,
    },
    Kind {
        file: "orders/a.example.json",
        load: |store| store.load_progress(NAME).map(|_| ()),
        replace: |store, _| store.save_progress(NAME, &Progress::default()),
        stays: false,
    },
    Kind {
        file: "orders/a.example.order",
        load: |store| store.load_order(NAME).map(|order| assert!(order.is_some())),
        replace: |store, fixtures| store.save_order(NAME, &fixtures.order(2)),
        stays: true,
    },
    Kind {
        file: "journal/a.example.json",
        load: |store| store.journal_all()?.remove(0).1.map(|_| ()),
        replace: |store, _| {
            store.journal_set_aside(NAME)?;
            store.journal_write(NAME, &entry(None))
        },
        stays: true,
    },
    Kind {
        file: "actions/renew-a.example",
        load: |store| store.actions_all()?.remove(0).1.map(|_| ()),
        replace: |store, _| store.action_refuse("renew-a.example").map(|_| ()),
        stays: true,
    },
];

#[derive(serde::Deserialize)]
struct Renewal {
    #[serde(rename = "at")]
    _at: u64,
}

fn certificate(store: &Store) -> Result<(), StoreError> {
    let quick = load_material(store.path(), NAME);
    let stored = load_certificate(store.path(), NAME);
    assert!(quick.is_ok() || stored.is_err(), "one loader refuses it, the other takes {stored:?}");
    stored.map(|stored| assert!(stored.is_some()))
}

fn account(store: &Store) -> Result<(), StoreError> {
    store.load_account("ca").map(|account| assert!(account.is_some()))
}

fn new_certificate(store: &Store, fixtures: &Fixtures) -> Result<(), StoreError> {
    store.save_certificate(NAME, &fixtures.issued(3))
}

fn new_account(store: &Store, fixtures: &Fixtures) -> Result<(), StoreError> {
    store.set_account_aside("ca")?;
    store.save_account("ca", &fixtures.account("mailto:new@example.com"))
}

/// Everything there is one of, and a certificate before that which is served.
fn fill(path: &Path, fixtures: &Fixtures) -> Store {
    let store = Store::open(path).unwrap();
    for number in [1, 2] {
        store.save_certificate(NAME, &fixtures.issued(number)).unwrap();
    }
    store.save_renewal(NAME, &json!({ "at": 7 })).unwrap();
    store.save_account("ca", &fixtures.account("mailto:a@example.com")).unwrap();
    store.save_new_account_key("ca", &fixtures.key(2)).unwrap();
    store.save_progress(NAME, &Progress { failures: 3, ..Progress::default() }).unwrap();
    store.save_order(NAME, &fixtures.order(1)).unwrap();
    store.journal_write(NAME, &entry(None)).unwrap();
    store.action_write("renew-a.example", b"please").unwrap();
    store
}

/// A kind of damage to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Damage {
    Truncated,
    Empty,
    Garbage,
    Binary,
    /// A key where it should not be: no message may show it.
    Key,
    OtherJson,
    Huge,
    Directory,
    Fifo,
    LinkToNothing,
    LinkToGood,
    LinkToDevice,
    HardLink,
    OtherOwner,
    OpenMode,
}

const DAMAGES: [Damage; 15] = [
    Damage::Truncated,
    Damage::Empty,
    Damage::Garbage,
    Damage::Binary,
    Damage::Key,
    Damage::OtherJson,
    Damage::Huge,
    Damage::Directory,
    Damage::Fifo,
    Damage::LinkToNothing,
    Damage::LinkToGood,
    Damage::LinkToDevice,
    Damage::HardLink,
    Damage::OtherOwner,
    Damage::OpenMode,
];

impl Damage {
    fn inflict(self, path: &Path, elsewhere: &Path, fixtures: &Fixtures) {
        let good = fs::read(path).unwrap();
        let instead = |bytes: &[u8]| fs::write(path, bytes).unwrap();
        let is_replaced = [
            Self::Directory,
            Self::Fifo,
            Self::LinkToNothing,
            Self::LinkToGood,
            Self::LinkToDevice,
        ];
        if is_replaced.contains(&self) {
            fs::remove_file(path).unwrap();
        }
        match self {
            Self::Truncated => instead(&good[..good.len() / 2]),
            Self::Empty => instead(b""),
            Self::Garbage => instead(b"garbage\nof two lines"),
            Self::Binary => instead(&[0, 159, 146, 150, 255, 0]),
            Self::Key => {
                instead(Value::from(fixtures.issued(4).key.as_str()).to_string().as_bytes())
            }
            Self::OtherJson => {
                instead(b"{\"url\":7,\"failures\":\"x\",\"at\":\"y\",\"directory\":[]}")
            }
            Self::Huge => fs::File::create(path).unwrap().set_len(5 << 20).unwrap(),
            Self::Directory => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("inside"), "precious").unwrap();
            }
            Self::Fifo => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Self::LinkToNothing => symlink(elsewhere.join("nothing"), path).unwrap(),
            Self::LinkToGood => {
                fs::write(elsewhere.join("good"), good).unwrap();
                symlink(elsewhere.join("good"), path).unwrap();
            }
            Self::LinkToDevice => symlink("/dev/zero", path).unwrap(),
            Self::HardLink => fs::hard_link(path, elsewhere.join("other")).unwrap(),
            Self::OtherOwner => chown(path, Some(65_534), Some(65_534)).unwrap(),
            Self::OpenMode => crate::view::chmod(path, 0o644),
        }
    }

    /// Tells whether only root minds it: who is not root can be made to read nothing that others cannot.
    fn is_of_root(self) -> bool {
        matches!(self, Self::OtherOwner | Self::HardLink)
    }

    /// Returns whether a file with it is read all the same.
    fn is_harmless(self, kind: &Kind) -> bool {
        match self {
            Self::OpenMode => true,
            // A person may write anything there.
            Self::Truncated
            | Self::Empty
            | Self::Garbage
            | Self::Binary
            | Self::Key
            | Self::OtherJson => kind.file.starts_with("actions/"),
            _ => false,
        }
    }
}

/// The contents of all files, and the places of what is none.
fn contents(path: &Path) -> Vec<Vec<u8>> {
    let files = everything(path).into_iter().filter(|path| path.is_file());
    files.map(|path| fs::read(path).unwrap()).collect()
}

fn check(kind: &Kind, damage: Damage, fixtures: &Fixtures) -> Result<(), String> {
    let dir = scratch();
    let path = dir.path().join("state");
    let store = fill(&path, fixtures);
    let file = path.join(kind.file);
    damage.inflict(&file, dir.path(), fixtures);
    let damaged = file.is_file().then(|| fs::read(&file).unwrap());
    let before = contents(&path);
    let was_current = load_certificate(&path, NAME).is_ok();
    check_message(kind, damage, (kind.load)(&store))?;
    if damage.is_harmless(kind) {
        return Ok(());
    }
    let left = contents(&path);
    if before.iter().any(|content| !left.contains(content)) {
        return Err("reading has lost something".to_owned());
    }
    if damage == Damage::OtherOwner && kind.file.ends_with(".order") {
        // No order is placed in its place.
        return Ok(());
    }
    let replaced = (kind.replace)(&store, fixtures);
    let is_in_the_way = !kind.stays && damage == Damage::Directory;
    match (&replaced, is_in_the_way) {
        (Err(error), true) if error.to_string().contains("(21: Is a directory)") => {}
        (Err(error), _) => return Err(format!("it cannot be replaced: {error}")),
        (Ok(()), true) => return Err("a directory was replaced".to_owned()),
        (Ok(()), false) => {}
    }
    let left = contents(&path);
    if kind.stays && damaged.is_some_and(|damaged| !left.contains(&damaged)) {
        return Err("what was damaged is gone".to_owned());
    }
    let older = fixtures.issued(1).fullchain.into_bytes();
    if !was_current && !left.contains(&older) {
        return Err("the last good certificate is gone".to_owned());
    }
    if damage == Damage::Directory && !left.contains(&b"precious".to_vec()) {
        return Err("what was in the directory is gone".to_owned());
    }
    Ok(())
}

fn check_message(
    kind: &Kind,
    damage: Damage,
    loaded: Result<(), StoreError>,
) -> Result<(), String> {
    let error = match (loaded, damage.is_harmless(kind)) {
        (Ok(()), true) => return Ok(()),
        (Ok(()), false) => return Err("it is taken".to_owned()),
        (Err(error), true) => return Err(format!("it is refused: {error}")),
        (Err(error), false) => error.to_string(),
    };
    // A certificate is read from its version, not by way of the link.
    let name = Path::new(kind.file).file_name().unwrap().to_string_lossy();
    let has_path = error.contains(&format!("/{name}\""));
    if !has_path || error.contains('\n') || error.len() > 400 || error.contains("PRIVATE") {
        return Err(format!("the message is \"{error}\""));
    }
    Ok(())
}

#[test]
fn damaged_files_are_named_and_nothing_is_lost() {
    let fixtures_dir = scratch();
    let fixtures = Fixtures::create(fixtures_dir.path());
    let is_root = rustix::process::geteuid().is_root();
    let mut failed = Vec::new();
    for kind in KINDS {
        for damage in DAMAGES.into_iter().filter(|d| is_root || !d.is_of_root()) {
            if let Err(error) = check(kind, damage, &fixtures) {
                failed.push(format!("{} {damage:?}: {error}", kind.file));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
