//! Watched domains files: what a change of the file is, and what is added to a configuration.

use super::provider::read_provider;
use super::{ACCEPT, names, read_issuer};
use crate::config::binding::{Request, Wanted};
use crate::config::domains::{parameters, parse};
use crate::config::draft::Draft;
use crate::config::watched::{
    Addition, FoundLines, LineChanges, LinesLost, PlacedLine, WatchedLines,
};
use crate::config::{Config, Location};
use crate::id::CertificateId;
use std::path::PathBuf;

/// A configuration with this text as a watched file, and a server with these names.
fn config(text: &str, server: &[&str]) -> (Config, Vec<String>) {
    let mut draft = Draft::default();
    let ca = read_issuer("ca", &[&["directory", "https://ca.test/"], ACCEPT]);
    draft.add_issuer(ca.unwrap()).unwrap();
    let cf = read_provider("cf", Some("cloudflare"), &[&["token_file", "t"]]);
    draft.add_provider(cf.unwrap()).unwrap();
    let wanted = parameters(&["watch", "key=ecdsa:256,rsa:2048"]).unwrap().wanted;
    let number = draft.watch_domains(PathBuf::from("d"), wanted);
    draft.add_watched(number, "d", text.as_bytes(), Location::default());
    if !server.is_empty() {
        let Ok(Request::On(wanted)) = Request::parse(&["on"]) else { panic!("not read") };
        draft.bind(wanted, names(server), Location::default(), Location::default()).unwrap();
    }
    let finished = draft.finish(PathBuf::from("/")).unwrap();
    let left_out = finished.left_out.iter().map(ToString::to_string).collect();
    let mut config = finished.config;
    config.make_room();
    (config, left_out)
}

fn compare(lines: &WatchedLines, text: &str) -> Result<LineChanges, LinesLost> {
    let mut found = FoundLines::default();
    for line in parse(text.as_bytes()).unwrap() {
        match lines.find(0, &line) {
            Some(known) => found.known.push(known),
            None => found.new.push(PlacedLine { file: 0, line }),
        }
    }
    lines.compare(0, found)
}

