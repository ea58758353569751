//! Two containers on one volume: one obtains, the other waits and serves what it obtains.

use testbed::ZONE;
use testbed::docker::{Container, Volume};
use testbed::process::wait_until;
use testbed::tls::Leaf;

use crate::stage::{LIMIT, STATE, Stage};

fn wait_for_health(container: &Container) {
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    let report = container.inspect("{{json .State.Health}}");
    assert!(healthy.is_some(), "{report}\n{}", container.logs());
}

/// Renews the certificate in one container, and waits until another one serves it.
fn renew(stage: &Stage, by: &Container, seen: &Container, before: &Leaf) -> Leaf {
    let renew = format!("touch {STATE}/actions/renew-{ZONE} && nginx -s reload");
    by.exec(&["sh", "-c", &renew]);
    let other = || stage.served(seen, 443, ZONE).filter(|leaf| leaf != before);
    let renewed = wait_until(LIMIT, other);
    renewed.unwrap_or_else(|| panic!("{}\nand\n{}", by.logs(), seen.logs()))
}

#[test]
fn blue_and_green_serve_each_renewal_and_are_healthy() {
    let stage = Stage::new();
    let state = Volume::create();
    let blue = stage.start(&state);
    let first = stage.wait_for_certificate(&blue, 443);
    let green = stage.start(&state);
    assert_eq!(stage.wait_for_certificate(&green, 443), first);
    let second = renew(&stage, &blue, &green, &first);
    assert_eq!(stage.wait_for_certificate(&blue, 443), second);
    for container in [&blue, &green] {
        wait_for_health(container);
    }
    // Green goes on alone.
    blue.command(&["stop"]);
    let third = renew(&stage, &green, &green, &second);
    assert_ne!(third, second);
    wait_for_health(&green);
    assert_eq!(stage.orders(), 3);
}
