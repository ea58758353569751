//! Settings from the environment, where `make live` puts its variables.

use std::env;
use std::path::{Path, PathBuf};

/// Directory of a CA that nobody trusts, with wide limits.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

pub(crate) struct Settings {
    /// The zone, in A-labels.
    pub(crate) zone: String,
    pub(crate) token_file: PathBuf,
    pub(crate) token: String,
    /// A token that is valid, but not for the zone.
    pub(crate) other_token: Option<String>,
    pub(crate) api: String,
    pub(crate) directory: String,
    /// Certificates to trust besides the system's, for the directory's host.
    pub(crate) ca_file: Option<PathBuf>,
    /// Parameters of `acme_dns_propagation`.
    pub(crate) propagation: Option<String>,
    /// The directory for report and recording.
    pub(crate) out: PathBuf,
}

impl Settings {
    /// # Errors
    /// A setting is missing, or cannot be meant.
    pub(crate) fn read() -> Result<Self, String> {
        let zone = required("ZONE", "the zone to obtain certificates for, such as example.com")?;
        let zone = zone.trim_end_matches('.').to_ascii_lowercase();
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        if !zone.contains('.') || !zone.bytes().all(is_name) {
            return Err(format!(
                "ZONE: \"{zone}\" is no name of a zone; write it in ASCII (xn--...)"
            ));
        }
        let token_file = required(
            "TOKEN_FILE",
            "a file with an API token of Cloudflare for the zone (Zone / DNS / Edit, Zone / Zone / Read)",
        )?;
        let token_file = Path::new(&token_file).canonicalize();
        let token_file = token_file.map_err(|e| format!("TOKEN_FILE: {e}"))?;
        let other = optional("OTHER_TOKEN_FILE");
        Ok(Self {
            zone,
            token: secret(&token_file)?,
            token_file,
            other_token: other.map(|path| secret(Path::new(&path))).transpose()?,
            api: optional("API").unwrap_or_else(|| CLOUDFLARE.to_owned()),
            directory: optional("DIRECTORY").unwrap_or_else(|| STAGING.to_owned()),
            ca_file: optional("CA_FILE").map(PathBuf::from),
            propagation: optional("PROPAGATION"),
            out: optional("OUT").map_or_else(|| PathBuf::from("target/live"), PathBuf::from),
        })
    }

    /// Describes what is done, for the person who has to agree.
    pub(crate) fn plan(&self) -> String {
        let zone = &self.zone;
        let warning = match self.directory.contains("://acme-v02.api.letsencrypt.org") {
            true => {
                "\nThis is NOT a staging environment: six certificates count against its limits.\n"
            }
            false => "",
        };
        format!(
            "What is done, in about five minutes:\n\
             - at {directory}: an account without a contact is created, and six\n  \
             certificates are ordered for {zone} and *.{zone}: ECDSA and RSA, renewed once, then revoked and\n  \
             replaced; the last two are left to expire\n\
             - at {api}: TXT records _acme-challenge.{zone} with the comment\n  \
             \"ngx_http_acme_dns_module: ...\" are created and removed; no other record is touched\n\
             - requests with a wrong token are sent there{other}\n\
             - NGINX runs on a port of 127.0.0.1, in a temporary directory that is removed\n\
             {warning}\
             Report and recording, without secrets, are written to {out}.\n",
            directory = self.directory,
            api = self.api,
            other = match self.other_token {
                Some(_) => ", and with the token of OTHER_TOKEN_FILE",
                None => "; with OTHER_TOKEN_FILE also with a token of another zone",
            },
            out = self.out.display(),
        )
    }
}

fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn required(name: &str, what: &str) -> Result<String, String> {
    optional(name).ok_or_else(|| {
        format!("{name} is not set: {what}\nusage: make live ZONE=example.com TOKEN_FILE=FILE")
    })
}

fn secret(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}
