//! An edit of the configuration never costs a good certificate: it is served by whatever name, with the CA away,
//! after a reload and after a restart, and ordered anew only if it is not the one that is wanted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use servers::acme_proxy::AcmeStep;
use servers::bed::issuer;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use testbed::clients::tls::Leaf;

use crate::site::{LIMIT, Site};

/// A server that has no certificate ever: with its order, all that is due has been begun.
const SENTINEL: &str = "sentinel.example.test";

/// A server: its names, and the arguments of its `acme_dns`.
type Server = (&'static str, &'static str);

/// The servers whose certificates are there: one each for E, B, D, W and F.
const BASE: [Server; 5] = [
    ("example.test a.example.test", "on"),
    ("b.example.test", "on"),
    ("d.example.test", "on key=ecdsa:256,rsa:2048"),
    ("*.w.example.test", "on"),
    // The same first name as the first one.
    ("f.example.test", "example.test f.example.test"),
];

/// An edit.
struct Edit {
    what: &'static str,
    /// The servers, at each step.
    steps: Vec<Vec<Server>>,
    /// A domains file.
    domains: &'static str,
    /// Names, and which of the certificates is served for each.
    serves: &'static [(&'static str, char)],
    /// The names of the certificates that are ordered.
    orders: &'static [&'static str],
}

/// An edit in one step of the first server, in front of the others.
fn first(
    what: &'static str,
    servers: &[Server],
    serves: &'static [(&'static str, char)],
    orders: &'static [&'static str],
) -> Edit {
    let servers = [servers, &BASE[1..]].concat();
    Edit { what, steps: vec![servers], domains: "", serves, orders }
}

const BOTH: &[(&str, char)] = &[("example.test", 'E'), ("a.example.test", 'E')];

fn names() -> Vec<Edit> {
    let reversed = ("a.example.test example.test", "on");
    vec![
        first("another order", &[reversed], BOTH, &[]),
        first(
            "a name in front",
            &[("www.example.test example.test a.example.test", "on")],
            &[("example.test", 'E'), ("a.example.test", 'E'), ("www.example.test", 'E')],
            &["a.example.test example.test www.example.test"],
        ),
        first("the first name removed", &[("a.example.test", "on")], &BOTH[1..], &[]),
        first("the last name removed", &[("example.test", "on")], &BOTH[..1], &[]),
        first(
            "another server with the same first name in front",
            &[("example.test new.example.test", "on"), BASE[0]],
            &[("example.test", 'E'), ("a.example.test", 'E'), ("new.example.test", 'E')],
            &["example.test new.example.test"],
        ),
        first("a name for the certificate", &[(BASE[0].0, "on name=web")], BOTH, &[]),
        first("names in the directive", &[(BASE[0].0, "a.example.test example.test")], BOTH, &[]),
        Edit {
            domains: "a.example.test example.test > web",
            ..first("a line with an alias", &[BASE[0]], BOTH, &[])
        },
        first("split", &[("example.test", "on"), ("a.example.test", "on")], BOTH, &[]),
    ]
}

