use super::{TakeOver, User, check_state_path, create_state_path, take_over};
use crate::store::testing::issued;
use crate::store::{Account, Certificates, Store, Trust, load_certificate};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OLD: u32 = 65_534;
const NEW: User = User { uid: 1, gid: 1 };

fn everything(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(everything(&entry.unwrap().path()));
        }
    }
    all
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A state path of the old user, with something of every kind; `None` where only root can make one.
fn old() -> Option<(TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // In memory, where fsync costs nothing.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.unwrap();
    let path = dir.path().join("state");
    let store = Store::open(&path).unwrap();
    store.lock().unwrap().unwrap().release();
    for _ in 0..2 {
        store.save_certificate("a.example", &issued(&["a.example"])).unwrap();
    }
    let account = Account {
        url: "https://ca.example/account/1".into(),
        directory: "https://ca.example/directory".into(),
        contacts: Vec::new(),
        taken_from: None,
        former_keys: Vec::new(),
        key: crate::x509::testing::key().private_key_to_pkcs8().unwrap().into(),
    };
    store.save_account("ca/staging", &account).unwrap();
    store.action_write("renew-a.example", b"").unwrap();
    for place in everything(&path) {
        lchown(place, Some(OLD), Some(OLD)).unwrap();
    }
    Some((dir, path))
}

fn strangers(path: &Path) -> Vec<PathBuf> {
    everything(path).into_iter().filter(|place| owner(place) != (NEW.uid, NEW.gid)).collect()
}

