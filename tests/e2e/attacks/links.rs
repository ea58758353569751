//! A state path of the version before, in which the workers' user has left links and other things.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use openssl::base64::encode_block;
use rustix::fs::inotify;
use servers::process::{run, wait_until};

use super::site;
use super::state::{of_the_version_before, separate};
use crate::site::{LIMIT, NOBODY, Site};

/// Limit for a start on a busy machine. Two to the power of 31 rounds take many minutes.
const START: Duration = Duration::from_secs(60);

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn host(name: &str) -> String {
    format!("{name}.example.test")
}

/// Files of root that nobody else may open, and who has opened them.
struct Treasure {
    dir: PathBuf,
    /// Content and attributes of each file that has content.
    before: Vec<(PathBuf, String)>,
    watch: rustix::fd::OwnedFd,
}

impl Treasure {
    /// `file`, `key.pem`, `device`, `fifo` and `directory`.
    fn new(dir: PathBuf, key: &[u8]) -> Self {
        // Everybody may enter it: what protects its files are their own modes.
        fs::create_dir(&dir).expect("it is new");
        fs::write(dir.join("file"), "root's").expect("it is written");
        fs::write(dir.join("key.pem"), key).expect("it is written");
        fs::create_dir(dir.join("directory")).expect("it is new");
        fs::write(dir.join("directory/file"), "root's").expect("it is written");
        let path = |name: &str| dir.join(name).display().to_string();
        run(Command::new("mknod").args([&*path("device"), "c", "1", "5"])).expect("a device");
        run(Command::new("mkfifo").arg(path("fifo"))).expect("a FIFO");
        for (name, mode) in
            [("file", 0o600), ("key.pem", 0o600), ("fifo", 0o600), ("directory", 0o700)]
        {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
        let watch = watch.expect("inotify");
        let mut treasure = Self { dir, before: Vec::new(), watch };
        treasure.before = treasure.look();
        let flags = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MOVE;
        // The test has no need of the directory's own listing, which is an opening as well.
        for path in [treasure.dir.clone(), treasure.dir.join("directory")] {
            inotify::add_watch(&treasure.watch, path, flags).expect("it can be watched");
        }
        treasure
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn look(&self) -> Vec<(PathBuf, String)> {
        let of = |name: &str| {
            let path = self.dir.join(name);
            let meta = fs::symlink_metadata(&path).expect("it is there");
            let content = if meta.is_file() { fs::read(&path).expect("it") } else { Vec::new() };
            let attributes = (meta.uid(), meta.gid(), meta.mode(), meta.mtime_nsec());
            (path, format!("{attributes:?} {}", String::from_utf8_lossy(&content)))
        };
        ["file", "key.pem", "device", "fifo", "directory", "directory/file"].map(of).to_vec()
    }

    /// Returns what has happened to the files by their names here.
    fn events(&self) -> Vec<String> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            events.push(format!("{:?} {:?}", event.events(), event.file_name()));
        }
        events
    }

    fn check(&self, when: &str) {
        assert_eq!(self.events(), [""; 0], "{when}");
        assert_eq!(self.look(), self.before, "{when}");
        // Those of this look.
        self.events();
    }
}

/// A value of ASN.1 in DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).expect("it is short");
    let head: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    [head, &content].concat()
}

