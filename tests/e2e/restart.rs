//! Restarts: certificates on disk are served from the first handshake on, and those that cannot be used are
//! replaced.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::{Duration, SystemTime};

use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::clients::tls::{LoadClient, TlsClient};
use testbed::nginx::generations::{Generations, Variant, generation};

use crate::lone::Lone;
use crate::site::{CROWD, LIMIT, SERVICE, Site};
use crate::support::LONG;

const NAME: &str = "example.test";

#[test]
fn restart_without_network_serves_what_is_on_disk() {
    let mut site = Site::start(&["example.test *.example.test"]);
    let first = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    site.nginx.quit();
    let client = site.trusting("example.test");
    site.bed.pebble.stop();
    site.bed.dns.stop();
    site.bed.cloudflare.stop();
    site.proxy.stop();

    // Knocks before nginx is there, so that the very first handshake is among them.
    let load = LoadClient::start(&client, 2, Duration::from_millis(1));
    load.wait(LONG, |report| !report.failed.is_empty());
    let mark = site.nginx.log_mark();
    site.nginx.workers(2).start();
    load.wait(LONG, |report| report.made >= 100);
    let report = load.stop();
    let refused = report.failed.iter().all(|(_, error)| error.contains("cannot connect"));
    assert!(refused, "a handshake has failed: {:?}", report.failed.last());
    let serials: Vec<&str> = report.serials.iter().map(|seen| seen.serial.as_str()).collect();
    assert_eq!(serials, [first.serial.as_str()]);
    for level in ["warn", "error"] {
        assert_eq!(site.lines(level, mark), [""; 0], "nothing is to be done");
    }
}

