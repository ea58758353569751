//! lego as a client of the stand-ins of providers: what it is content with is no invention of ours.

use std::path::Path;
use std::process::Command;

use crate::package::{codename, unpacked};
use crate::pebble::Pebble;
use crate::powerdns::PowerDns;
use crate::process::run;

/// Lets lego, of the machine's own Debian, obtain a certificate by one of its DNS providers.
///
/// # Errors
/// Its output.
pub fn obtain(
    pebble: &Pebble,
    dns: &PowerDns,
    dir: &Path,
    provider: &str,
    settings: &[(&str, &str)],
    names: &[&str],
) -> Result<String, String> {
    let suite = codename().ok_or("the machine's release of Debian is not known")?;
    let mut command = Command::new(unpacked("lego", &suite).join("usr/bin/lego"));
    command.env("LEGO_CA_CERTIFICATES", pebble.ca_file()).envs(settings.iter().copied());
    command.args(["--accept-tos", "--email", "admin@example.test", "--dns", provider]);
    command.args(["--dns.disable-cp", "--dns.resolvers", &dns.addr().to_string()]);
    command.args(["--server", &pebble.directory_url()]).arg("--path").arg(dir);
    for name in names {
        command.args(["--domains", name]);
    }
    run(command.arg("run"))
}
