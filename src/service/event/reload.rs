//! Reloads of nginx for what it reads only when it loads its configuration.

use super::Event;
use super::reference::rows;
use acme_dns_core::level::Level;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Cause of a reload; the names are as a line has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Files of certificates that nginx reads, by the certificates' names.
    Certificates(String),
    /// Files with secrets or domains.
    Data(String),
}

impl Cause {
    fn names(&self) -> &str {
        match self {
            Self::Certificates(names) | Self::Data(names) => names,
        }
    }
}

/// Event of a reload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReloadEvent {
    /// Files of these certificates are watched.
    Watching {
        /// Their names.
        names: String,
    },
    /// nginx is reloaded now.
    Reloading(Cause),
    /// nginx will be reloaded.
    Planned {
        /// The files.
        names: String,
        /// Time until then.
        wait: Duration,
    },
    /// nginx cannot be told to reload.
    Refused {
        /// The cause.
        cause: Cause,
        /// The error.
        why: String,
    },
    /// nginx was told to reload and has not.
    WithoutEffect {
        /// The cause.
        cause: Cause,
        /// The time that was waited, and until the next try; none where there is none.
        retry: Option<(Duration, Duration)>,
    },
    /// nginx is not reloaded: a file of its configuration has changed.
    ConfigurationChanged {
        /// The certificates.
        names: String,
        /// That file.
        file: PathBuf,
    },
    /// nginx is not reloaded: a file of its configuration cannot be compared.
    ConfigurationUnknown {
        /// The certificates.
        names: String,
        /// That file.
        file: PathBuf,
        /// The error.
        why: String,
    },
    /// A file has changed, and a person has to reload nginx.
    Wanted {
        /// The file.
        names: String,
        /// Reason, as the end of the sentence.
        why: String,
    },
}

impl ReloadEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Refused { .. }
            | Self::WithoutEffect { .. }
            | Self::ConfigurationChanged { .. }
            | Self::ConfigurationUnknown { .. }
            | Self::Wanted { .. } => Level::Error,
            Self::Reloading(_) | Self::Planned { .. } => Level::Notice,
            Self::Watching { .. } => Level::Info,
        }
    }
}

impl fmt::Display for ReloadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watching { names } => {
                write!(f, "NGINX is reloaded when files of {names} change: it reads them")
            }
            Self::Reloading(Cause::Certificates(names)) => {
                write!(f, "reloading NGINX, which reads files of {names} that have changed")
            }
            Self::Reloading(Cause::Data(names)) => {
                write!(f, "reloading NGINX: {names} has changed since it was loaded")
            }
            Self::Planned { names, wait } => write!(
                f,
                "{names} has changed since NGINX loaded it: NGINX is reloaded in {} s, or reload it",
                wait.as_secs()
            ),
            Self::Refused { cause, why } => {
                write!(f, "{why}: reload NGINX yourself, it still uses the old {}", cause.names())
            }
            Self::WithoutEffect { cause, retry: None } => write!(
                f,
                "the reload did not take effect, NGINX still uses the old {}: see its message above, \
                 correct what it names and reload it",
                cause.names()
            ),
            Self::WithoutEffect { cause, retry: Some((waited, pause)) } => write!(
                f,
                "the reload did not take effect within {} s, NGINX still uses the old {}: see its message \
                 above, and try \"nginx -t\"; next attempt in {} s",
                waited.as_secs(),
                cause.names(),
                pause.as_secs()
            ),
            Self::ConfigurationChanged { names, file } => write!(
                f,
                "files of {names} have changed that NGINX reads, but it is not reloaded: \"{}\" has changed \
                 since it was loaded; reload NGINX when the change is complete",
                file.display()
            ),
            Self::ConfigurationUnknown { names, file, why } => write!(
                f,
                "files of {names} have changed that NGINX reads, but it is not reloaded: cannot tell whether \
                 \"{}\" has changed ({why}); let the user of the workers read it, or reload NGINX yourself",
                file.display()
            ),
            Self::Wanted { names, why } => {
                write!(f, "{names} has changed since NGINX loaded it: reload NGINX{why}")
            }
        }
    }
}

rows! {
    ReloadEvent, Event::Reload;
    "reload-watching": Watching { names: "\"example.com\"".into() }
        => "the configuration names files of these certificates",
        may "[acme_dns_reload](directives.md#acme_dns_reload) switches it off";
    "reload-reloading": Reloading(Cause::Certificates("\"example.com\"".into()))
        => "NGINX reads files only when it loads its configuration", nothing;
    "reload-reloading-data": Reloading(Cause::Data("\"/run/secrets/token\"".into()))
        => "NGINX reads secrets and domains only when it loads its configuration", nothing;
    "reload-planned": Planned { names: "\"/run/secrets/token\"".into(), wait: Duration::from_secs(600) }
        => "several reloads in an hour are enough", nothing;
    "reload-refused": Refused {
        cause: Cause::Certificates("\"example.com\"".into()),
        why: "the master cannot be told to reload".into(),
    } => "servers with `ssl_certificate` serve the old certificate", must "reload NGINX";
    "reload-without-effect": WithoutEffect { cause: Cause::Certificates("\"example.com\"".into()), retry: None }
        => "NGINX has refused its configuration", must "look at what NGINX says above it; `nginx -t` repeats it";
    "reload-configuration-changed": ConfigurationChanged { names: "\"example.com\"".into(), file:
        "nginx.conf".into() }
        => "a configuration that is being edited is not put into force", must "finish the change, and reload";
    "reload-configuration-unknown": ConfigurationUnknown {
        names: "\"example.com\"".into(),
        file: "nginx.conf".into(),
        why: "13: Permission denied".into(),
    } => "servers with `ssl_certificate` serve the old certificate", must "do what the line says";
    "reload-wanted": Wanted { names: "\"/run/secrets/token\"".into(), why: ", it is not reloaded by itself".into() }
        => "what was loaded is used on", must "reload NGINX";
}