#[test]
fn many_certificates_start_from_a_pack_whose_files_stay_the_truth() {
    let mut lone = Lone::new();
    let names: Vec<String> = (0..1_000).map(|number| format!("n{number}.example.com")).collect();
    lone.nginx.add_file("domains.txt", names.join("\n") + "\n");
    let state = lone.nginx.dir().join("acme_dns");
    fs::create_dir(&state).expect("it is new");
    chown(&state, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    let variant =
        |name: &String| Variant { directory: name.clone(), name: name.clone(), key: "ecdsa:256" };
    let generations =
        Generations::new(&state, Lone::DIRECTORY, names.iter().map(variant).collect());
    generations.write(1);
    lone.set(&format!(
        "{}acme_dns_domains domains.txt;
         server {{ listen LISTEN ssl; server_name _; acme_dns sni; return 200; }}",
        Lone::DEFINITIONS
    ));
    let served = |lone: &Lone, number: usize| {
        let peer =
            TlsClient::new(lone.addr()).sni(&names[number]).handshake().expect("a certificate");
        (peer.leaf.sans == [names[number].as_str()]).then(|| generation(&peer.leaf.der)).flatten()
    };
    lone.nginx.log_level("notice").start();
    let pack = state.join("packs/certificates");
    let is_packed = wait_until(LONG, || pack.exists().then_some(()));
    assert!(is_packed.is_some(), "{}", lone.nginx.log());
    lone.nginx.quit();
    // One is replaced; of another there is nothing but what the pack has: its file is there, and unchanged.
    generations.write_only(2, &[&names[7]]);
    fs::write(state.join("certs").join(&names[8]).join("privkey.pem"), "").expect("it is there");
    lone.nginx.start();
    for (number, expected) in [(0, 1), (7, 2), (8, 1), (999, 1)] {
        assert_eq!(served(&lone, number), Some(expected), "{number}");
    }
    lone.nginx.quit();
    let whole = fs::read(&pack).expect("it stays");
    fs::write(&pack, &whole[..whole.len() / 2]).expect("it can be written");
    let damaged = fs::metadata(&pack).and_then(|pack| pack.modified()).ok();
    let mark = lone.nginx.log_mark();
    lone.nginx.start();
    assert!(
        lone.nginx.log_from(mark).contains("packs/certificates\" cannot be used: it is not whole")
    );
    for number in [0, 999] {
        assert_eq!(served(&lone, number), Some(1), "{number}");
    }
    let time = || fs::metadata(&pack).and_then(|pack| pack.modified()).ok();
    let wait_for_pack = |lone: &Lone, before: Option<SystemTime>| {
        let written = wait_until(LONG, || time().filter(|time| Some(*time) != before));
        written.unwrap_or_else(|| panic!("no pack is written: {}", lone.nginx.log()))
    };
    let before = wait_for_pack(&lone, damaged);
    lone.nginx.quit();
    // A restored backup: the files are as old as they were, and others.
    let [certs, kept] = ["certs", "kept"].map(|name| state.join(name));
    fs::rename(&certs, &kept).expect("it can be moved");
    let copied = Command::new("cp").arg("-a").args([&kept, &certs]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    fs::remove_dir_all(&kept).expect("it can be removed");
    lone.nginx.start();
    assert_eq!(served(&lone, 0), Some(1));
    wait_for_pack(&lone, Some(before));
}

#[test]
fn restart_after_a_crash_serves_what_is_on_disk() {
    let mut site = Site::start(&["example.test *.example.test"]);
    let first = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    site.nginx.stop_hard();
    let client = site.trusting("example.test");
    site.proxy.stop();
    site.nginx.start();
    assert_eq!(client.handshake().expect("it is trusted").leaf, first);
}

#[test]
fn certificate_of_another_authority_than_configured_is_served_until_it_is_replaced() {
    let mut site = Site::start(&["example.test"]);
    let first = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    // The same authority at another address: its directory has another URL.
    site.proxy = site.bed.acme_proxy();
    let placing = site.proxy.traffic.hold(AcmeStep::NewOrder.requests());
    site.reload();
    placing.wait(LIMIT);
    assert_eq!(site.served("example.test"), first, "until the new one is there");
    placing.release();
    site.wait_for_other("example.test", &first.serial);
    site.nginx
        .wait_for_log("certificate \"example.test\" is from another CA than configured", LIMIT);
    assert_eq!(site.entries("accounts"), ["pebble", "pebble~1"], "the other account is kept");
}

#[test]
fn certificate_of_another_profile_than_configured_is_replaced() {
    let mut site = Site::new();
    site.issuer = "profile default;".to_owned();
    site.set_servers(&["example.test"]);
    site.start_nginx();
    let first = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    site.issuer = "profile shortlived;".to_owned();
    site.reload();
    let second = site.wait_for_other("example.test", &first.serial).leaf;
    assert!(second.not_after - second.not_before <= 6 * 86_400, "{second:?}");
    let text = "certificate \"example.test\" has another profile than configured";
    site.nginx.wait_for_log(text, LIMIT);
    // It is the one that is wanted now.
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    assert_eq!(site.served("example.test"), second);
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 2);
}

#[test]
fn files_that_cannot_be_used_are_named_and_replaced() {
    damage_files(0);
}

#[test]
fn files_of_one_among_many_servers_that_cannot_be_used_are_named_and_replaced() {
    damage_files(CROWD);
}

fn damage_files(crowd: usize) {
    // What is done to the files of a certificate, and what the log says of it.
    type Damage = fn(&Site, &str);
    let rows: [(&str, Damage, &str); 6] = [
        ("garbage", |site, name| write(site, name, "fullchain.pem", b"garbage"), "in PEM"),
        ("empty", |site, name| write(site, name, "fullchain.pem", b""), "no certificate in PEM"),
        (
            "truncated",
            |site, name| {
                let whole = read(site, name, "fullchain.pem");
                write(site, name, "fullchain.pem", &whole[..whole.len() / 4]);
            },
            "PEM",
        ),
        ("no-key", |site, name| write(site, name, "privkey.pem", b"\n"), "private key"),
        (
            "mismatch",
            |site, name| {
                let key = read(site, "good.example.test", "privkey.pem");
                write(site, name, "privkey.pem", &key);
            },
            "is not that of the certificate",
        ),
        (
            "missing",
            |site, name| {
                let file = site.state().join("certs").join(name).join("privkey.pem");
                fs::remove_file(file).expect("it is removed");
            },
            "privkey.pem\" failed (2: No such file or directory)",
        ),
    ];
    let names: Vec<String> = rows.iter().map(|(row, ..)| format!("{row}.example.test")).collect();
    let servers: Vec<&str> =
        names.iter().map(String::as_str).chain(["good.example.test"]).collect();
    let mut site = Site::new();
    site.crowd = crowd;
    site.set_servers(&servers);
    site.start_nginx();
    let old: Vec<_> = servers.iter().map(|name| site.wait_for_certificate(name).leaf).collect();
    site.wait_until_clean();
    site.nginx.quit();
    for (row, damage, _) in &rows {
        damage(&site, &format!("{row}.example.test"));
    }

    let orders = site.proxy.traffic.hold(AcmeStep::NewOrder.requests());
    let mark = site.nginx.log_mark();
    site.nginx.start();
    for ((row, _, reason), name) in rows.iter().zip(&names) {
        let text =
            format!("certificate \"{name}\" on disk cannot be used, a new one will be obtained");
        let line = site.nginx.wait_for_log_from(mark, &text, LIMIT);
        assert!(line.contains("[error]"), "{row}: {line}");
        let lines = site.lines("error", mark);
        let found = lines.iter().any(|line| line.contains(&text) && line.contains(reason));
        assert!(found, "{row}: {lines:#?}");
        assert!(site.serves_fallback(name), "{row}");
    }
    let good = site.trusting("good.example.test").handshake().expect("it is not concerned").leaf;
    assert_eq!(Some(&good), old.last());
    orders.release();
    for (name, old) in names.iter().zip(&old) {
        let new = site.wait_for_other(name, &old.serial).leaf;
        assert_eq!(site.check_files(name), new, "{name}");
    }
    site.wait_until_clean();
}

fn read(site: &Site, name: &str, file: &str) -> Vec<u8> {
    fs::read(site.state().join("certs").join(name).join(file)).expect("the file is readable")
}

/// The file keeps its owner and its mode.
fn write(site: &Site, name: &str, file: &str, content: &[u8]) {
    let path = site.state().join("certs").join(name).join(file);
    fs::write(path, content).expect("the file is written");
}

#[test]
fn old_certificate_is_served_until_the_one_with_new_names_is_there() {
    let mut site = Site::start(&["example.test *.example.test"]);
    let old = site.wait_for_certificate("example.test").leaf;
    site.wait_until_clean();
    let orders = site.proxy.traffic.hold(AcmeStep::NewOrder.requests());
    let mark = site.nginx.log_mark();
    site.set_servers(&["example.test *.example.test more.www.example.test"]);
    site.reload();
    orders.wait(LIMIT);
    assert_eq!(site.served("example.test"), old);
    assert_eq!(site.served("more.www.example.test"), old, "better than none");
    let text = "certificate \"example.test\" holds other names than configured";
    let line = site.nginx.wait_for_log_from(mark, text, LIMIT);
    assert!(line.contains("[notice]"), "{line}");
    orders.release();
    let new = site.wait_for_certificate("more.www.example.test").leaf;
    assert_eq!(new.sans, ["*.example.test", "example.test", "more.www.example.test"]);
    assert_eq!(site.check_files("example.test"), new);
    site.wait_until_clean();
}

#[test]
fn a_state_path_that_is_removed_is_written_back_at_the_next_reload() {
    let mut site = Site::new();
    site.add_server(NAME, "on key=ecdsa:256,rsa:2048");
    site.start_nginx();
    // Whichever comes first is served to all until the other one is there.
    for name in [NAME, "example.test-rsa"] {
        site.nginx.wait_for_log(&format!("certificate \"{name}\" issued"), LIMIT);
    }
    site.wait_until_clean();
    let served = site.served(NAME);
    // Only the master can make it anew: the directory above is root's. The account is known to the service
    // alone.
    let count = |step: AcmeStep| site.proxy.traffic.count(&step.requests());
    let account = site.state().join("accounts/pebble/account.json");
    let url = fs::read_to_string(&account).expect("there is an account");
    site.nginx.wait_for_helper();
    fs::remove_dir_all(site.state()).expect("it is there");
    let line = site.nginx.wait_for_log("is gone: its certificates are served from memory", LIMIT);
    assert!(line.contains("[error]"), "{line}");
    assert_eq!((count(AcmeStep::NewOrder), count(AcmeStep::NewAccount)), (2, 1));
    site.reload();
    let is_back = || {
        let names = [NAME, "example.test-rsa"].map(|name| site.state().join("certs").join(name));
        (names.iter().all(|name| name.exists()) && account.exists()).then_some(())
    };
    assert!(wait_until(LIMIT, is_back).is_some(), "{}", site.nginx.log());
    assert_eq!(site.served(NAME), served);
    assert_eq!(site.check_files(NAME), served);
    assert_eq!(fs::read_to_string(&account).expect("it is back"), url);
    // And it is the account that orders: both types of key.
    fs::write(site.state().join("actions").join(format!("renew-{NAME}")), "").expect("a file");
    site.reload();
    site.wait_for_other(NAME, &served.serial);
    let count = |step: AcmeStep| site.proxy.traffic.count(&step.requests());
    assert!(wait_until(LIMIT, || (count(AcmeStep::NewOrder) == 4).then_some(())).is_some());
    assert_eq!(count(AcmeStep::NewAccount), 1);
}

#[test]
fn a_certificate_that_was_put_there_by_hand_is_served_after_a_reload() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    // From now on the master knows what it has read.
    site.nginx.quit();
    site.nginx.start();
    let mine = Variant { directory: NAME.into(), name: NAME.into(), key: "ecdsa:256" };
    let made = Generations::new(&site.state(), &site.proxy.directory_url(), vec![mine]);
    made.write(2);
    site.reload();
    let root = made.root_pem();
    let client = site.client(NAME).roots(&root);
    let served = wait_until(LIMIT, || client.handshake().ok());
    assert!(served.is_some(), "{}", site.nginx.log());
    // A reload that finds nothing new leaves it there, and so does a restart.
    site.reload();
    assert!(client.handshake().is_ok());
    site.nginx.quit();
    site.nginx.start();
    assert!(client.handshake().is_ok());
}
