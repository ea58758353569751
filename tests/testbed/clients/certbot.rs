//! certbot with its Cloudflare plugin: a client that is not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use servers::bed::{Testbed, write_secret};
use servers::package::from_pypi;
use servers::process::run;

/// The versions that the tests were made with. The `cloudflare` library is what speaks to the API:
/// it takes the base URL from `CLOUDFLARE_BASE_URL` since its version 3.
const REQUIREMENTS: [&str; 3] =
    ["certbot==5.8.0", "certbot-dns-cloudflare==5.8.0", "cloudflare==5.9.0"];

/// Installs certbot once into the cache. `CERTBOT` in the environment names another one.
///
/// # Panics
/// If it cannot be installed.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CERTBOT") {
        return path.into();
    }
    from_pypi("certbot", &REQUIREMENTS).join("bin/certbot")
}

/// Obtains a certificate and returns the path of its `fullchain.pem`.
///
/// # Errors
/// Output of certbot, if it fails.
pub fn obtain(
    bed: &Testbed,
    directory_url: &str,
    ca_file: &Path,
    names: &[&str],
) -> Result<PathBuf, String> {
    let dir = bed.dir().join("certbot");
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let credentials = dir.join("cloudflare.ini");
    write_secret(&credentials, &format!("dns_cloudflare_api_token = {}", bed.token()));
    let mut command = Command::new(program());
    command.env("CLOUDFLARE_BASE_URL", bed.cloudflare.api_url());
    command.env("REQUESTS_CA_BUNDLE", ca_file);
    command.args(["certonly", "--non-interactive", "--agree-tos", "--no-eff-email"]);
    command.args(["--email", "admin@example.test", "--cert-name", "test"]);
    command.args(["--server", directory_url]);
    for (option, sub) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "log")]
    {
        command.arg(option).arg(dir.join(sub));
    }
    command.arg("--dns-cloudflare").arg("--dns-cloudflare-credentials").arg(credentials);
    // The stand-in answers when PowerDNS has the record.
    command.args(["--dns-cloudflare-propagation-seconds", "0"]);
    for name in names {
        command.args(["-d", name]);
    }
    run(&mut command)?;
    Ok(dir.join("config/live/test/fullchain.pem"))
}
