//! Moving over from other clients: what they have obtained is served and kept, and nothing is ordered.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use openssl::pkey::PKey;
use rustix::process::Signal;
use serde_json::Value;
use servers::acme_proxy::AcmeStep;
use servers::pebble::PebbleOptions;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Reply};
use testbed::clients::acme::{Client, Key, Setup};
use testbed::clients::tls::Leaf;
use testbed::measurements::proc::{count_in_memory, kill};

use crate::site::{LIMIT, SERVICE, Site};

const NAMES: [&str; 2] = ["example.test", "*.example.test"];
const RSA: &str = "rsa.example.test";

/// A site and what another client has for it: an ECDSA certificate for [`NAMES`], an RSA certificate
/// for [`RSA`].
struct Move {
    site: Site,
    client: Client,
    tree: PathBuf,
    ecdsa: Leaf,
    rsa: Leaf,
}

/// The authority of the site for a client.
fn setup(site: &Site, tree: &Path) -> Setup {
    Setup {
        tree: tree.to_owned(),
        work: site.bed.dir().join("work"),
        directory_url: site.proxy.directory_url(),
        ca_file: site.proxy.ca_file().to_owned(),
        dns: site.bed.dns.addr(),
    }
}

impl Move {
    fn from(client: Client, format: &str) -> Self {
        let mut site = Site::with(|o| PebbleOptions { va_always_valid: true, ..o });
        let tree = site.bed.dir().join("old");
        let setup = setup(&site, &tree);
        if client == Client::Uacme {
            let without = Action::rewrite(remove_challenges_without_token);
            let authorizations = AcmeStep::Authorization.requests();
            site.proxy.traffic.inject(Fault::new(authorizations, without).always());
        }
        // Without a plugin for DNS, Caddy cannot have a wildcard from Pebble.
        let names = if client == Client::Caddy { &NAMES[..1] } else { &NAMES };
        let mut wanted = [(Key::Ecdsa, names), (Key::Rsa, &[RSA])];
        if client == Client::Traefik {
            // It orders nothing that a wildcard which it has covers.
            wanted.reverse();
        }
        wanted.iter().for_each(|(key, names)| client.obtain(&setup, *key, names));
        site.proxy.traffic.clear_faults();
        let leaf =
            |key, name| Leaf::from_pem(&client.chain(&tree, key, name)).expect("it is readable");
        let (ecdsa, rsa) = (leaf(Key::Ecdsa, NAMES[0]), leaf(Key::Rsa, RSA));
        site.http = format!("acme_dns_import {format} {};", tree.display());
        site.set_servers(&[&names.join(" "), RSA]);
        site.proxy.traffic.clear_log();
        Self { site, client, tree, ecdsa, rsa }
    }

    fn orders(&self) -> usize {
        self.site.proxy.traffic.count(&AcmeStep::NewOrder.requests())
    }

    /// Both certificates are served as they are, at once.
    fn check_served(&self, when: &str) {
        for (name, leaf) in [(NAMES[0], &self.ecdsa), (RSA, &self.rsa)] {
            let served = self.site.trusting(name).handshake();
            let served = served.unwrap_or_else(|e| panic!("{when}, {name}: {e}"));
            assert_eq!(served.leaf, *leaf, "{when}");
            assert_eq!(served.chain.len(), 2, "{when}: with its intermediate");
        }
    }

    /// Waits until the helper has kept both.
    fn wait_until_kept(&self) {
        for (key, name, leaf) in [(Key::Ecdsa, NAMES[0], &self.ecdsa), (Key::Rsa, RSA, &self.rsa)] {
            let file = self.client.source(&self.tree, key, name);
            let text = format!("certificate \"{name}\" imported from \"{}", file.display());
            let line = self.site.nginx.wait_for_log(&text, LIMIT);
            assert!(line.contains("[notice]") && line.contains(", renewal at 2"), "{line}");
            assert_eq!(self.site.check_files(name), *leaf);
        }
    }

    fn check_log(&self) {
        for level in ["warn", "error", "crit", "alert", "emerg"] {
            let log = self.site.nginx.log();
            let lines: Vec<_> =
                log.lines().filter(|line| line.contains(&format!("[{level}]"))).collect();
            assert!(lines.is_empty(), "{lines:#?}");
        }
    }

