//! From a container of NGINX, dehydrated and lexicon to this one, with the old mounts and variables.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testbed::ZONE;
use testbed::clients::{Client, Key, Setup};
use testbed::docker::{Image, network};
use testbed::pebble::PebbleOptions;
use testbed::process::wait_until;
use testbed::tls::Leaf;

use crate::compose::Project;
use crate::reload::RELOAD;
use crate::stage::{LIMIT, Stage};

/// A name that the wildcard certificate does not cover.
const READ: &str = "read.rsa.example.test";
const EMAIL: &str = "you@example.test";
const GLOBAL_KEY: &str = "0123456789abcdef0123456789abcdef01234";

/// What dehydrated has left, as it was mounted at /etc/dehydrated: an ECDSA certificate for the zone and
/// all names in it, an RSA certificate for [`READ`].
fn obtain(stage: &Stage, tree: &Path) -> [Leaf; 2] {
    let setup = Setup {
        tree: tree.to_owned(),
        work: stage.bed.dir().join("work"),
        directory_url: stage.proxy.directory_url(),
        ca_file: stage.proxy.ca_file().to_owned(),
        dns: stage.bed.dns.addr(),
    };
    let wildcard = format!("*.{ZONE}");
    let client = Client::Dehydrated;
    client.obtain(&setup, Key::Ecdsa, &[ZONE, &wildcard]);
    client.obtain(&setup, Key::Rsa, &[READ]);
    let config = fs::read_to_string(tree.join("config")).expect("dehydrated has read it");
    let config = format!("{config}CONTACT_EMAIL=\"admin@{ZONE}\" # of the account\n");
    fs::write(tree.join("config"), config).expect("it is written");
    fs::write(tree.join("domains.txt"), format!("{ZONE} {wildcard}\n{READ}\n")).expect("too");
    [(Key::Ecdsa, ZONE), (Key::Rsa, READ)].map(|(key, name)| {
        let pem = fs::read(tree.join(client.files(key, name).0)).expect("it was obtained");
        Leaf::from_pem(&pem).expect("it is readable")
    })
}

/// The servers as they were, and one that was changed already.
fn write_servers(directory: &Path) {
    let files = format!("/etc/dehydrated/certs/{READ}");
    let text = format!(
        "server {{\n    listen 443 ssl;\n    server_name {READ};\n    \
         ssl_certificate {files}/fullchain.pem;\n    ssl_certificate_key {files}/privkey.pem;\n}}\n\
         server {{\n    listen 443 ssl;\n    server_name www.{ZONE};\n    acme_dns on;\n}}\n"
    );
    fs::create_dir(directory)
        .and_then(|()| fs::write(directory.join("servers.conf"), text))
        .expect("they are written");
}

/// What the test has instead of the internet.
fn changes(stage: &Stage, tree: &Path, servers: &Path) -> Value {
    let mut environment = json!({
        "LEXICON_CLOUDFLARE_USERNAME": EMAIL,
        "LEXICON_CLOUDFLARE_TOKEN": GLOBAL_KEY,
    });
    let old = ["ACME_DNS_DIRECTORY", "ACME_DNS_EMAIL", "CLOUDFLARE_API_TOKEN_FILE"];
    for (name, value) in stage.variables() {
        if !old.contains(&name) {
            environment[name] = value.into();
        }
    }
    let [ca, _, api_ca] = stage.mounts();
    let mut volumes = Vec::from([ca, api_ca].map(|(host, inside)| format!("{host}:{inside}:ro")));
    volumes.push(format!("{}:/etc/dehydrated", tree.display()));
    volumes.push(format!("{}:/etc/nginx/conf.d", servers.display()));
    json!({
        "services": {
            "revprox": {
                "image": Image::Root.get(),
                "environment": environment,
                "volumes": volumes,
            }
        },
        "networks": { "default": { "name": network(), "external": true } },
    })
}

#[test]
fn a_container_with_dehydrated_goes_on_without_an_order() {
    let stage = Stage::with(|options| PebbleOptions { va_always_valid: true, ..options });
    stage.bed.cloudflare.set_legacy_key(EMAIL, GLOBAL_KEY);
    let (tree, servers) = (stage.bed.dir().join("dehydrated"), stage.bed.dir().join("conf.d"));
    let [wildcard, read] = obtain(&stage, &tree);
    write_servers(&servers);
    stage.proxy.traffic.clear_log();
    let project =
        Project::new("dehydrated/compose.yaml", &changes(&stage, &tree, &servers), stage.bed.dir());
    let container = project.up("revprox");

    let www = format!("www.{ZONE}");
    let served = |name: &str, leaf: &Leaf| {
        let is_served = || (stage.served(&container, 443, name)? == *leaf).then_some(());
        assert!(wait_until(LIMIT, is_served).is_some(), "{name}:\n{}", container.logs());
    };
    served(&www, &wildcard);
    served(READ, &read);
    for level in ["[warn]", "[error]", "[emerg]"] {
        assert!(!container.logs().contains(level), "{}", container.logs());
    }
    assert_eq!(stage.orders(), 0);

    // A renewal reaches the server that reads the old path.
    let renew = format!("touch /etc/dehydrated/actions/renew-{READ} && nginx -s reload");
    container.exec(&["sh", "-c", &renew]);
    let renewed =
        wait_until(RELOAD, || stage.served(&container, 443, READ).filter(|leaf| *leaf != read));
    assert!(renewed.is_some(), "{}", container.logs());
    served(&www, &wildcard);
    assert_eq!(stage.orders(), 1);
}

#[test]
fn what_is_missing_of_dehydrated_stops_the_container_with_one_line() {
    let stage = Stage::new();
    let tree = stage.bed.dir().join("dehydrated");
    let script = testbed::paths::workspace_dir().join("docker/dehydrated/24-dehydrated.envsh");
    let mounts = [
        format!("{}:/docker-entrypoint.d/24-dehydrated.envsh:ro", script.display()),
        format!("{}:/etc/dehydrated", tree.display()),
    ];
    fs::create_dir(&tree).expect("it can be made");
    let check = |more: &[&str], expected: &str| {
        let mut arguments: Vec<&str> =
            mounts.iter().flat_map(|mount| ["--volume", mount]).collect();
        arguments.extend(more);
        let output = testbed::docker::Container::run(Image::Root.get(), &arguments, LIMIT);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{expected}");
        assert_eq!(errors.lines().count(), 1, "{expected}: {errors}");
        assert!(errors.contains(expected), "{expected}: {errors}");
    };
    check(&[], "cannot read /etc/dehydrated/config: mount the old directory there");
    fs::write(tree.join("config"), "").expect("it is written");
    fs::write(tree.join("domains.txt"), ZONE).expect("it is written");
    check(&["--env", "PROVIDER=route53"], "PROVIDER=route53: only cloudflare is supported");
    let own = stage.bed.dir().join("nginx.conf");
    fs::write(&own, "events {}\n").expect("it is written");
    let mount = format!("{}:/etc/nginx/nginx.conf:ro", own.display());
    check(&["--volume", &mount], "/etc/nginx/nginx.conf does not load the module");
    check(&[], "ACME_DNS_ACCEPT_TERMS is not set");
}
