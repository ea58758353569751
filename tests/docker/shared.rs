//! Two containers on one volume: one obtains, the other waits and serves what it obtains.

use servers::ZONE;
use servers::process::wait_until;
use testbed::clients::tls::Leaf;
use testbed::nginx::docker::{Container, Volume};

use crate::stage::{LIMIT, STATE, Stage};

fn wait_for_health(container: &Container) {
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    let report = container.inspect("{{json .State.Health}}");
    assert!(healthy.is_some(), "{report}\n{}", container.logs());
}

/// Renews the certificate in one container, and waits until all of them serve the same new one. The
/// reload hands the lock to whoever is first, so that any of them may be the one that orders it.
fn renew(stage: &Stage, by: &Container, all: &[&Container], before: &Leaf) -> Leaf {
    let renew = format!("touch {STATE}/actions/renew-{ZONE} && nginx -s reload");
    by.exec(&["sh", "-c", &renew]);
    let renewed = || {
        let mut served = all.iter().map(|container| stage.served(container, 443, ZONE));
        let first = served.next().flatten().filter(|leaf| leaf != before)?;
        served.all(|leaf| leaf.as_ref() == Some(&first)).then_some(first)
    };
    let logs = || all.iter().map(|container| container.logs()).collect::<Vec<_>>().join("\nand\n");
    wait_until(LIMIT, renewed).unwrap_or_else(|| panic!("{}", logs()))
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn blue_and_green_serve_each_renewal_and_are_healthy() {
    let stage = Stage::new();
    let state = Volume::create();
    let blue = stage.start(&state);
    let first = stage.wait_for_certificate(&blue, 443);
    let green = stage.start(&state);
    assert_eq!(stage.wait_for_certificate(&green, 443), first);
    let second = renew(&stage, &blue, &[&blue, &green], &first);
    for container in [&blue, &green] {
        wait_for_health(container);
    }
    // Green goes on alone.
    blue.command(&["stop"]);
    renew(&stage, &green, &[&green], &second);
    wait_for_health(&green);
    assert_eq!(stage.orders(), 3);
}

/// Tells whether certificates are renewed by this container, as its status says.
fn works(container: &Container) -> bool {
    let status = container.exec(&["curl", "--silent", "http://127.0.0.1:9353/"]);
    status.contains("\"state\":\"working\"")
}

#[test]
fn the_other_one_takes_over_from_one_that_was_killed() {
    let stage = Stage::new();
    let state = Volume::create();
    let blue = stage.start(&state);
    let first = stage.wait_for_certificate(&blue, 443);
    let green = stage.start(&state);
    assert_eq!(stage.wait_for_certificate(&green, 443), first);
    let follows = || (works(&blue) && !works(&green)).then_some(());
    assert!(wait_until(LIMIT, follows).is_some(), "{}", green.logs());
    blue.command(&["kill"]);
    assert!(wait_until(LIMIT, || works(&green).then_some(())).is_some(), "{}", green.logs());
    renew(&stage, &green, &[&green], &first);
    assert_eq!(stage.orders(), 2);
}
