//! `acme_dns_domains ... watch`: lines come and go while nginx runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::clients::tls::TlsClient;
use testbed::measurements::proc;
use testbed::nginx::generations::{Generations, Variant, generation};

use crate::lone::{Lone, Served, ours, stands_in};
use crate::site::{LIMIT, NOBODY, SERVICE, Site};

/// Lets the service read a file.
fn open(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o644)).expect("a mode");
}

/// Replaces a file as a careful program does.
fn replace(file: &Path, lines: &[&str]) {
    let new = file.with_extension("new");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&new, text).expect("it can be written");
    open(&new);
    fs::rename(&new, file).expect("it can be renamed");
}

/// A site that serves the lines of a watched file, and the file.
fn site(lines: &[&str]) -> (Site, PathBuf) {
    let mut site = Site::new();
    site.http = "acme_dns_domains customers.txt watch;".to_owned();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let file = site.nginx.add_file("customers.txt", text);
    open(&file);
    site.add_server("_", "sni");
    site.start_nginx();
    (site, file)
}

/// The same without a CA.
fn lone_of(lines: &[&str]) -> (Lone, PathBuf) {
    let mut lone = Lone::new();
    let file = lone.nginx.add_file("domains.txt", lines.join("\n") + "\n");
    open(&file);
    lone.set(&format!(
        "{}acme_dns_domains domains.txt watch;
         server {{ listen LISTEN ssl; server_name _; acme_dns sni; }}",
        Lone::DEFINITIONS
    ));
    lone.nginx.log_level("notice").start();
    (lone, file)
}

fn orders(site: &Site) -> usize {
    site.proxy.traffic.count(&AcmeStep::NewOrder.requests())
}

#[test]
fn new_lines_are_ordered_and_served_and_survive_the_helper_and_a_reload() {
    let (mut site, file) = site(&[]);
    // Nothing was there at all, and the file may be written in place.
    fs::write(&file, "a.example.test\n").expect("it can be written");
    let first = site.wait_for_certificate("a.example.test").leaf;
    replace(&file, &["a.example.test", "b.example.test *.b.example.test > b"]);
    let added = site.wait_for_certificate("x.b.example.test").leaf;
    assert_eq!(added.sans, ["*.b.example.test", "b.example.test"]);
    assert_eq!(site.check_files("b"), added);
    assert_eq!(site.served("a.example.test"), first);
    assert_eq!(site.lines("error", 0), [""; 0]);
    // Another process begins with what the master knows, and learns the rest.
    let mark = site.nginx.log_mark();
    proc::kill(site.nginx.wait_for_helper(), Signal::KILL);
    site.nginx.wait_for_log_from(mark, "certificate \"b\" from", LIMIT);
    replace(&file, &["a.example.test", "b.example.test *.b.example.test > b", "c.example.test"]);
    site.wait_for_certificate("c.example.test");
    assert_eq!(site.served("b.example.test"), added);
    site.reload();
    assert_eq!(site.served("b.example.test"), added);
    assert_eq!(orders(&site), 3);
}

#[test]
fn a_line_that_goes_is_served_on_and_one_with_other_names_gets_a_new_certificate() {
    let (mut site, file) = site(&["a.example.test", "b.example.test"]);
    let first = site.wait_for_certificate("a.example.test").leaf;
    site.wait_for_certificate("b.example.test");
    let mark = site.nginx.log_mark();
    replace(&file, &["b.example.test www.b.example.test"]);
    for line in [
        "certificate \"a.example.test\" has lost its line and is not renewed any more",
        "certificate \"b.example.test\" has lost its line and is not renewed any more",
    ] {
        site.nginx.wait_for_log_from(mark, line, LIMIT);
    }
    let wider = site.wait_for_certificate("www.b.example.test").leaf;
    assert_eq!(wider.sans, ["b.example.test", "www.b.example.test"]);
    assert_eq!(site.served("b.example.test"), wider, "the newer comes first");
    assert_eq!(site.served("a.example.test"), first);
    replace(&file, &["b.example.test www.b.example.test", "a.example.test"]);
    site.nginx.wait_for_log_from(mark, "1 certificates have their lines", LIMIT);
    // The line's name is that of its certificate again.
    site.reload();
    site.nginx.wait_for_log_from(mark, "certificate \"b.example.test\" takes over", LIMIT);
    assert_eq!(site.served("www.b.example.test"), wider);
    assert_eq!(site.served("a.example.test"), first);
    assert_eq!(orders(&site), 3);
}

