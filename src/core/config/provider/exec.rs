//! The settings of programs that change the DNS: hooks that were written for other ACME clients.

use super::super::SecretId;
use super::fields::{Choice, CommandLine, Facts, Field, Form, Kind, ProgramFile, Values};
use std::time::Duration;

/// Time for a program where none is set: hooks wait for their provider, and some for the DNS.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// Directory of acme.sh as Debian installs it.
const ACME_SH_HOME: &str = "/usr/share/acme.sh";

/// Scripts of acme.sh 3.1.5 whose removal does not look at the value that it is given, or not for sure.
const BY_NAME: &str = "\
    dns_acmedns dns_ad dns_ali dns_anx dns_aws dns_azion dns_clouddns dns_constellix \
    dns_cpanel_uapi dns_cyon dns_da dns_ddnss dns_df dns_dnsexit dns_dnsimple dns_doapi \
    dns_duckdns dns_dyn dns_dynv6 dns_edgecenter dns_exoscale dns_freemyip dns_he_ddns \
    dns_hostingde dns_huaweicloud dns_internetbs dns_ispconfig dns_knot dns_limacity \
    dns_linode_v4 dns_loopia dns_lua dns_misaka dns_nm dns_nsone dns_nsupdate dns_openprovider \
    dns_openstack dns_pointhq dns_servercow dns_unoeuro dns_vscale dns_world4you dns_zone \
    dns_zonomi";

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "exec",
    aliases: &[],
    facts: Facts {
        title: "A program: hooks of dehydrated, lego and certbot, scripts of acme.sh",
        values: "as the program",
        removal: "one by one, or all of a name with `removal name`",
        proof: "lexicon and acme.sh with PowerDNS 4.7, and scripts of the tests",
    },
    fields: &[
        Field::optional(
            "protocol",
            Kind::Choice(&[
                Choice { word: "dehydrated", needs: &["command"], takes: &["chain"] },
                Choice { word: "lego", needs: &["command"], takes: &[] },
                Choice { word: "certbot", needs: &["command", "cleanup"], takes: &[] },
                Choice { word: "acme.sh", needs: &["hook"], takes: &["home"] },
            ]),
        ),
        Field::optional("command", Kind::Command).also(&["EXEC_PATH"]),
        Field::optional("cleanup", Kind::Command),
        Field::optional("chain", Kind::Flag),
        Field::optional("hook", Kind::Text(is_hook, "name of a script")),
        Field::optional("home", Kind::Text(is_directory, "path")),
        Field::optional("removal", Kind::Choice(&[Choice::new("value"), Choice::new("name")])),
        Field::optional(
            "timeout",
            Kind::Time { least: Duration::from_secs(1), most: Duration::from_secs(3600) },
        ),
        Field::optional("env", Kind::Variable),
        Field::optional("secret", Kind::SecretVariable),
    ],
    credentials: &[],
};

/// The settings of a program that changes the DNS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecSettings {
    /// The way in which it is called.
    pub protocol: ExecProtocol,
    /// Set if it removes all values of a name together.
    pub removes_by_name: bool,
    /// The time that it may take.
    pub timeout: Duration,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
    /// Variables whose values are secret.
    pub secrets: Vec<(String, SecretId)>,
}

/// Way in which a program is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExecProtocol {
    /// As dehydrated calls its hook.
    Dehydrated {
        /// The hook.
        command: CommandLine,
        /// Set if it is called once for all records (`HOOK_CHAIN`).
        is_chained: bool,
    },
    /// As lego's provider `exec` calls its program.
    Lego {
        /// The program.
        command: CommandLine,
    },
    /// As certbot calls its manual hooks.
    Certbot {
        /// `--manual-auth-hook`
        command: CommandLine,
        /// `--manual-cleanup-hook`
        cleanup: CommandLine,
    },
    /// A script of acme.sh, by the shell.
    AcmeSh {
        /// The directory of acme.sh.
        home: String,
        /// The name of the script, such as `dns_cf`.
        hook: String,
    },
}

impl ExecProtocol {
    /// Tells whether a program is called once for all records.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        matches!(self, Self::Dehydrated { is_chained: true, .. })
    }
}

impl ExecSettings {
    /// Lists the files that are carried out.
    #[must_use]
    pub fn files(&self) -> Vec<ProgramFile> {
        match &self.protocol {
            ExecProtocol::Dehydrated { command, .. } | ExecProtocol::Lego { command } => {
                vec![command.file()]
            }
            ExecProtocol::Certbot { command, cleanup } => vec![command.file(), cleanup.file()],
            ExecProtocol::AcmeSh { home, hook } => {
                let script = |path| ProgramFile { path, is_script: true };
                let paths = [format!("{home}/acme.sh"), format!("{home}/dnsapi/{hook}.sh")];
                paths.map(script).into()
            }
        }
    }
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<ExecSettings> {
    let hook = values.text("hook");
    let is_by_name = hook.as_ref().is_some_and(|hook| BY_NAME.split(' ').any(|name| name == hook));
    let removes_by_name = values.choice("removal").map_or(is_by_name, |word| word == "name");
    let is_chained = values.flag("chain").unwrap_or_default();
    let protocol = match values.choice("protocol") {
        Some("lego") => ExecProtocol::Lego { command: values.command("command")? },
        Some("certbot") => ExecProtocol::Certbot {
            command: values.command("command")?,
            cleanup: values.command("cleanup")?,
        },
        Some("acme.sh") => {
            let home = values.text("home").unwrap_or_else(|| ACME_SH_HOME.to_owned());
            ExecProtocol::AcmeSh { home: home.trim_end_matches('/').to_owned(), hook: hook? }
        }
        _ => ExecProtocol::Dehydrated { command: values.command("command")?, is_chained },
    };
    Some(ExecSettings {
        protocol,
        removes_by_name,
        timeout: values.time("timeout").unwrap_or(DEFAULT_TIMEOUT),
        variables: values.variables(),
        secrets: values.secret_variables(),
    })
}

/// The name is a part of a path and of the names of functions.
fn is_hook(text: &str) -> bool {
    text.starts_with("dns_") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_directory(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/')
}