    /// The whole way: started, kept, started without the old tree, and ordered from the account.
    /// `account` is what the log says of it.
    fn check(mut self, account: &str) {
        let before = snapshot(&self.tree);
        self.site.start_nginx();
        self.check_served("the first handshake");
        self.wait_until_kept();
        self.check_served("after the helper has kept them");
        // Nothing is looked for any more.
        let mark = self.site.nginx.log_mark();
        let helper = self.site.nginx.wait_for_helper();
        self.site.reload();
        self.site.wait_for_other_helper(&[helper]);
        self.check_served("after a reload");
        self.site.nginx.quit();
        self.site.http = String::new();
        self.site.start_nginx();
        self.check_served("after a restart without the directive");
        assert!(!self.site.nginx.log_from(mark).contains("imported from"));
        assert_eq!(self.orders(), 0);
        assert_eq!(snapshot(&self.tree), before, "the old tree is as it was");
        // With a name of its own it does not share the wildcard's.
        self.site.add_server("new.example.test", "on name=new");
        self.site.reload();
        self.site.nginx.wait_for_log("certificate \"new\" issued by", LIMIT);
        let line = self.site.nginx.wait_for_log(account, LIMIT);
        assert!(line.contains("[notice]"), "{line}");
        assert_eq!(self.orders(), 1, "{}", self.site.nginx.log());
        self.check_log();
    }

    /// As [`check`](Self::check), with an account that is kept, whose URL this is.
    fn check_with_account(self, url: &str) {
        assert!(url.starts_with("https://"), "{url}");
        self.check(&format!("account found at {url}"));
    }
}

/// uacme gives up where it meets a challenge of another kind than it knows.
fn remove_challenges_without_token(reply: &mut Reply) {
    let mut json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if let Some(challenges) = json["challenges"].as_array_mut() {
        challenges.retain(|challenge| challenge["token"].is_string());
        reply.body = json.to_string().into();
    }
}

/// All below a directory: paths, owners, modes, times and sizes.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![dir.to_owned()];
    while let Some(path) = next.pop() {
        let meta = path.symlink_metadata().expect("it is there");
        let (mode, owner, size) = (meta.mode(), meta.uid(), meta.size());
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        found.push(format!("{} {mode:o} {owner} {size} {times:?}", path.display()));
        if meta.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            next.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
    found.sort();
    found
}

/// A string in a JSON file below the tree, whose path may have stars.
fn json(tree: &Path, file: &str, pointer: &str) -> String {
    let mut paths = vec![tree.to_owned()];
    for part in file.split('/') {
        paths = paths
            .iter()
            .flat_map(|path| match part {
                "*" => fs::read_dir(path)
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.expect("an entry").path())
                    .collect(),
                part => vec![path.join(part)],
            })
            .collect();
    }
    let path = paths.iter().find(|path| path.is_file()).expect("the file is there");
    let json: Value = serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON");
    json.pointer(pointer).and_then(Value::as_str).expect("it is there").to_owned()
}

/// The log's words for an account with an RSA key.
const TAKEN_OVER: &str = " taken over: an ECDSA key has replaced its old one";

#[test]
fn dehydrated_moves_with_its_certificates() {
    Move::from(Client::Dehydrated, "dehydrated").check(TAKEN_OVER);
}

#[test]
fn dehydrated_with_an_ecdsa_account_moves_with_everything() {
    let moved = Move::from(Client::NewDehydrated, "dehydrated");
    let url = json(&moved.tree, "accounts/*/account_id.json", "/url");
    moved.check_with_account(&url);
}

#[test]
fn certbot_moves_with_its_certificates() {
    Move::from(Client::Certbot, "certbot").check(TAKEN_OVER);
}

#[test]
fn lego_moves_with_everything() {
    let moved = Move::from(Client::Lego, "lego");
    let url = json(&moved.tree, "accounts/*/*/account.json", "/registration/uri");
    moved.check_with_account(&url);
}

#[test]
fn acme_sh_moves_with_everything() {
    let moved = Move::from(Client::AcmeSh, "acme.sh");
    let url = acme_sh_account(&moved.tree);
    moved.check_with_account(&url);
}

fn acme_sh_account(tree: &Path) -> String {
    let conf = fs::read_to_string(tree.join("ca/127.0.0.1/dir/ca.conf")).expect("readable");
    let url = conf.lines().find_map(|line| line.strip_prefix("ACCOUNT_URL='"));
    url.expect("it is there").trim_end_matches('\'').to_owned()
}

