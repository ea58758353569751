//! Tokens and keys are where they have to be, and nowhere else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use servers::process::wait_until;
use testbed::measurements::proc::count_in_memory;
use testbed::nginx::build::NginxBuild;

use crate::site::{LIMIT, SERVICE, Site, below};

const NAME: &str = "example.test";

fn site() -> Site {
    let mut site = Site::new();
    site.nginx.workers(2);
    site.set_servers(&[NAME]);
    site
}

/// A block with these credentials.
fn provider(site: &Site, credentials: &str) -> String {
    let api = site.bed.cloudflare.api_url();
    format!("acme_dns_provider cloudflare {{\n    api {api};\n    {credentials}\n}}\n")
}

/// The secret is in the helper and in no worker.
fn check_memory(site: &Site, secret: &str, helper: u32, when: &str) {
    assert!(count_in_memory(helper, secret.as_bytes()) > 0, "{when}: the scan finds nothing");
    let workers = site.nginx.worker_pids();
    assert_eq!(workers.len(), 2);
    for worker in workers {
        assert_eq!(count_in_memory(worker, secret.as_bytes()), 0, "{when}");
    }
}

/// Issues, reloads and issues again; no worker ever has the secret.
fn check_through_a_reload(site: &mut Site, secret: &str) {
    site.start_nginx();
    site.wait_for_certificate(NAME);
    let helper = site.nginx.wait_for_helper();
    check_memory(site, secret, helper, "after the start");
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.wait_for_certificate("b.example.test");
    let helper = site.wait_for_other_helper(&[helper]);
    check_memory(site, secret, helper, "after a reload");
}

#[test]
fn no_worker_has_a_token_from_a_file() {
    let mut site = site();
    let token = site.bed.token().to_owned();
    check_through_a_reload(&mut site, &token);
}

#[test]
fn no_worker_has_a_token_from_the_environment() {
    let mut site = site();
    site.provider = Some(provider(&site, "token env:CLOUDFLARE_TOKEN;"));
    let token = site.bed.token().to_owned();
    site.nginx.env("CLOUDFLARE_TOKEN", &token);
    check_through_a_reload(&mut site, &token);
}

#[test]
fn no_worker_has_a_global_key() {
    let mut site = site();
    let key: String = site.bed.token().chars().rev().collect();
    site.bed.cloudflare.set_legacy_key("you@example.test", &key);
    let file = site.nginx.add_file("key", &key).display().to_string();
    site.provider = Some(provider(&site, &format!("email you@example.test; key_file {file};")));
    check_through_a_reload(&mut site, &key);
    for logged in site.bed.cloudflare.traffic.log() {
        let sent = logged.request.headers.get("x-auth-key").map(|value| value.as_bytes());
        assert_eq!(sent, Some(key.as_bytes()), "{}", logged.request.path);
    }
}

#[test]
fn no_worker_has_an_account_key_from_a_file() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("the curve");
    let key = EcKey::generate(&group).expect("a key");
    let number = key.private_key().to_vec();
    let key = PKey::from_ec_key(key).expect("a key");
    let pem = key.private_key_to_pem_pkcs8().expect("PEM");
    let pem = String::from_utf8(pem).expect("it is text");
    let line = pem.lines().nth(1).expect("base64").to_owned();
    let mut site = site();
    let file = site.nginx.add_file("account.pem", &pem).display().to_string();
    site.issuer = format!("account_key {file};");
    check_through_a_reload(&mut site, &line);
    // Nor what it says, as nginx has read it to check it.
    for process in site.nginx.worker_pids() {
        assert_eq!(count_in_memory(process, &number), 0);
    }
    assert!(!site.nginx.log().contains(&line), "it is in the log");
}

/// Words of this length in the files of keys: lines of PEM, numbers of a JWK, PKCS #8 in base64.
pub(crate) fn key_material(state: &Path) -> Vec<String> {
    let files = below(state).into_iter().filter(|path| {
        path.is_file()
            && (path.ends_with("privkey.pem") || path.starts_with(state.join("accounts")))
    });
    let mut words = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let plain = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
        let long = text.split(|c| !plain(c)).filter(|word| word.len() >= 40);
        words.extend(long.map(str::to_owned));
    }
    assert!(words.len() >= 3, "keys were found: {}", words.len());
    words
}

#[test]
fn nothing_secret_is_logged_or_printed() {
    let mut site = Site::new();
    site.nginx.log_level("debug");
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(NAME);
    // Errors quote what they are about.
    site.bed.cloudflare.revoke_token(site.bed.token());
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.nginx.wait_for_log("next attempt at", LIMIT);

    let mut command = NginxBuild::get().command();
    command.arg("-T").arg("-p").arg(site.nginx.dir()).arg("-c").arg(site.nginx.path("nginx.conf"));
    let output = command.output().expect("nginx runs");
    let dump = [output.stdout, output.stderr].concat();
    let dump = String::from_utf8_lossy(&dump);
    assert!(dump.contains("acme_dns_provider cloudflare {"), "{dump}");
    let log = site.nginx.log();
    // An nginx that was not built --with-debug tells the whole story.
    for part in ["[debug]", "acme_dns: attempt ", "issuer \"pebble\": POST https://", ": 201 in "] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let mut secrets = key_material(&site.state());
    secrets.extend([site.bed.token().to_owned(), "PRIVATE KEY".to_owned()]);
    for secret in secrets {
        assert!(!log.contains(&secret), "the log has {secret}");
        assert!(!dump.contains(&secret), "the output of nginx -T has {secret}");
    }
}

#[test]
fn the_state_path_is_closed_to_others() {
    let mut site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    // A second version, and one that is not obtained and so leaves its progress.
    site.bed.cloudflare.revoke_token(site.bed.token());
    site.set_servers(&[NAME, "b.example.test"]);
    site.reload();
    site.nginx.wait_for_log("next attempt at", LIMIT);
    // Lock, account, four of the certificate, progress: written after the line in the log, or before it.
    let files = wait_until(LIMIT, || Some(check_modes(&site.state())).filter(|files| *files >= 7));
    assert!(files.is_some(), "{:?}", below(&site.state()));
}

/// Checks owners and modes of all below the state path; returns the number of files.
fn check_modes(state: &Path) -> usize {
    let mut files = 0;
    for path in below(state) {
        // The service may have removed it since.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        assert_eq!(metadata.uid(), SERVICE, "{}", path.display());
        let mode = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
        } else if metadata.is_file() {
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
    }
    files
}

#[test]
fn a_token_that_is_exchanged_is_used_without_anybody_reloading() {
    // The shortest time between two reloads, two looks at the file, and the order.
    const PATIENCE: Duration = Duration::from_secs(150);
    let mut site = site();
    let file = site.bed.token_file().to_owned();
    let token = fs::read_to_string(&file).expect("the token");
    fs::write(&file, "A".repeat(40)).expect("it can be written");
    site.start_nginx();
    site.nginx.wait_for_log("check that the token is valid", LIMIT);
    let mark = site.nginx.log_mark();
    fs::write(&file, &token).expect("it can be written");
    let line = format!("reloading NGINX: \"{}\" has changed since it was loaded", file.display());
    site.nginx.wait_for_log_from(mark, &line, PATIENCE);
    site.wait_for_certificate(NAME);
    // Read by root: the service sees that it has changed, and no more.
    let (owner, mode) =
        fs::metadata(&file).map(|m| (m.uid(), m.mode() & 0o777)).expect("it is there");
    assert_eq!((owner, mode), (0, 0o600));
    assert!(!site.nginx.log().contains(&token));
}