#[test]
fn what_may_be_a_mistake_changes_nothing_and_a_bad_line_is_left_out_alone() {
    let lines: Vec<String> = (0..30).map(|n| format!("n{n}.example.com")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (lone, file) = lone_of(&lines);
    let few = [&lines[..10], &["new.example.com"]].concat();
    for (text, line) in [
        ("", "has lost 30 of 30 lines at once"),
        (&few.join("\n"), "is read when its last line ends"),
        (&(few.join("\n") + "\n"), "has lost 20 of 30 lines at once"),
    ] {
        let mark = lone.nginx.log_mark();
        fs::write(&file, text).expect("it can be written");
        lone.nginx.wait_for_log_from(mark, line, LIMIT);
        assert_eq!(lone.served("n29.example.com"), ours(&["n29.example.com"]), "{line}");
        assert_eq!(lone.served("new.example.com"), ours(&[]), "{line}");
    }
    let mark = lone.nginx.log_mark();
    let bad = ["bad_.example.com", "n1.example.com > n2.example.com"];
    replace(&file, &[&lines[1..], &bad, &["new.example.com"]].concat());
    // Whether it is ordered at once depends on whether the provider is known to be out of reach by now.
    let new = ours(&["new.example.com"]);
    let is_found = || (lone.served("new.example.com") == new).then_some(());
    assert!(wait_until(LIMIT, is_found).is_some(), "{}", lone.nginx.log());
    let mistakes = ["domains.txt:30, the line is left out", "domains.txt:31, the line is left out"];
    for mistake in mistakes {
        lone.nginx.wait_for_log_from(mark, mistake, LIMIT);
    }
    // A start does not stand or fall with such a line.
    let (good, output) = lone.nginx.test();
    assert!(good, "{output}");
    for mistake in mistakes {
        assert!(output.contains(mistake), "{output}");
    }
}

#[test]
fn a_line_that_comes_back_while_no_service_runs_is_served_again() {
    let lines = ["a.example.com", "b.example.com"];
    let (lone, file) = lone_of(&lines);
    let is_served = |expected: Served| {
        let is_found = || (lone.served(lines[0]) == expected).then_some(());
        assert!(wait_until(LIMIT, is_found).is_some(), "{expected:?}: {}", lone.nginx.log());
    };
    is_served(ours(&lines[..1]));
    // Nothing was issued for it, so that its end is now.
    replace(&file, &lines[1..]);
    is_served(ours(&[]));
    let service = lone.nginx.wait_for_helper();
    proc::kill(service, Signal::STOP);
    replace(&file, &lines);
    proc::kill(service, Signal::KILL);
    is_served(ours(&lines[..1]));
    // The service that follows knows that the line can go.
    replace(&file, &lines[1..]);
    is_served(ours(&[]));
}

#[test]
fn the_service_has_to_read_the_file_and_workers_ought_not_to_write_it() {
    let mut lone = Lone::new();
    let file = lone.nginx.add_file("domains.txt", "a.test\n");
    lone.set(&format!("{}acme_dns_domains domains.txt watch;", Lone::DEFINITIONS));
    let set = |mode: u32, owner: u32| {
        chown(&file, Some(owner), Some(0)).expect("root may do that");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("a mode");
        lone.nginx.test()
    };
    let (good, output) = set(0o644, 0);
    assert!(good && !output.contains("[warn]"), "{output}");
    let (good, output) = set(0o600, 0);
    assert!(!good && output.contains("cannot read watched domains file"), "{output}");
    let (good, output) = set(0o644, NOBODY);
    let warning = "whoever can write to a watched domains file chooses the names of certificates";
    assert!(good && output.contains(warning), "{output}");
}

/// End of the clients, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Handshakes for all names while lines come, go and change places; `rounds` times.
fn change_under_load(rounds: usize) {
    let mut lone = Lone::new();
    let names: Vec<_> = (0..12).map(|n| format!("n{n}.example.com")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = lone.nginx.add_file("domains.txt", names[..6].join("\n") + "\n");
    open(&file);
    let state = lone.nginx.dir().join("acme_dns");
    fs::create_dir(&state).expect("it is new");
    chown(&state, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    let variant =
        |name: &String| Variant { directory: name.clone(), name: name.clone(), key: "ecdsa:256" };
    let generations =
        Generations::new(&state, Lone::DIRECTORY, names.iter().map(variant).collect());
    generations.write(1);
    lone.set(&format!(
        "{}acme_dns_domains domains.txt watch;
         server {{ listen LISTEN ssl reuseport; server_name _; acme_dns sni cache=3; return 200; }}",
        Lone::DEFINITIONS
    ));
    lone.nginx.workers(2).log_level("notice").start();
    let addr = lone.addr();
    let is_over = AtomicBool::new(false);
    let visit = |name: &str| {
        let peer = TlsClient::new(addr).sni(name).handshake();
        let peer = peer.unwrap_or_else(|e| panic!("{name}: {e}"));
        let is_right = stands_in(&peer) || peer.leaf.sans == [name];
        assert!(is_right, "{name} was given {:?}", peer.leaf);
        generation(&peer.leaf.der).is_some()
    };
    let wait_until_served = |name: &str| {
        let served = wait_until(LIMIT, || visit(name).then_some(()));
        assert!(served.is_some(), "{name} is not served");
    };
    thread::scope(|scope| {
        let clients: Vec<_> = all
            .chunks(4)
            .map(|part| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        part.iter().for_each(|name| _ = visit(name));
                    }
                })
            })
            .collect();
        let end = End(&is_over);
        for round in 0..rounds {
            let first = round % 3;
            // Others come, some go, and the order is another; at the end two have changed their aliases.
            let mut lines: Vec<&str> = all[first..first + 9].to_vec();
            lines.reverse();
            let swapped = [format!("{} > {}", all[0], all[1]), format!("{} > {}", all[1], all[0])];
            if round % 3 == 2 {
                lines.extend(swapped.iter().map(String::as_str));
            }
            replace(&file, &lines);
            all[first..first + 9].iter().for_each(|name| wait_until_served(name));
            if round % 4 == 1 {
                proc::kill(lone.nginx.wait_for_helper(), Signal::KILL);
            } else if round % 4 == 3 {
                lone.nginx.reload();
            }
        }
        drop(end);
        clients.into_iter().for_each(|client| client.join().expect("no wrong certificate"));
    });
}

#[test]
fn nobody_is_given_the_certificate_of_another_name_while_lines_change() {
    change_under_load(3);
}

#[test]
#[ignore = "long: make watched"]
fn nobody_is_given_the_certificate_of_another_name_for_long() {
    change_under_load(200);
}