#[test]
fn everything_of_the_store_is_taken_and_nothing_else() {
    let Some((dir, path)) = old() else { return };
    for file in ["config", "domains.txt", "hook.sh"] {
        fs::write(path.join(file), file).unwrap();
        chown(path.join(file), Some(OLD), Some(OLD)).unwrap();
    }
    let key = path.join("accounts/ca/staging/account_key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(path.join("accounts"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = take_over(&path, NEW, false);
    assert!(matches!(outcome, TakeOver::Done { from: OLD, files } if files > 20), "{outcome:?}");
    let foreign: Vec<_> = ["config", "domains.txt", "hook.sh"].map(|f| path.join(f)).into();
    let mut left = strangers(&path);
    left.sort();
    assert_eq!(left, foreign);
    assert_eq!((mode(&path), mode(&path.join("accounts")), mode(&key)), (0o700, 0o700, 0o600));
    assert!(matches!(take_over(&path, NEW, false), TakeOver::NotNeeded));
    assert!(load_certificate(&path, "a.example").unwrap().is_some());
    let lock = Store::open(&path).unwrap().lock().unwrap();
    assert!(lock.is_some(), "it is free again");
    drop(dir);
}

#[test]
fn nothing_changes_while_another_process_holds_the_lock() {
    let Some((_dir, path)) = old() else { return };
    let lock = Store::open(&path).unwrap().lock().unwrap().unwrap();
    let before: Vec<_> = everything(&path).iter().map(|place| owner(place)).collect();
    assert!(matches!(take_over(&path, NEW, false), TakeOver::Busy));
    assert_eq!(everything(&path).iter().map(|place| owner(place)).collect::<Vec<_>>(), before);
    drop(lock);
    assert!(matches!(take_over(&path, NEW, false), TakeOver::Done { .. }));
}

#[test]
fn a_takeover_that_was_cut_off_begins_anew() {
    let Some((_dir, path)) = old() else { return };
    let all = everything(&path);
    for reached in 0..all.len() - 1 {
        // The state path itself, which is the first one here, is taken last.
        for (index, place) in all.iter().enumerate() {
            let uid = if index > 0 && index <= reached { NEW.uid } else { OLD };
            lchown(place, Some(uid), Some(uid)).unwrap();
        }
        assert!(matches!(take_over(&path, NEW, false), TakeOver::Done { .. }), "{reached}");
        assert!(strangers(&path).is_empty(), "{reached}");
    }
}

#[test]
fn what_root_has_copied_in_is_taken_on_demand() {
    let Some((_dir, path)) = old() else { return };
    assert!(matches!(take_over(&path, NEW, false), TakeOver::Done { .. }));
    let key = path.join("certs/a.example/privkey.pem");
    chown(&key, Some(0), Some(0)).unwrap();
    let certificates = Certificates::open(&path, &Trust::Owners(Vec::new())).unwrap().unwrap();
    assert!(certificates.load_quickly("a.example").unwrap().is_some());
    assert!(certificates.is_foreign_to(NEW.uid));
    assert!(matches!(take_over(&path, NEW, false), TakeOver::NotNeeded));
    let outcome = take_over(&path, NEW, true);
    assert!(matches!(outcome, TakeOver::Done { files: 1, .. }), "{outcome:?}");
    assert!(strangers(&path).is_empty());
}

/// Traps that an earlier owner of the state path may have set.
#[derive(Clone, Copy, Debug)]
enum Trap {
    Link,
    LinkToDevice,
    HardLink,
    Fifo,
    Device,
    /// In place of a directory, a link to another one.
    LinkToDirectory,
}

#[test]
fn nothing_outside_changes_by_what_was_put_there() {
    let Some((_dir, path)) = old() else { return };
    let files: Vec<PathBuf> = everything(&path).into_iter().filter(|p| p != &path).collect();
    let names: Vec<_> = files.iter().map(|file| file.strip_prefix(&path).unwrap()).collect();
    let traps = [
        Trap::Link,
        Trap::LinkToDevice,
        Trap::HardLink,
        Trap::Fifo,
        Trap::Device,
        Trap::LinkToDirectory,
    ];
    for (name, trap) in names.iter().flat_map(|name| traps.map(|trap| (name, trap))) {
        let Some((dir, path)) = old() else { return };
        let (place, outside) = (path.join(name), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let precious = outside.join("precious");
        fs::write(&precious, "precious").unwrap();
        fs::set_permissions(&precious, fs::Permissions::from_mode(0o644)).unwrap();
        match fs::symlink_metadata(&place).unwrap().is_dir() {
            true => fs::remove_dir_all(&place).unwrap(),
            false => fs::remove_file(&place).unwrap(),
        }
        let make = |kind, device| mknodat(CWD, &place, kind, Mode::RUSR, device).unwrap();
        match trap {
            Trap::Link => symlink(&precious, &place).unwrap(),
            Trap::LinkToDevice => symlink("/dev/null", &place).unwrap(),
            Trap::HardLink => fs::hard_link(&precious, &place).unwrap(),
            Trap::Fifo => make(FileType::Fifo, 0),
            Trap::Device => make(FileType::CharacterDevice, makedev(1, 7)),
            Trap::LinkToDirectory => symlink(&outside, &place).unwrap(),
        }
        let outcome = take_over(&path, NEW, false);
        assert!(matches!(outcome, TakeOver::Done { .. }), "{name:?} {trap:?}: {outcome:?}");
        // It locks, sweeps and writes what it can.
        if let Ok(store) = Store::open(&path) {
            let _ = store.lock().map(|lock| lock.is_some());
            let _ = store.save_certificate("a.example", &issued(&["a.example"]));
            let _ = load_certificate(&path, "a.example");
        }
        for place in [&outside, &precious] {
            assert_eq!(owner(place), (0, 0), "{name:?} {trap:?}");
        }
        assert_eq!(mode(&precious), 0o644, "{name:?} {trap:?}");
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{name:?} {trap:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{name:?} {trap:?}");
        let null = fs::metadata("/dev/null").unwrap();
        assert_eq!((null.uid(), null.mode() & 0o777), (0, 0o666), "{name:?} {trap:?}");
        assert_eq!(owner(&path), (NEW.uid, NEW.gid), "{name:?} {trap:?}");
    }
}

#[test]
fn a_state_path_is_made_for_its_user_and_a_test_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    check_state_path(&path).unwrap();
    assert!(!path.exists());
    let user = rustix::process::geteuid().is_root().then_some(NEW);
    for _ in 0..2 {
        create_state_path(&path, user).unwrap();
        check_state_path(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert!(user.is_none_or(|user| owner(&path) == (user.uid, user.gid)));
    }
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    create_state_path(&link, user).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    for wrong in ["file", "missing/state", "file/state", "dangling"] {
        let path = dir.path().join(wrong);
        assert!(check_state_path(&path).is_err(), "{wrong}");
        assert!(create_state_path(&path, user).is_err(), "{wrong}");
    }
}