/// A key in PKCS #8 that is encrypted (PBES2, RFC 8018) with 2^31 - 1 rounds of PBKDF2.
fn encrypted_key() -> String {
    const SEQUENCE: u8 = 0x30;
    const PBES2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
    const PBKDF2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
    const HMAC_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x09";
    const AES256_CBC: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
    let octets = |bytes: &[u8]| der(0x04, &[bytes]);
    let rounds = der(0x02, &[b"\x7f\xff\xff\xff"]);
    let prf = der(SEQUENCE, &[HMAC_WITH_SHA256, b"\x05\x00"]);
    let derivation = der(SEQUENCE, &[&octets(b"saltsalt"), &rounds, &prf]);
    let derivation = der(SEQUENCE, &[PBKDF2, &derivation]);
    let cipher = der(SEQUENCE, &[AES256_CBC, &octets(&[7; 16])]);
    let parameters = der(SEQUENCE, &[&derivation, &cipher]);
    let algorithm = der(SEQUENCE, &[PBES2, &parameters]);
    let key = der(SEQUENCE, &[&algorithm, &octets(&[9; 64])]);
    let text = encode_block(&key);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    let label = "ENCRYPTED PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Puts something in the place of a file, with the owner that the workers' user gives it.
fn replace(path: &Path, make: impl FnOnce(&Path)) {
    match fs::symlink_metadata(path).map(|meta| meta.is_dir()) {
        Ok(true) => fs::rename(path, path.with_extension("aside")).expect("it can be moved"),
        Ok(false) => fs::remove_file(path).expect("it can be removed"),
        Err(_) => {}
    }
    make(path);
}

fn link(target: PathBuf) -> impl FnOnce(&Path) {
    move |path| {
        symlink(target, path).expect("it can be made");
        lchown(path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
    }
}

fn fifo(path: &Path) {
    run(Command::new("mkfifo").arg(path)).expect("a FIFO");
    chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
}

fn file(content: String) -> impl FnOnce(&Path) {
    move |path| {
        fs::write(path, content).expect("it is written");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
}

/// A site with certificates in a state path of the version before, stopped.
fn old_site() -> Site {
    let mut site = site();
    site.set_servers(&NAMES.map(host).each_ref().map(String::as_str));
    of_the_version_before(&mut site);
    NAMES.iter().for_each(|name| {
        site.wait_for_certificate(&host(name));
    });
    site.wait_until_clean();
    separate(&mut site);
    site
}

fn key_of(site: &Site, name: &str) -> PathBuf {
    site.state().join("certs").join(host(name)).join("privkey.pem")
}

/// Starts, reloads and stops, in no more time than it takes.
fn run_over(site: &mut Site, master_process: bool, when: &str) {
    site.nginx.master_process(master_process);
    let begin = Instant::now();
    site.start_nginx();
    assert!(begin.elapsed() < START, "{when}: the start took {:?}", begin.elapsed());
    let begin = Instant::now();
    assert!(site.nginx.test().0, "{when}");
    assert!(begin.elapsed() < START, "{when}: a test took {:?}", begin.elapsed());
    if master_process {
        site.reload();
        assert!(begin.elapsed() < START * 2, "{when}: the reload took {:?}", begin.elapsed());
    }
}

fn check_whatever_lies_there(master_process: bool) {
    let mut site = old_site();
    let when = format!("master_process {master_process}");
    let key = fs::read(key_of(&site, "a")).expect("a key");
    let treasure = Treasure::new(site.bed.dir().join("treasure"), &key);
    let state = site.state();
    replace(&key_of(&site, "a"), link(treasure.path("key.pem")));
    replace(&key_of(&site, "b"), link(treasure.path("device")));
    replace(&key_of(&site, "c"), link(treasure.path("fifo")));
    replace(&key_of(&site, "d"), fifo);
    replace(&key_of(&site, "e"), file(encrypted_key()));
    for name in ["issuer.json", "renewal.json"] {
        let path = state.join("certs").join(host("f")).join(name);
        replace(&path, link(treasure.path("file")));
    }
    replace(&state.join("orders/a.example.test.order"), link(treasure.path("file")));
    replace(&state.join("orders/b.example.test.order"), fifo);
    replace(&state.join("orders/b.example.test.json"), link(treasure.path("fifo")));
    replace(&state.join("journal/a.example.test.json"), link(treasure.path("file")));
    replace(&state.join("journal/b.example.test.json"), fifo);
    replace(&state.join("actions/renew-a.example.test"), link(treasure.path("file")));
    replace(&state.join("certs/a.example.test.invalid"), link(treasure.path("directory")));
    run_over(&mut site, master_process, &when);
    // What cannot be used is obtained anew.
    let trusted = |name: &&str| site.trusting(&host(name)).handshake().is_ok();
    let all = wait_until(LIMIT, || NAMES.iter().all(trusted).then_some(()));
    if master_process {
        assert!(all.is_some(), "{when}: {}", site.nginx.log());
    }
    site.nginx.quit();
    treasure.check(&when);
}

#[test]
fn whatever_lies_in_an_old_state_path_is_not_followed() {
    check_whatever_lies_there(true);
}

#[test]
fn whatever_lies_in_an_old_state_path_is_not_followed_by_a_single_process() {
    check_whatever_lies_there(false);
}

/// `name` in the state path is a link to a file or a directory of root.
fn check_link(name: &str, target: &str, master_process: bool) {
    let mut site = old_site();
    let when = format!("{name} is a link to {target}, master_process {master_process}");
    let key = fs::read(key_of(&site, "a")).expect("a key");
    let treasure = Treasure::new(site.bed.dir().join("treasure"), &key);
    replace(&site.state().join(name), link(treasure.path(target)));
    run_over(&mut site, master_process, &when);
    // The service has looked at it.
    site.nginx.wait_for_log("acme_dns: ", LIMIT);
    site.nginx.quit();
    treasure.check(&when);
}

#[test]
fn a_lock_or_a_directory_that_is_a_link_is_not_followed() {
    for (name, target) in [("lock", "file"), ("certs", "directory"), ("accounts", "directory")] {
        check_link(name, target, true);
    }
}

#[test]
fn a_lock_that_is_a_link_is_not_followed_by_a_single_process() {
    check_link("lock", "file", false);
    check_link("lock", "fifo", false);
}

#[test]
fn a_file_with_a_second_name_is_not_given_away() {
    let mut site = old_site();
    let key = fs::read(key_of(&site, "a")).expect("a key");
    let treasure = Treasure::new(site.bed.dir().join("treasure"), &key);
    let hard = |path: &Path, target: &str| {
        replace(path, |path| fs::hard_link(treasure.path(target), path).expect("one file system"));
    };
    let state = site.state();
    hard(&key_of(&site, "a"), "key.pem");
    hard(&state.join("journal/x.json"), "file");
    hard(&state.join("orders/a.example.test.order"), "file");
    let before = treasure.look();
    treasure.events();
    run_over(&mut site, true, "hard links");
    // Those that nobody has touched.
    NAMES.iter().skip(1).for_each(|name| {
        site.wait_for_certificate(&host(name));
    });
    let looked = || (!site.lines("warn", 0).is_empty()).then_some(());
    wait_until(LIMIT, looked).unwrap_or_else(|| panic!("{}", site.nginx.log()));
    site.nginx.quit();
    assert_eq!(treasure.look(), before);
}
