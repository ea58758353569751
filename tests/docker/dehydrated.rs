//! From a container of NGINX, dehydrated and lexicon to this one, with the old mounts and variables.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use servers::ZONE;
use servers::pebble::PebbleOptions;
use servers::process::{run, wait_until};
use testbed::clients::acme::{Client, Key, Setup, run_own_dehydrated};
use testbed::clients::tls::Leaf;
use testbed::nginx::docker::{Container, Image, network};

use crate::compose::Project;
use crate::reload::RELOAD;
use crate::stage::{LIMIT, Stage};

/// A name that the wildcard certificate does not cover.
const READ: &str = "read.rsa.example.test";
const EMAIL: &str = "you@example.test";
const GLOBAL_KEY: &str = "0123456789abcdef0123456789abcdef01234";

fn setup(stage: &Stage, tree: &Path) -> Setup {
    Setup {
        tree: tree.to_owned(),
        work: stage.bed.dir().join("work"),
        directory_url: stage.proxy.directory_url(),
        ca_file: stage.proxy.ca_file().to_owned(),
        dns: stage.bed.dns.addr(),
    }
}

/// Makes what dehydrated leaves, as it was mounted at /etc/dehydrated: an ECDSA certificate for the zone and
/// all names in it, an RSA certificate for [`READ`], and a configuration that is silent about keys.
fn obtain(stage: &Stage, tree: &Path) -> [Leaf; 2] {
    let setup = setup(stage, tree);
    let wildcard = format!("*.{ZONE}");
    let client = Client::Dehydrated;
    client.obtain(&setup, Key::Ecdsa, &[ZONE, &wildcard]);
    client.obtain(&setup, Key::Rsa, &[READ]);
    let config = fs::read_to_string(tree.join("config")).expect("dehydrated has read it");
    let silent = |line: &&str| !line.starts_with("KEY") && !line.starts_with("BASEDIR");
    let config: String = config.lines().filter(silent).flat_map(|line| [line, "\n"]).collect();
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

/// Returns the variables and mounts that put the testbed in the place of the internet.
fn internet(stage: &Stage) -> ([(&'static str, String); 3], [String; 2]) {
    let [_, _, directory, trusted, _, api, propagation] = stage.variables();
    drop(directory);
    let [ca, _, api_ca] = stage.mounts();
    let mounts = [ca, api_ca].map(|(host, inside)| format!("{host}:{inside}:ro"));
    ([trusted, api, propagation], mounts)
}

/// The arguments of the old `docker run`: two mounts and three variables.
fn old_line(tree: &Path, servers: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, value) in [
        ("PROVIDER", "cloudflare"),
        ("LEXICON_CLOUDFLARE_USERNAME", EMAIL),
        ("LEXICON_CLOUDFLARE_TOKEN", GLOBAL_KEY),
    ] {
        arguments.extend(["--env".to_owned(), format!("{name}={value}")]);
    }
    for (host, inside) in [(tree, "/etc/dehydrated"), (servers, "/etc/nginx/conf.d")] {
        arguments.extend(["--volume".to_owned(), format!("{}:{inside}", host.display())]);
    }
    arguments
}

/// The same with what is new, and what the test has instead of the internet.
fn new_line(stage: &Stage, tree: &Path, servers: &Path) -> Vec<String> {
    let mut arguments = old_line(tree, servers);
    let (variables, mounts) = internet(stage);
    for (name, value) in variables {
        arguments.extend(["--env".to_owned(), format!("{name}={value}")]);
    }
    for mount in mounts {
        arguments.extend(["--volume".to_owned(), mount]);
    }
    let more = ["--health-interval", "1s", "--env", "ACME_DNS_ACCEPT_TERMS=yes"];
    arguments.extend(more.map(str::to_owned));
    arguments
}

/// Gives the files back to root, and removes what only the module understands.
fn go_back(tree: &Path, servers: &Path) {
    let lock = tree.join("lock");
    fs::remove_file(servers.join("acme_dns.conf")).expect("it was generated");
    fs::remove_dir_all(&lock).or_else(|_| fs::remove_file(&lock)).expect("it is there");
    run(Command::new("chown").args(["-hR", "0:0"]).arg(tree)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn the_old_docker_run_goes_on_renews_and_can_be_gone_back_to() {
    let stage = Stage::with(|options| PebbleOptions { va_always_valid: true, ..options });
    stage.bed.cloudflare.set_legacy_key(EMAIL, GLOBAL_KEY);
    let (tree, servers) = (stage.bed.dir().join("dehydrated"), stage.bed.dir().join("conf.d"));
    let [wildcard, read] = obtain(&stage, &tree);
    write_servers(&servers);
    stage.proxy.traffic.clear_log();

    // One thing cannot be known.
    let output = Container::run(Image::Root.get(), &old_line(&tree, &servers), LIMIT);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.lines().count() == 1, "{errors}");
    assert!(errors.contains("add ACME_DNS_ACCEPT_TERMS=yes if you do"), "{errors}");

    let container = Container::start(Image::Root.get(), &new_line(&stage, &tree, &servers));
    let served = |name: &str, leaf: &Leaf| {
        let is_served = || (stage.served(&container, 443, name)? == *leaf).then_some(());
        assert!(wait_until(LIMIT, is_served).is_some(), "{name}:\n{}", container.logs());
    };
    let www = format!("www.{ZONE}");
    served(&www, &wildcard);
    served(READ, &read);
    let health = || container.inspect("{{.State.Health.Status}}");
    let healthy = wait_until(LIMIT, || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", container.inspect("{{json .State.Health}}"));
    for word in ["[warn]", "[error]", "[emerg]", "warning"] {
        assert!(!container.logs().contains(word), "{}", container.logs());
    }
    assert_eq!(stage.orders(), 0);
    let account = "issuer \"acme\": account imported from \"/etc/dehydrated";
    assert!(container.logs().contains(account), "{}", container.logs());

    // A renewal reaches the server that reads the old path, and keeps the type of the key.
    let renew = format!("touch /etc/dehydrated/actions/renew-{READ} && nginx -s reload");
    container.exec(&["sh", "-c", &renew]);
    let renewed =
        wait_until(RELOAD, || stage.served(&container, 443, READ).filter(|leaf| *leaf != read));
    let renewed = renewed.unwrap_or_else(|| panic!("{}", container.logs()));
    assert_eq!(renewed.key, read.key);
    served(&www, &wildcard);
    assert_eq!(stage.orders(), 1);

    // A restart finds all again, though the directory is not root's any more.
    container.command(&["restart"]);
    served(READ, &renewed);
    assert_eq!(stage.orders(), 1, "{}", container.logs());
    container.command(&["stop"]);
    go_back(&tree, &servers);

    // dehydrated keeps what is good, and renews what is not.
    let setup = setup(&stage, &tree);
    let cron = |days: u32| {
        let config = fs::read_to_string(tree.join("config")).expect("it was written");
        fs::write(tree.join("config"), format!("{config}RENEW_DAYS={days}\n")).expect("again");
        run_own_dehydrated(&setup, &["--cron"]);
        let pem = fs::read(tree.join(Client::Dehydrated.files(Key::Rsa, READ).0));
        Leaf::from_pem(&pem.expect("it is there")).expect("it is readable")
    };
    assert_eq!(cron(1), renewed);
    assert_eq!(stage.orders(), 1);
    // The account has a new key since the renewal.
    fs::remove_dir_all(tree.join("accounts")).expect("it is there");
    run_own_dehydrated(&setup, &["--register", "--accept-terms"]);
    assert_ne!(cron(100_000), renewed);
}

/// Returns the same as changes of the example for compose.
fn changes(stage: &Stage, tree: &Path, servers: &Path) -> Value {
    let mut environment = json!({
        "LEXICON_CLOUDFLARE_USERNAME": EMAIL,
        "LEXICON_CLOUDFLARE_TOKEN": GLOBAL_KEY,
    });
    let (variables, mounts) = internet(stage);
    for (name, value) in variables {
        environment[name] = value.into();
    }
    let mut volumes = Vec::from(mounts);
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
fn the_example_for_compose_goes_on_without_an_order() {
    let stage = Stage::with(|options| PebbleOptions { va_always_valid: true, ..options });
    stage.bed.cloudflare.set_legacy_key(EMAIL, GLOBAL_KEY);
    let (tree, servers) = (stage.bed.dir().join("dehydrated"), stage.bed.dir().join("conf.d"));
    let [_, read] = obtain(&stage, &tree);
    write_servers(&servers);
    stage.proxy.traffic.clear_log();
    let project =
        Project::new("dehydrated/compose.yaml", &changes(&stage, &tree, &servers), stage.bed.dir());
    let container = project.up("revprox");
    let is_served = || (stage.served(&container, 443, READ)? == read).then_some(());
    assert!(wait_until(LIMIT, is_served).is_some(), "{}", container.logs());
    assert_eq!(stage.orders(), 0);
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn what_is_missing_of_dehydrated_stops_the_container_with_one_line() {
    let stage = Stage::new();
    let (tree, servers) = (stage.bed.dir().join("dehydrated"), stage.bed.dir().join("conf.d"));
    for directory in [&tree, &servers] {
        fs::create_dir(directory).expect("it can be made");
    }
    let line = old_line(&tree, &servers);
    let check = |more: &[&str], expected: &str| {
        let mut arguments: Vec<&str> = line.iter().map(String::as_str).collect();
        arguments.extend(more);
        let output = Container::run(Image::Root.get(), &arguments, LIMIT);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{expected}");
        assert_eq!(errors.lines().count(), 1, "{expected}: {errors}");
        assert!(errors.contains(expected), "{expected}: {errors}");
    };
    // Docker makes an empty directory where there was none.
    check(&[], "there is no /etc/dehydrated/config (is the old directory mounted?)");
    fs::write(tree.join("config"), "").expect("it is written");
    check(&[], "cannot read /etc/dehydrated/domains.txt: mount the old directory there");
    fs::write(tree.join("domains.txt"), ZONE).expect("it is written");
    check(&["--env", "PROVIDER=hover"], "PROVIDER: \"hover\" is not a known DNS provider");
    let own = stage.bed.dir().join("nginx.conf");
    fs::write(&own, "events {}\n").expect("it is written");
    let mount = format!("{}:/etc/nginx/nginx.conf:ro", own.display());
    check(&["--volume", &mount], "/etc/nginx/nginx.conf does not load the module");
    check(&[], "ACME_DNS_ACCEPT_TERMS is not set");
}
