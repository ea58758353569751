//! Clients of Cloudflare's API that are not ours: what they expect of it, the stand-in has to do.
//!
//! acme.sh is Debian's, the others are from PyPI, in a virtual environment of the cache.

use std::process::Command;

use servers::cloudflare::Cloudflare;
use servers::package::from_pypi;
use servers::package::unpacked;
use servers::process::run;

/// The versions that the tests were made with. A later lexicon asks the machine's resolver for the
/// zone.
const REQUIREMENTS: [&str; 4] =
    ["dns-lexicon==3.21.1", "octodns==1.22.0", "octodns-cloudflare==1.2.0", "cloudflare==5.9.0"];

/// A client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApiClient {
    /// acme.sh with `dns_cf`.
    AcmeSh,
    /// lexicon.
    Lexicon,
    /// octoDNS with its Cloudflare provider.
    OctoDns,
    /// Cloudflare's library for Python, which here takes nothing but what is published.
    Sdk,
}

impl ApiClient {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AcmeSh, Self::Lexicon, Self::OctoDns, Self::Sdk];

    /// Adds a TXT record.
    ///
    /// # Errors
    /// The client's output, if it fails.
    pub fn add(self, at: &Account<'_>, name: &str, value: &str) -> Result<(), String> {
        self.act(at, "add", name, value)
    }

    /// Removes a TXT record.
    ///
    /// # Errors
    /// The client's output, if it fails.
    pub fn remove(self, at: &Account<'_>, name: &str, value: &str) -> Result<(), String> {
        self.act(at, "remove", name, value)
    }

    fn act(self, at: &Account<'_>, action: &str, name: &str, value: &str) -> Result<(), String> {
        let mut command = match self {
            Self::AcmeSh => {
                let mut command = Command::new("sh");
                let scripts = unpacked("acme.sh", "sid").join("usr/share/acme.sh");
                command.env("ACME_SH", scripts);
                command.arg("-c").arg(include_str!("acme.sh")).arg("acme.sh");
                command.arg(action);
                command
            }
            Self::Lexicon => python(include_str!("lexicon.py"), action, at.zone),
            Self::OctoDns => python(include_str!("octodns.py"), action, at.zone),
            Self::Sdk => python(include_str!("sdk.py"), action, at.zone),
        };
        command.env("API", at.cloudflare.api_url()).env("TOKEN", at.token);
        run(command.args([name, value])).map(|_| ()).map_err(|error| format!("{self:?}: {error}"))
    }
}

/// The account in which a client works.
#[derive(Debug)]
pub struct Account<'a> {
    /// The stand-in.
    pub cloudflare: &'a Cloudflare,
    /// A token that it accepts.
    pub token: &'a str,
    /// The zone of the records.
    pub zone: &'a str,
}

fn python(script: &str, action: &str, zone: &str) -> Command {
    let mut command = Command::new(from_pypi("api-clients", &REQUIREMENTS).join("bin/python"));
    command.args(["-c", script, action, zone]);
    command
}