#[test]
fn caddy_moves_with_everything() {
    let moved = Move::from(Client::Caddy, "caddy");
    let url = json(&moved.tree, "acme/*/users/admin@example.test/admin.json", "/location");
    moved.check_with_account(&url);
}

#[test]
fn traefik_moves_with_its_certificates() {
    let mut moved = Move::from(Client::Traefik, "traefik");
    let file = moved.tree.join("acme.json");
    let url = json(&moved.tree, "acme.json", "/old/Account/Registration/uri");
    moved.site.http = format!("acme_dns_import traefik {};", file.display());
    moved.check(&format!("account {url}{TAKEN_OVER}"));
}

#[test]
fn uacme_moves_with_everything() {
    // It keeps no URL of its account.
    Move::from(Client::Uacme, "uacme").check("account found at https://");
}

/// The state path of the official module, laid out after its source: no package of it can be had.
#[test]
fn the_official_module_moves_with_everything() {
    let mut moved = Move::from(Client::AcmeSh, "acme.sh");
    let old = moved.tree.clone();
    let tree = moved.site.bed.dir().join("acme_pebble");
    fs::create_dir(&tree).expect("it can be made");
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).expect("a mode");
    let url = acme_sh_account(&old);
    let write = |name: &str, bytes: &[u8]| fs::write(tree.join(name), bytes).expect("written");
    let write_key = |name: &str, from: &Path| {
        let key = PKey::private_key_from_pem(&fs::read(from).expect("readable")).expect("a key");
        write(name, &key.private_key_to_pem_pkcs8().expect("PEM"));
    };
    write_key("account.key", &old.join("ca/127.0.0.1/dir/account.key"));
    write("account.url", url.as_bytes());
    for (key, name, hash) in
        [(Key::Ecdsa, NAMES[0], "3f1c5a9be2d40671"), (Key::Rsa, RSA, "a0b1c2d3e4f50617")]
    {
        let (chain, of_key) = moved.client.files(key, name);
        write(&format!("{name}-{hash}.crt"), &fs::read(old.join(chain)).expect("readable"));
        write_key(&format!("{name}-{hash}.key"), &old.join(of_key));
    }
    moved.site.http = format!("acme_dns_import nginx {};", tree.display());
    moved.tree = tree.clone();
    let before = snapshot(&tree);
    moved.site.start_nginx();
    moved.check_served("the first handshake");
    moved.site.nginx.wait_for_log("certificate \"rsa.example.test\" imported from", LIMIT);
    assert_eq!(moved.site.check_files(NAMES[0]), moved.ecdsa);
    assert_eq!(moved.site.check_files(RSA), moved.rsa);
    moved.site.nginx.quit();
    moved.site.http = String::new();
    moved.site.start_nginx();
    moved.check_served("after a restart without the directive");
    assert_eq!((moved.orders(), snapshot(&tree)), (0, before));
    moved.site.add_server("new.example.test", "on name=new");
    moved.site.reload();
    moved.site.nginx.wait_for_log("certificate \"new\" issued by", LIMIT);
    moved.site.nginx.wait_for_log(&format!("account found at {url}"), LIMIT);
    moved.check_log();
}

#[test]
fn a_second_type_of_key_is_taken_over_by_a_reload() {
    let mut moved = Move::from(Client::AcmeSh, "acme.sh");
    moved.site.start_nginx();
    moved.wait_until_kept();
    moved.client.obtain(&setup(&moved.site, &moved.tree), Key::Rsa, &NAMES);
    moved.site.proxy.traffic.clear_log();
    moved.site.set_servers(&[]);
    moved.site.add_server(&NAMES.join(" "), "on key=ecdsa:256,rsa:2048");
    moved.site.reload();
    let served = |signatures| {
        let client = moved.site.trusting(NAMES[0]).signatures(signatures);
        client.handshake().expect("a handshake").leaf
    };
    let rsa = served("RSA-PSS+SHA256:RSA+SHA256");
    assert_eq!((served("ECDSA+SHA256"), rsa.key.as_str()), (moved.ecdsa.clone(), "RSA"));
    moved.site.nginx.wait_for_log("certificate \"example.test-rsa\" imported from", LIMIT);
    assert_eq!(moved.site.check_files("example.test-rsa"), rsa);
    assert_eq!(moved.site.check_files(NAMES[0]), moved.ecdsa);
    assert_eq!((served("ECDSA+SHA256"), moved.orders()), (moved.ecdsa.clone(), 0));
    moved.check_log();
}