fn certificates() -> Vec<Edit> {
    let reversed = "a.example.test example.test";
    let merged = &[("example.test", 'E'), ("a.example.test", 'E'), ("b.example.test", 'B')];
    let one = |what, servers: Vec<Server>, serves, orders| Edit {
        what,
        steps: vec![servers],
        domains: "",
        serves,
        orders,
    };
    let mut all = vec![
        one(
            "merged",
            [&[("example.test a.example.test b.example.test", "on")], &BASE[2..]].concat(),
            merged,
            &["a.example.test b.example.test example.test"],
        ),
        one(
            "merged under a wildcard",
            [&[("example.test *.example.test", "on")], &BASE[2..4]].concat(),
            merged,
            &["*.example.test example.test"],
        ),
        one(
            "below a wildcard",
            vec![("x.w.example.test", "on")],
            &[("x.w.example.test", 'W')],
            &[],
        ),
        one(
            "two that change places",
            vec![BASE[4], BASE[1], BASE[0]],
            &[("example.test", 'E'), ("a.example.test", 'E'), ("f.example.test", 'F')],
            &[],
        ),
        Edit {
            steps: vec![
                vec![(BASE[0].0, "on name=x"), (BASE[1].0, "on name=y")],
                vec![(BASE[0].0, "on name=y"), (BASE[1].0, "on name=x")],
            ],
            ..one("two names that change places", vec![], merged, &[])
        },
        first(
            "another type of key",
            &[(reversed, "on key=rsa:2048")],
            BOTH,
            &["a.example.test example.test"],
        ),
        first(
            "one type of key more",
            &[(reversed, "on key=rsa:2048,ecdsa:256")],
            BOTH,
            &["a.example.test example.test"],
        ),
        one(
            "types of keys in another order",
            vec![("d.example.test", "on key=rsa:2048,ecdsa:256")],
            &[("d.example.test", 'D')],
            &[],
        ),
        first(
            "another issuer",
            &[(reversed, "on issuer=second")],
            BOTH,
            &["a.example.test example.test"],
        ),
        Edit {
            steps: vec![BASE[1..].to_vec(), [&[(reversed, "on")], &BASE[1..]].concat()],
            ..one("away for a while", vec![], BOTH, &[])
        },
        Edit {
            steps: vec![
                vec![("www.example.test example.test b.example.test", "on")],
                vec![BASE[0]],
            ],
            ..one("there and back", vec![], BOTH, &[])
        },
    ];
    all.push(first(
        "split and merged",
        &[("a.example.test b.example.test", "on"), ("example.test", "on")],
        merged,
        &["a.example.test b.example.test"],
    ));
    all
}

/// A site with the certificates, and a copy of its state path.
struct Bench {
    site: Site,
    /// The certificates, by their letters.
    good: Vec<(char, Leaf)>,
}

