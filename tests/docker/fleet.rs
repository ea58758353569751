//! The example of a fleet: two NGINX with one set of certificates, and an etcd.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use servers::ZONE;
use servers::process::wait_until;
use testbed::clients::tls::Leaf;
use testbed::nginx::docker::{Container, Image, network};

use crate::build::argument;
use crate::compose::Project;
use crate::stage::{LIMIT, Stage};

/// Image of etcd, in the place of the one that the example names.
const ETCD: &str = "acme-dns-test:etcd";

/// Key that records are encrypted with: 32 bytes in base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Makes the image of etcd out of Debian's package.
fn build_etcd() {
    let dockerfile = format!(
        "FROM {}\nRUN apt-get update && apt-get install --yes --no-install-recommends etcd-server\n\
         ENTRYPOINT []\n",
        argument("NGINX_IMAGE")
    );
    let mut command = Command::new("docker");
    // The network of the machine, as for the other images.
    command.args(["build", "--quiet", "--force-rm", "--network", "host", "--tag", ETCD, "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("docker runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(dockerfile.as_bytes()).expect("docker reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "no image of etcd");
}

/// Returns the changes that put the testbed in the place of the internet.
fn changes(stage: &Stage) -> Value {
    let mut environment =
        json!({ "ACME_DNS_STAGING": "", "ACME_DNS_DOMAINS": format!("{ZONE} *.{ZONE}\n") });
    for (name, value) in stage.variables() {
        environment[name] = value.into();
    }
    // Without the token, which is a secret of the example.
    let [ca, _, api_ca] = stage.mounts();
    let volumes = [ca, api_ca].map(|(host, inside)| format!("{host}:{inside}:ro"));
    let key = stage.bed.dir().join("share_key");
    fs::write(&key, KEY).expect("it is written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let web = json!({ "image": Image::Root.get(), "environment": environment, "volumes": volumes });
    json!({
        "services": { "web1": web, "web2": web, "etcd": { "image": ETCD } },
        "secrets": {
            "cloudflare_token": { "file": stage.bed.token_file() },
            "share_key": { "file": key },
        },
        // Nothing is published from an internal network.
        "networks": { "default": { "name": network(), "external": true } },
    })
}

/// Waits until a container serves a certificate that is known.
fn wait_for(stage: &Stage, container: &Container, leaf: &Leaf) {
    let served = || stage.served(container, 443, ZONE).filter(|served| served == leaf);
    assert!(wait_until(LIMIT, served).is_some(), "{}", container.logs());
}

#[test]
fn the_example_of_a_fleet_orders_once_and_serves_everywhere() {
    build_etcd();
    let stage = Stage::new();
    let project = Project::new("fleet/compose.yaml", &changes(&stage), stage.bed.dir());
    let etcd = project.up_alone("etcd");
    let web1 = project.up_alone("web1");
    let leaf = stage.wait_for_certificate(&web1, 443);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    // The one that comes later has it without an order.
    let web2 = project.up_alone("web2");
    wait_for(&stage, &web2, &leaf);
    web2.wait_for_logs(LIMIT, |log| log.contains("\" adopted from"));
    for (stopped, other) in [(&web1, &web2), (&web2, &web1)] {
        stopped.command(&["stop", "-t", "1"]);
        wait_for(&stage, other, &leaf);
        stopped.command(&["start"]);
        wait_for(&stage, stopped, &leaf);
    }
    // Without the engine the disk does.
    etcd.command(&["stop", "-t", "1"]);
    web1.command(&["restart", "-t", "1"]);
    for web in [&web1, &web2] {
        wait_for(&stage, web, &leaf);
    }
    assert_eq!(stage.orders(), 1);
}