/// A line of the file of a key, and a number of it that OpenSSL works with.
fn secret(path: &Path) -> (String, Vec<u8>) {
    let pem = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let key = PKey::private_key_from_pem(&pem).expect("a key");
    let number = match key.ec_key() {
        Ok(key) => key.private_key().to_vec(),
        Err(_) => key.rsa().expect("an RSA key").p().expect("a prime").to_vec(),
    };
    let pem = String::from_utf8(pem).expect("text");
    (pem.lines().nth(2).expect("base64").to_owned(), number)
}

#[test]
fn no_worker_has_a_key_that_it_does_not_serve() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    let account = secret(&moved.tree.join("private/key.pem"));
    let other = secret(&moved.tree.join(moved.client.files(Key::Rsa, RSA).1));
    let served = secret(&moved.tree.join(moved.client.files(Key::Ecdsa, NAMES[0]).1));
    moved.site.set_servers(&[&NAMES.join(" ")]);
    moved.site.start_nginx();
    moved.site.nginx.wait_for_log("certificate \"example.test\" imported from", LIMIT);
    assert_eq!(moved.site.served(NAMES[0]), moved.ecdsa);
    let helper = moved.site.nginx.wait_for_helper();
    assert!(count_in_memory(helper, account.0.as_bytes()) > 0, "the scan finds nothing");
    for worker in moved.site.nginx.worker_pids() {
        assert!(count_in_memory(worker, &served.1) > 0, "the scan finds nothing");
        for (text, number) in [&account, &other] {
            assert_eq!(count_in_memory(worker, text.as_bytes()), 0);
            assert_eq!(count_in_memory(worker, number), 0);
        }
    }
}

#[test]
fn a_helper_that_dies_before_it_has_kept_anything_is_followed_by_one_that_does() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    let state = moved.site.state();
    let obstacle = state.join("journal");
    fs::create_dir(&state).expect("it can be made");
    fs::write(&obstacle, "a file").expect("it can be written");
    for path in [&state, &obstacle] {
        chown(path, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    }
    moved.site.start_nginx();
    moved.check_served("nothing is kept");
    moved.site.nginx.wait_for_log("next attempt in 30 s", LIMIT);
    fs::remove_file(&obstacle).expect("it can be removed");
    kill(moved.site.nginx.wait_for_helper(), Signal::KILL);
    moved.wait_until_kept();
    moved.check_served("after that");
    assert_eq!(moved.orders(), 0);
}

#[test]
fn what_the_disk_refuses_is_served_and_tried_again() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    let versions = moved.site.state().join("certs/.versions");
    fs::create_dir_all(&versions).expect("it can be made");
    let obstacle = versions.join(NAMES[0]);
    fs::write(&obstacle, "a file").expect("it can be written");
    for path in [&moved.site.state(), versions.parent().expect("certs"), &versions, &obstacle] {
        chown(path, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    }
    moved.site.start_nginx();
    let text = "is served but cannot be saved to disk, retried every 30 s: open()";
    let line = moved.site.nginx.wait_for_log(text, LIMIT);
    assert!(line.contains("[error]"), "{line}");
    moved.site.nginx.wait_for_log("certificate \"rsa.example.test\" imported from", LIMIT);
    moved.check_served("one is not kept");
    fs::remove_file(&obstacle).expect("it can be removed");
    let link = moved.site.state().join("certs").join(NAMES[0]);
    assert!(wait_until(LIMIT, || link.exists().then_some(())).is_some());
    assert_eq!(moved.site.check_files(NAMES[0]), moved.ecdsa);
    assert_eq!(moved.orders(), 0);
}