impl Bench {
    fn start() -> Self {
        let mut site = Site::new();
        set(&mut site, &BASE, "", false);
        site.start_nginx();
        // Whichever comes first is served to all until the other one is there.
        for name in ["d.example.test", "d.example.test-rsa"] {
            site.nginx.wait_for_log(&format!("certificate \"{name}\" issued"), LIMIT);
        }
        let mut good = Vec::new();
        for (letter, name) in [
            ('E', "a.example.test"),
            ('B', "b.example.test"),
            ('D', "d.example.test"),
            ('W', "x.w.example.test"),
            ('F', "f.example.test"),
        ] {
            good.push((letter, site.wait_for_certificate(name).leaf));
        }
        site.wait_until_clean();
        site.nginx.quit();
        copy(&site.state(), &saved(&site));
        // It answers, but takes no order.
        let action = Action::Status { status: 503, retry_after: None };
        site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), action).always());
        Self { site, good }
    }

    fn restore(&mut self) {
        let site = &mut self.site;
        std::fs::remove_dir_all(site.state()).expect("it is removed");
        copy(&saved(site), &site.state());
        site.proxy.traffic.clear_log();
    }

    fn check_served(&self, edit: &Edit, when: &str) {
        for (name, letter) in edit.serves {
            let leaf = self.site.served(name);
            let found = self.good.iter().find(|(_, good)| good.serial == leaf.serial);
            let found = found.map(|(letter, _)| *letter);
            assert_eq!(found, Some(*letter), "{}, {when}: {name} {:?}", edit.what, leaf.subject);
        }
    }

    /// Waits until all that is due has been begun.
    fn check_orders(&self, edit: &Edit, when: &str, former: &BTreeSet<String>) {
        let wanted: BTreeSet<String> =
            edit.orders.iter().copied().chain([SENTINEL]).map(str::to_owned).collect();
        let all = wait_until(LIMIT, || self.ordered().is_superset(&wanted).then_some(()));
        let log = self.site.nginx.log();
        assert!(all.is_some(), "{}, {when}: {:?}\n{log}", edit.what, self.ordered());
        self.check_served(edit, when);
        let ordered: BTreeSet<String> = &(&self.ordered() - former) | &wanted;
        assert_eq!(ordered, wanted, "{}, {when}:\n{log}", edit.what);
    }

    /// The names of the certificates for which orders were tried.
    fn ordered(&self) -> BTreeSet<String> {
        let requests = self.site.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
        let names = requests.iter().map(|request| {
            let payload = request.jws_payload();
            let identifiers = payload["identifiers"].as_array().cloned().unwrap_or_default();
            let names = identifiers.iter().filter_map(|identifier| identifier["value"].as_str());
            names.map(str::to_owned).collect::<BTreeSet<_>>()
        });
        names.map(|names| Vec::from_iter(names).join(" ")).collect()
    }

    fn check(&mut self, edit: &Edit, by_restart: bool) {
        // By a restart, and no reload before.
        let last = edit.steps.last().expect("there is one");
        if edit.steps.len() == 1 && by_restart {
            self.restore();
            set(&mut self.site, last, edit.domains, true);
            self.site.start_nginx();
            self.check_served(edit, "after a restart");
            self.site.nginx.quit();
        }
        // By reloads, and a restart then.
        self.restore();
        set(&mut self.site, &BASE, "", false);
        self.site.start_nginx();
        let (before, steps) = edit.steps.split_at(edit.steps.len() - 1);
        // What was wanted in between may be tried for a moment longer.
        let former: BTreeSet<String> = before
            .iter()
            .flat_map(|servers| servers.iter())
            .map(|(names, _)| sorted(names))
            .collect();
        for (step, servers) in before.iter().enumerate() {
            self.site.proxy.traffic.clear_log();
            set(&mut self.site, servers, "", true);
            self.site.reload();
            let begun = wait_until(LIMIT, || self.ordered().contains(SENTINEL).then_some(()));
            assert!(begun.is_some(), "{}: step {step}", edit.what);
        }
        self.site.proxy.traffic.clear_log();
        for servers in steps {
            set(&mut self.site, servers, edit.domains, true);
            self.site.reload();
        }
        self.check_served(edit, "after a reload");
        self.check_orders(edit, "after a reload", &former);
        self.site.nginx.quit();
        self.site.start_nginx();
        self.check_served(edit, "after a reload and a restart");
        self.site.nginx.quit();
    }
}

fn set(site: &mut Site, servers: &[Server], domains: &str, has_sentinel: bool) {
    site.set_servers(&[]);
    for (names, acme_dns) in servers {
        let issuer = if acme_dns.contains("issuer=") { "" } else { "issuer=pebble" };
        site.add_server(names, &format!("{acme_dns} {issuer}"));
    }
    if has_sentinel {
        site.add_server(SENTINEL, "on name=sentinel issuer=pebble");
    }
    let second = format!("{}?second", site.proxy.directory_url());
    site.http = issuer("second", &second, site.proxy.ca_file(), "");
    if !domains.is_empty() {
        site.nginx.add_file("domains.txt", domains);
        site.http.push_str("acme_dns_domains domains.txt issuer=pebble;\n");
    }
}

/// The names of a server in the order of those of an order.
fn sorted(names: &str) -> String {
    BTreeSet::from_iter(names.split(' ')).into_iter().collect::<Vec<_>>().join(" ")
}

fn saved(site: &Site) -> std::path::PathBuf {
    site.nginx.dir().join("saved")
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()), "cp works");
}

fn check(edits: &[Edit]) {
    let mut bench = Bench::start();
    for (row, edit) in edits.iter().enumerate() {
        bench.check(edit, row % 2 == 0);
    }
    assert_eq!(bench.site.lines("error", 0), [""; 0]);
}

#[test]
fn an_edit_of_names_costs_no_certificate() {
    check(&names());
}

#[test]
fn an_edit_of_certificates_costs_none() {
    check(&certificates());
}
