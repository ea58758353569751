//! From `docker run` to a certificate, which stays when the container does not.

use std::fs;
use std::time::Instant;

use servers::ZONE;
use servers::process::wait_until;
use testbed::measurements::proc::services;
use testbed::nginx::docker::{Image, Volume};

use crate::stage::{LIMIT, STATE, Stage};

/// The user `acme_dns` of the image. It stays in volumes, so that the number must never change.
const SERVICE: u32 = 443;

/// The user that a process runs as.
fn owner(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
}

#[test]
fn a_container_obtains_a_certificate_and_is_healthy() {
    let stage = Stage::new();
    let state = Volume::create();
    Image::Root.get();
    let begin = Instant::now();
    let container = stage.start(&state);
    let leaf = stage.wait_for_certificate(&container, 443);
    eprintln!("docker run to the served certificate: {:.2} s", begin.elapsed().as_secs_f64());
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    assert!(stage.served(&container, 443, &format!("www.{ZONE}")) == Some(leaf));
    assert_eq!(container.exec(&["stat", "--format", "%a %U", STATE]), "700 acme_dns");
    let owners: Vec<u32> = services(container.pid()).into_iter().map(owner).collect();
    assert_eq!(owners, [SERVICE], "{}", container.logs());
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn a_container_without_a_certificate_is_not_healthy() {
    let stage = Stage::new();
    let state = Volume::create();
    stage.bed.cloudflare.revoke_token(stage.bed.token());
    let container = stage.start_with(&state, &["--health-start-period", "1s"]);
    let health = || container.inspect("{{.State.Health.Status}}");
    let unhealthy = wait_until(LIMIT, || (health() == "unhealthy").then_some(()));
    assert!(unhealthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
}

#[test]
fn a_certificate_survives_a_restart_and_a_new_container() {
    let stage = Stage::new();
    let state = Volume::create();
    let container = stage.start(&state);
    let leaf = stage.wait_for_certificate(&container, 443);
    container.command(&["restart"]);
    assert_eq!(stage.wait_for_certificate(&container, 443), leaf);
    drop(container);
    let container = stage.start(&state);
    assert_eq!(stage.wait_for_certificate(&container, 443), leaf);
    assert_eq!(stage.orders(), 1);
}