/// Adds the lines that are new in a text; gives the mistakes.
fn add(config: &Config, lines: &mut WatchedLines, text: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    for PlacedLine { line, .. } in compare(lines, text).unwrap().added {
        match config.addition(lines, 0, line) {
            Ok(addition) => {
                let addition = Addition::decode(&addition.encode()).unwrap();
                let id = config.certificates.next_id();
                assert!(config.add(id, &addition));
                lines.add(config, id, &config.certificates[id]);
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    mistakes
}

fn variants(config: &Config) -> Vec<&str> {
    config.variants.values().map(|variant| variant.name.as_str()).collect()
}

#[test]
fn a_line_that_is_left_out_leaves_no_variant_behind() {
    // The second type of key would have the name of another certificate.
    let (config, left_out) = config("x.test > a.test-rsa\na.test\nb.test\n", &[]);
    assert_eq!(left_out, ["certificate \"a.test-rsa\" is defined with different settings in d:2"]);
    assert_eq!(variants(&config), ["a.test-rsa", "a.test-rsa-rsa", "b.test", "b.test-rsa"]);
    for variant in config.variants.ids() {
        let (_, certificate) = config.variant(variant).unwrap();
        assert!(certificate.variants.clone().any(|own| own == variant));
    }
    assert_eq!(WatchedLines::of(&config).holder("a.test"), None);
}

#[test]
fn a_line_means_the_same_wherever_it_stands_and_however_it_is_written() {
    let (config, left_out) = config("a.test\nb_.test\nc.test www.c.test > c\n", &[]);
    assert_eq!(
        left_out,
        ["\"b_.test\" cannot be certified: it has a label that is empty, longer \
                          than 63 characters or not made of letters, digits and inner hyphens in d:2"]
    );
    let lines = WatchedLines::of(&config);
    let same = "# more\n\nwww.C.test c.test > C\n  a.test\n";
    assert_eq!(compare(&lines, same), Ok(LineChanges::default()));
}

#[test]
fn what_is_added_is_a_certificate_like_those_of_the_start() {
    let (config, _) = config("a.test\n", &["a.test"]);
    let mut lines = WatchedLines::of(&config);
    let text = "a.test\n*.b.test > b\nc.test > a.test\nd.test > b-rsa\n";
    // In the order of the file: what was added before counts.
    let mistakes = add(&config, &mut lines, text);
    assert_eq!(
        mistakes,
        [
            "certificate \"a.test\" is defined with different settings",
            "certificate \"b-rsa\" is defined with different settings",
        ]
    );
    assert_eq!(variants(&config), ["a.test", "a.test-rsa", "b", "b-rsa"]);
    let (variant, certificate) = config.variant(config.variants.ids().last().unwrap()).unwrap();
    assert_eq!((certificate.name.as_str(), variant.key.algorithm()), ("b", "rsa"));
    assert_eq!(certificate.issuers, config.certificates[CertificateId::new(0)].issuers);
}

#[test]
fn a_line_that_has_other_names_now_is_another_certificate_until_the_next_reload() {
    let (config, _) = config("a.test\nb.test\n", &[]);
    let mut lines = WatchedLines::of(&config);
    let text = "a.test www.a.test\nb.test\n";
    let changes = compare(&lines, text).unwrap();
    let old = CertificateId::new(0);
    assert_eq!((changes.withdrawn, changes.added.len()), (vec![old], 1));
    lines.withdraw(old);
    assert_eq!(add(&config, &mut lines, text), [""; 0]);
    let new = CertificateId::new(2);
    assert!(config.certificates[new].name.starts_with("a.test-"), "{config:?}");
    // There and back.
    let changes = compare(&lines, "a.test\nb.test\n").unwrap();
    assert_eq!((changes.withdrawn, changes.restored), (vec![new], vec![old]));
    assert_eq!(changes.added, []);
}

#[test]
fn a_certificate_that_a_server_uses_stays() {
    let (config, _) = config("a.test *.a.test\nb.test\n", &["www.a.test"]);
    let lines = WatchedLines::of(&config);
    let changes = compare(&lines, "b.test\n").unwrap();
    assert_eq!((changes.used, changes.withdrawn), (vec![CertificateId::new(0)], vec![]));
}

#[test]
fn half_of_the_lines_do_not_go_at_once() {
    let all: Vec<String> = (0..40).map(|n| format!("n{n}.test\n")).collect();
    let (config, _) = config(&all.concat(), &[]);
    let lines = WatchedLines::of(&config);
    let lost = |gone| Err(LinesLost { before: 40, gone });
    assert_eq!(compare(&lines, ""), lost(40));
    assert_eq!(compare(&lines, &all[..20].concat()), lost(20));
    assert_eq!(compare(&lines, &format!("new.test\n{}", all[21..].concat())), lost(21));
    assert_eq!(compare(&lines, &all[..21].concat()).unwrap().withdrawn.len(), 19);
    // A few lines may change altogether.
    let (config, _) = self::config(&all[..10].concat(), &[]);
    let changes = compare(&WatchedLines::of(&config), "new.test\n").unwrap();
    assert_eq!((changes.withdrawn.len(), changes.added.len()), (10, 1));
}

#[test]
fn there_is_room_for_a_quarter_more() {
    for (count, room) in [(0, 1000), (4001, 1000), (8000, 2000)] {
        let lines: String = (0..count).map(|n| format!("n{n}.test\n")).collect();
        let (config, _) = config(&lines, &[]);
        assert_eq!(config.certificates.capacity() - config.certificates.len(), room, "{count}");
    }
    let without = Config::with_state_path("/");
    assert_eq!(without.certificates.capacity(), 0);
    let wanted = Wanted::default();
    assert!(!without.add(
        CertificateId::new(0),
        &Addition {
            name: "a.test".to_owned(),
            directive: 0,
            line_name: wanted.name,
            names: names(&["a.test"]),
        }
    ));
}