#[test]
fn what_cannot_be_used_is_ordered_as_usual() {
    let mut moved = Move::from(Client::Lego, "lego");
    let key = moved.tree.join(moved.client.files(Key::Ecdsa, NAMES[0]).1);
    let other = moved.tree.join(moved.client.files(Key::Rsa, RSA).1);
    fs::copy(&other, &key).expect("it can be copied");
    moved.site.set_servers(&[&NAMES.join(" ")]);
    moved.site.start_nginx();
    // At once: what a worker does may overwrite what it has inherited.
    let (text, number) = secret(&other);
    for worker in moved.site.nginx.worker_pids() {
        assert_eq!(count_in_memory(worker, text.as_bytes()), 0);
        assert_eq!(count_in_memory(worker, &number), 0, "it was not parsed");
    }
    let reason = format!("\"{}\" holds the key of another certificate", key.display());
    let line = moved.site.nginx.wait_for_log(&reason, LIMIT);
    assert!(line.contains("certificate \"example.test\" is not imported from"), "{line}");
    moved.site.nginx.wait_for_log("no certificate \"example.test\" yet", LIMIT);
    let new = moved.site.wait_for_other(NAMES[0], &moved.ecdsa.serial).leaf;
    assert_eq!(moved.orders(), 1);
    moved.site.wait_until_clean();
    assert_eq!(moved.site.check_files(NAMES[0]), new);
}

#[test]
fn it_works_in_a_single_process() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    moved.site.nginx.master_process(false);
    moved.site.start_nginx();
    moved.wait_until_kept();
    moved.check_served("by the process that has kept them");
    assert_eq!(moved.orders(), 0);
}

#[test]
fn what_the_master_may_not_read_is_ordered_as_usual() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    moved.site.run_as_nobody();
    moved.site.start_nginx();
    let text = format!("cannot be imported: open() \"{}\" failed (13:", moved.tree.display());
    let line = moved.site.nginx.wait_for_log(&text, LIMIT);
    assert!(line.contains("[warn]") && line.ends_with("Permission denied)"), "{line}");
    moved.site.wait_for_other(NAMES[0], &moved.ecdsa.serial);
    moved.site.wait_for_other(RSA, &moved.rsa.serial);
    assert_eq!(moved.orders(), 2);
}

#[test]
fn an_imported_certificate_is_replaced_when_it_is_not_enough_any_more() {
    let mut moved = Move::from(Client::Uacme, "uacme");
    moved.site.set_servers(&[NAMES[0]]);
    moved.site.add_server(RSA, "on key=ecdsa:384");
    moved.site.start_nginx();
    moved.wait_until_kept();
    moved.check_served("more names, and another type of key");
    // It would have been told before the import is.
    assert!(!moved.site.nginx.log().contains("a new one will be obtained"));
    assert_eq!(moved.orders(), 0);
    let mark = moved.site.nginx.log_mark();
    moved.site.set_servers(&["example.test more.www.example.test"]);
    moved.site.reload();
    moved.site.wait_for_certificate("more.www.example.test");
    let text = "certificate \"example.test\" holds other names than configured";
    moved.site.nginx.wait_for_log_from(mark, text, LIMIT);
}

#[test]
fn a_tree_that_is_gone_stops_nobody() {
    let mut site = Site::new();
    site.http = "acme_dns_import dehydrated /nowhere/at/all;".to_owned();
    site.set_servers(&["example.test"]);
    site.start_nginx();
    site.wait_for_certificate("example.test");
    let text = "\"/nowhere/at/all\" is not a directory, \"acme_dns_import\" can be removed";
    let (is_good, output) = site.nginx.test();
    assert!(is_good && output.contains(text) && output.contains("[warn]"), "{output}");
    let traefik = "acme_dns_import traefik /nowhere/acme.json;";
    site.nginx.http(format!("{}{traefik}", site.definitions()));
    let (is_good, output) = site.nginx.test();
    let text = "\"/nowhere/acme.json\" is not a file, \"acme_dns_import\" can be removed";
    assert!(is_good && output.contains(text), "{output}");
    assert!(site.lines("warn", 0).is_empty() && site.lines("error", 0).is_empty());
    for (directive, expected) in [
        (
            "acme_dns_import getssl /etc;",
            "invalid parameter \"getssl\", it must be one of acme.sh,",
        ),
        ("acme_dns_import lego \"\";", "invalid path \"\""),
        ("acme_dns_import lego;", "invalid number of arguments in \"acme_dns_import\" directive"),
    ] {
        site.nginx.http(format!("{}{directive}", site.definitions()));
        let (is_good, output) = site.nginx.test();
        assert!(!is_good && output.contains(expected), "{output}");
    }
}
