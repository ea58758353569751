//! The image without root.

use testbed::ZONE;
use testbed::docker::{Container, Image, Volume};
use testbed::process::wait_until;

use crate::stage::{LIMIT, STATE, Stage, domains};

#[test]
fn no_root_and_no_writable_file_system_are_needed() {
    let stage = Stage::new();
    let state = Volume::create();
    let mut arguments = stage.arguments();
    arguments.extend(domains(&format!("{ZONE} *.{ZONE}")));
    let volume = format!("{}:{STATE}", state.name);
    arguments.extend(
        ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--volume", &volume]
            .map(str::to_owned),
    );
    let container = Container::start(Image::Unprivileged.get(), &arguments);
    let leaf = stage.wait_for_certificate(&container, 8443);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    assert_eq!(container.exec(&["id", "-u"]), "101");
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
    container.command(&["restart"]);
    assert_eq!(stage.wait_for_certificate(&container, 8443), leaf);
    assert_eq!(stage.orders(), 1);
}
