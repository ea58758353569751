//! Without root, and without a file system that can be written.

use std::os::unix::fs::chown;

use servers::ZONE;
use servers::process::wait_until;
use testbed::clients::tls::Leaf;
use testbed::nginx::docker::{Container, Image, Volume, docker};

use crate::stage::{LIMIT, STATE, Stage, domains};

/// The user `nginx` of the image.
const USER: u32 = 101;

/// The arguments of `docker run` for a certificate for the zone and all names in it.
fn arguments(stage: &Stage, state: &Volume, more: &[&str]) -> Vec<String> {
    let mut arguments = stage.arguments();
    arguments.extend(domains(&format!("{ZONE} *.{ZONE}")));
    arguments.extend(["--volume".to_owned(), format!("{}:{STATE}", state.name)]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

/// A certificate is obtained, served, and there after a restart.
fn check(image: Image, port: u16, more: &[&str], user: u32) {
    let stage = Stage::new();
    chown(stage.bed.token_file(), Some(user), None).expect("the tests run as root");
    let state = Volume::create();
    let container = Container::start(image.get(), &arguments(&stage, &state, more));
    let leaf = stage.wait_for_certificate(&container, port);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    assert_eq!(container.exec(&["id", "-u"]), user.to_string());
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
    container.command(&["restart"]);
    assert_eq!(stage.wait_for_certificate(&container, port), leaf);
    assert_eq!(stage.orders(), 1);
    for level in ["[error]", "[alert]", "[crit]", "warning"] {
        assert!(!container.logs().contains(level), "{}", container.logs());
    }
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn no_root_is_needed() {
    check(Image::Unprivileged, 8443, &["--cap-drop", "ALL"], USER);
}

#[test]
fn no_root_and_no_writable_file_system_are_needed() {
    let more = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"];
    check(Image::Unprivileged, 8443, &more, USER);
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn root_needs_no_writable_file_system() {
    let more =
        ["--read-only", "--tmpfs=/run", "--tmpfs=/var/cache/nginx", "--tmpfs=/etc/nginx/conf.d"];
    check(Image::Root, 443, &more, 0);
}

/// Capabilities that a container of root needs: to give files to the users of NGINX, to read theirs, to become
/// them, and to listen on ports below 1024.
const CAPABILITIES: [&str; 5] = ["CHOWN", "DAC_OVERRIDE", "NET_BIND_SERVICE", "SETGID", "SETUID"];

#[test]
fn root_needs_five_capabilities() {
    let mut more = vec!["--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    more.extend(CAPABILITIES.iter().flat_map(|capability| ["--cap-add", capability]));
    check(Image::Root, 443, &more, 0);
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn what_cannot_be_written_is_named() {
    let stage = Stage::new();
    let state = Volume::create();
    for (image, more, expected) in [
        (Image::Root, &["--read-only"][..], "/etc/nginx/conf.d/acme_dns.conf cannot be written"),
        (Image::Unprivileged, &["--read-only"], "/tmp/acme_dns.conf cannot be written"),
        (Image::Root, &["--user", "101"], "this variant of the image runs as root, use the"),
    ] {
        chown(stage.bed.token_file(), Some(USER), None).expect("the tests run as root");
        let output = Container::run(image.get(), &arguments(&stage, &state, more), LIMIT);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.lines().count() == 1, "{more:?}: {errors}");
        assert!(errors.contains(expected), "{more:?}: {errors}");
    }
}

/// Runs an image with a volume until the certificate is served, and stops it.
fn serve(stage: &Stage, state: &Volume, image: Image, port: u16) -> (Leaf, String) {
    let container = Container::start(image.get(), &arguments(stage, state, &[]));
    let leaf = stage.wait_for_certificate(&container, port);
    if image == Image::Root {
        let owner = || container.exec(&["stat", "--format", "%a %U", STATE]);
        let owned = wait_until(LIMIT, || (owner() == "700 acme_dns").then_some(()));
        assert!(owned.is_some(), "{}\n{}", owner(), container.logs());
    }
    container.command(&["stop"]);
    (leaf, container.logs())
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn a_volume_goes_from_root_to_no_root_and_back() {
    let stage = Stage::new();
    chown(stage.bed.token_file(), Some(USER), None).expect("the tests run as root");
    let state = Volume::create();
    let (first, _) = serve(&stage, &state, Image::Root, 443);

    // Without root nothing can be taken over: one line says what to do.
    let image = Image::Unprivileged.get();
    let output = Container::run(image, &arguments(&stage, &state, &[]), LIMIT);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let command = format!("chown -R {USER}:{USER} {STATE}");
    assert!(errors.contains(&command) && !output.status.success(), "{errors}");
    let volume = format!("{}:{STATE}", state.name);
    let run = ["run", "--rm", "--user", "0", "--volume", &volume, image];
    let words: Vec<&str> = command.split(' ').collect();
    docker(&[&run, words.as_slice()].concat()).unwrap_or_else(|e| panic!("{e}"));

    for (image, port) in [(Image::Unprivileged, 8443), (Image::Root, 443)] {
        let (leaf, logs) = serve(&stage, &state, image, port);
        assert_eq!(leaf, first, "{logs}");
        assert!(!logs.contains("self-signed"), "{logs}");
        assert_eq!(
            logs.contains("now belongs to user \"acme_dns\""),
            image == Image::Root,
            "{logs}"
        );
    }
    assert_eq!(stage.orders(), 1);
}
