//! The quick starts of the documents, typed as they stand, on an engine that has nothing of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use servers::ZONE;
use servers::paths::workspace_dir;
use servers::process::{run, wait_until};
use testbed::nginx::docker::{Container, docker, profiles};

use crate::stage::{LIMIT, Stage};

/// Objects that a quick start makes. Nothing of somebody else is touched: it is an error if one is there.
const MADE: [[&str; 3]; 4] = [
    ["container", "rm", "web"],
    ["container", "rm", "app"],
    ["network", "rm", "web"],
    ["volume", "rm", "acme_dns"],
];

/// Guard that removes what was made when it is dropped.
struct Made;

impl Made {
    fn nothing_yet() -> Self {
        for [kind, _, name] in MADE {
            let found = docker(&[kind, "inspect", name]);
            assert!(found.is_err(), "there is a {kind} \"{name}\" already");
        }
        Self
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for [kind, remove, name] in MADE {
            let force: &[&str] = if kind == "network" { &[] } else { &["--force"] };
            let _ = docker(&[&[kind, remove], force, &[name]].concat());
        }
    }
}

/// The commands of a section: its indented lines.
fn commands(document: &str, section: &str) -> String {
    let text = fs::read_to_string(workspace_dir().join(document)).expect("the document");
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = rest.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Returns what cannot be had here, and what is there instead: the internet, a zone and a token at Cloudflare,
/// and ports that
/// somebody else may have.
fn replacements(stage: &Stage) -> [(&'static str, String); 6] {
    let typed = ["ACME_DNS_EMAIL", "ACME_DNS_ACCEPT_TERMS", "CLOUDFLARE_API_TOKEN_FILE"];
    let variables = stage.variables().into_iter().filter(|(name, _)| !typed.contains(name));
    let [ca, _, api_ca] = stage.mounts();
    let servers = variables
        .map(|(name, value)| format!(" -e {name}='{value}'"))
        .chain([ca, api_ca].map(|(host, inside)| format!(" -v {host}:{inside}:ro")))
        .collect();
    [
        // With what another test has built: the same image is not made twice.
        ("docker build ", format!("docker build --network host {} ", profiles().join(" "))),
        ("you@example.com", format!("admin@{ZONE}")),
        ("\"example.com *.example.com\"", format!("\"{ZONE} *.{ZONE}\"")),
        ("YOUR-API-TOKEN", stage.bed.token().to_owned()),
        ("-p 80:80 -p 443:443", "-p 127.0.0.1::80 -p 127.0.0.1::443".to_owned()),
        (" -e ACME_DNS_STAGING=yes", servers),
    ]
}

/// A clone, as far as an image is built of it.
fn copy_sources(to: &Path) {
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--parents", "Cargo.toml", "Cargo.lock", "LICENSE", "build.rs"]);
    copy.args([".dockerignore", "docker", "src"]);
    copy.args(["tests/Cargo.toml", "tests/servers/Cargo.toml"]).arg(to);
    run(copy.current_dir(workspace_dir())).unwrap_or_else(|e| panic!("{e}"));
}

/// Types the commands, and looks at the application through NGINX.
fn follow(document: &str, section: &str) {
    let stage = Stage::new();
    let mut script = commands(document, section);
    for (typed, instead) in replacements(&stage) {
        assert!(script.contains(typed), "{document}: no \"{typed}\" in\n{script}");
        eprintln!("{document}: instead of \"{typed}\" there is \"{instead}\"");
        script = script.replace(typed, &instead);
    }
    let clone = stage.bed.dir().join("clone");
    fs::create_dir(&clone).expect("it can be made");
    copy_sources(&clone);
    let made = Made::nothing_yet();
    // Each line as if it were typed: none may fail.
    run(Command::new("sh").args(["-eu", "-c", &script]).current_dir(&clone))
        .unwrap_or_else(|e| panic!("{document}: {e}"));
    let web = Container::adopt("web");
    let leaf = stage.wait_for_certificate(&web, 443);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    let mut visit = stage.client(&web, 443, ZONE).visitor().expect("good settings");
    let answer = wait_until(LIMIT, || visit().ok().filter(|visit| visit.answer.status == 200));
    let answer = answer.unwrap_or_else(|| panic!("{document}: {}", web.logs())).answer;
    assert!(answer.body.contains("Welcome to nginx!"), "{document}: {answer:?}");
    drop((web, made));
}

#[test]
fn the_quick_starts_lead_to_an_application_behind_a_certificate() {
    follow("README.md", "The image");
    follow("docs/docker.md", "Quick start");
}
