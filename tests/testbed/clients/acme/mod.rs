//! ACME clients that are not ours, for what they leave on the disk.
//!
//! They are Debian's, unpacked into the cache; certbot is that of [`certbot`], Traefik is from PyPI.
//! Their challenges are not looked at: the authority is started with `va_always_valid`.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use servers::package::{self, unpacked};
use servers::process::run;

use crate::clients::certbot;

mod web_servers;

/// A type of key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

/// A client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Client {
    /// acme.sh, of sid: no release of Debian has it.
    AcmeSh,
    /// Caddy, of sid, with a certificate for each name.
    Caddy,
    /// certbot, from PyPI.
    Certbot,
    /// dehydrated of the machine's own Debian, whose accounts have RSA keys.
    Dehydrated,
    /// dehydrated of sid, with an ECDSA key for its account.
    NewDehydrated,
    /// lego.
    Lego,
    /// Traefik, from PyPI.
    Traefik,
    /// uacme.
    Uacme,
}

/// The directory of a client, which only its owner may enter, and the authority that it uses.
#[derive(Debug)]
pub struct Setup {
    /// The client's own directory: what is to be imported.
    pub tree: PathBuf,
    /// For what does not belong there.
    pub work: PathBuf,
    /// The URL of the ACME directory.
    pub directory_url: String,
    /// The authority of that URL's host.
    pub ca_file: PathBuf,
    /// A DNS server that knows the zone of the names.
    pub dns: SocketAddr,
}

impl Client {
    /// Returns the file that a certificate is imported from, in a tree.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn source(self, tree: &Path, key: Key, name: &str) -> PathBuf {
        match self {
            Self::Caddy => web_servers::caddy_chain(tree, name),
            Self::Traefik => tree.join("acme.json"),
            _ => tree.join(self.files(key, name).0),
        }
    }

    /// The chain of a certificate in a tree, in PEM.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn chain(self, tree: &Path, key: Key, name: &str) -> Vec<u8> {
        let source = self.source(tree, key, name);
        if self == Self::Traefik {
            return web_servers::traefik_chain(&source, name);
        }
        fs::read(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()))
    }

    /// The files of a certificate below the tree: its chain, and its key.
    ///
    /// # Panics
    /// With a client that has them elsewhere.
    #[must_use]
    pub fn files(self, key: Key, name: &str) -> (PathBuf, PathBuf) {
        let (chain, of_key) = match (self, key) {
            (Self::AcmeSh, Key::Ecdsa) => {
                (format!("{name}_ecc/fullchain.cer"), format!("{name}_ecc/{name}.key"))
            }
            (Self::AcmeSh, Key::Rsa) => {
                (format!("{name}/fullchain.cer"), format!("{name}/{name}.key"))
            }
            (Self::Certbot, _) => {
                (format!("live/{name}/fullchain.pem"), format!("live/{name}/privkey.pem"))
            }
            (Self::Dehydrated | Self::NewDehydrated, _) => {
                (format!("certs/{name}/fullchain.pem"), format!("certs/{name}/privkey.pem"))
            }
            (Self::Lego, _) => {
                (format!("certificates/{name}.crt"), format!("certificates/{name}.key"))
            }
            (Self::Uacme, _) => (format!("{name}/cert.pem"), format!("private/{name}/key.pem")),
            (Self::Caddy | Self::Traefik, _) => panic!("{self:?} has no such files"),
        };
        (chain.into(), of_key.into())
    }

    /// Obtains a certificate; its files are named after the first of the names.
    ///
    /// # Panics
    /// If it cannot be obtained, with what the client says.
    pub fn obtain(self, setup: &Setup, key: Key, names: &[&str]) {
        for directory in [&setup.tree, &setup.work] {
            fs::create_dir_all(directory)
                .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)))
                .unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        }
        let obtained = match self {
            Self::AcmeSh => acme_sh(setup, key, names),
            Self::Caddy => web_servers::caddy(setup, key, names),
            Self::Certbot => with_certbot(setup, key, names),
            Self::Dehydrated => dehydrated(setup, key, names, &own_suite()),
            Self::NewDehydrated => dehydrated(setup, key, names, "sid"),
            Self::Lego => lego(setup, key, names),
            Self::Traefik => web_servers::traefik(setup, key, names),
            Self::Uacme => uacme(setup, key, names),
        };
        obtained.unwrap_or_else(|e| panic!("{self:?}: {e}"));
    }
}

/// Runs dehydrated of the machine's own Debian with the configuration of its tree.
///
/// # Panics
/// If it fails, with what it says.
pub fn run_own_dehydrated(setup: &Setup, arguments: &[&str]) {
    let program = unpacked("dehydrated", &own_suite()).join("usr/bin/dehydrated");
    run_dehydrated(&program, &setup.tree.join("config"), arguments)
        .unwrap_or_else(|e| panic!("dehydrated: {e}"));
}

fn own_suite() -> String {
    package::codename().unwrap_or_else(|| "bookworm".to_owned())
}

