//! Without root, and without a file system that can be written.

use std::os::unix::fs::chown;

use testbed::ZONE;
use testbed::docker::{Container, Image, Volume};
use testbed::process::wait_until;

use crate::stage::{LIMIT, STATE, Stage, domains};

/// The user `nginx` of the image.
const USER: u32 = 101;

/// A certificate is obtained, served, and there after a restart.
fn check(image: Image, port: u16, more: &[&str], user: u32) {
    let stage = Stage::new();
    chown(stage.bed.token_file(), Some(user), None).expect("the tests run as root");
    let state = Volume::create();
    let mut arguments = stage.arguments();
    arguments.extend(domains(&format!("{ZONE} *.{ZONE}")));
    arguments.extend(["--volume".to_owned(), format!("{}:{STATE}", state.name)]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    let container = Container::start(image.get(), &arguments);
    let leaf = stage.wait_for_certificate(&container, port);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    assert_eq!(container.exec(&["id", "-u"]), user.to_string());
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
    container.command(&["restart"]);
    assert_eq!(stage.wait_for_certificate(&container, port), leaf);
    assert_eq!(stage.orders(), 1);
}

#[test]
fn no_root_is_needed() {
    check(Image::Unprivileged, 8443, &["--cap-drop", "ALL"], USER);
}

#[test]
fn no_root_and_no_writable_file_system_are_needed() {
    let more = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"];
    check(Image::Unprivileged, 8443, &more, USER);
}

#[test]
fn root_needs_no_writable_file_system() {
    let more =
        ["--read-only", "--tmpfs=/run", "--tmpfs=/var/cache/nginx", "--tmpfs=/etc/nginx/conf.d"];
    check(Image::Root, 443, &more, 0);
}