/// A program that is content with everything.
fn hook(setup: &Setup) -> Result<PathBuf, String> {
    let path = setup.work.join("hook");
    write(&path, "#!/bin/sh\nexit 0\n")?;
    fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn dehydrated(setup: &Setup, key: Key, names: &[&str], suite: &str) -> Result<(), String> {
    let program = unpacked("dehydrated", suite).join("usr/bin/dehydrated");
    let config = setup.tree.join("config");
    let algorithm = match key {
        Key::Ecdsa => "prime256v1",
        Key::Rsa => "rsa",
    };
    let text = format!(
        "CA=\"{}\"\nCHALLENGETYPE=\"dns-01\"\nHOOK=\"{}\"\nKEY_ALGO={algorithm}\nKEYSIZE=2048\n\
         ACCOUNT_KEY_ALGO=prime256v1\nCURL_OPTS=\"--cacert {}\"\nBASEDIR=\"{}\"\n",
        setup.directory_url,
        hook(setup)?.display(),
        setup.ca_file.display(),
        setup.tree.display(),
    );
    write(&config, &text)?;
    let dehydrated = |arguments: &[&str]| run_dehydrated(&program, &config, arguments);
    if !setup.tree.join("accounts").exists() {
        dehydrated(&["--register", "--accept-terms"])?;
    }
    let domains = names.join(" ");
    dehydrated(&["--cron", "--domain", &domains])
}

fn run_dehydrated(program: &Path, config: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("bash");
    command.arg(program).arg("--config").arg(config).args(arguments);
    run(&mut command).map(|_| ())
}

fn lego(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    let mut command = Command::new(unpacked("lego", &own_suite()).join("usr/bin/lego"));
    command.env("LEGO_CA_CERTIFICATES", &setup.ca_file).env("EXEC_PATH", hook(setup)?);
    command.args(["--accept-tos", "--email", "admin@example.test", "--dns", "exec"]);
    command.args(["--dns.disable-cp", "--dns.resolvers", &setup.dns.to_string()]);
    // The pause between two names; a minute if not given.
    command.env("EXEC_SEQUENCE_INTERVAL", "0");
    command.args(["--server", &setup.directory_url]).arg("--path").arg(&setup.tree);
    command.args(["--key-type", if key == Key::Rsa { "rsa2048" } else { "ec256" }]);
    for name in names {
        command.args(["--domains", name]);
    }
    run(command.arg("run")).map(|_| ())
}

/// It reads the authorities that it trusts in one place only: for it alone, another file is there.
fn uacme(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    const TRUST: &str = "mount --bind \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\"";
    let program = unpacked("uacme", &own_suite()).join("usr/bin/uacme");
    let uacme = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", TRUST]).arg(&setup.ca_file).arg(&program);
        command
            .args(["--yes", "--acme-url", &setup.directory_url])
            .arg("--confdir")
            .arg(&setup.tree);
        run(command.args(arguments)).map(|_| ())
    };
    if !setup.tree.join("private/key.pem").exists() {
        uacme(&["--type", "EC", "new", "admin@example.test"])?;
    }
    let hook = hook(setup)?.display().to_string();
    let of_type = if key == Key::Rsa { "RSA" } else { "EC" };
    uacme(&[&["--hook", &hook, "--type", of_type, "issue"], names].concat())
}

fn acme_sh(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    let program = unpacked("acme.sh", "sid").join("usr/share/acme.sh/acme.sh");
    let hooks = setup.work.join("dnsapi");
    fs::create_dir_all(&hooks).map_err(|e| e.to_string())?;
    let nothing = "dns_nothing_add() { return 0; }\ndns_nothing_rm() { return 0; }\n";
    write(&hooks.join("dns_nothing.sh"), nothing)?;
    let mut command = Command::new("sh");
    command.arg(program).args(["--issue", "--dns", "dns_nothing", "--dnssleep", "1"]);
    command.arg("--home").arg(&setup.work).arg("--config-home").arg(&setup.tree);
    command.args(["--server", &setup.directory_url]).arg("--ca-bundle").arg(&setup.ca_file);
    command.args(["--accountkeylength", "ec-256"]);
    command.args(["--keylength", if key == Key::Rsa { "2048" } else { "ec-256" }]);
    for name in names {
        command.args(["--domain", name]);
    }
    run(&mut command).map(|_| ())
}

fn with_certbot(setup: &Setup, key: Key, names: &[&str]) -> Result<(), String> {
    let mut command = Command::new(certbot::program());
    command.env("REQUESTS_CA_BUNDLE", &setup.ca_file);
    command.args(["certonly", "--non-interactive", "--agree-tos", "--no-eff-email"]);
    command.args(["--email", "admin@example.test", "--server", &setup.directory_url]);
    command.args(["--manual", "--manual-auth-hook", "true", "--preferred-challenges", "dns"]);
    command.args(["--rsa-key-size", "2048"]);
    command.args(["--key-type", if key == Key::Rsa { "rsa" } else { "ecdsa" }]);
    command.arg("--config-dir").arg(&setup.tree);
    for (option, sub) in [("--work-dir", "work"), ("--logs-dir", "log")] {
        command.arg(option).arg(setup.work.join(sub));
    }
    for name in names {
        command.args(["--domain", name]);
    }
    run(&mut command).map(|_| ())
}
