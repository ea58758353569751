//! Events of nginx's own processes: the master when it loads a configuration, the manager beside the service, and the
//! workers.

use super::reference::rows;
use super::{Event, listed};
use acme_dns_core::config::sharing::Shared;
use acme_dns_core::level::Level;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Event of a process of nginx.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NginxEvent {
    /// The service has exited.
    ServiceExited {
        /// Its process.
        pid: i32,
        /// Exit code or signal.
        how: String,
    },
    /// The service is killed, because it does not exit.
    ServiceKilled {
        /// Its process.
        pid: i32,
    },
    /// The service cannot be started.
    ServiceNotStarted {
        /// The error.
        why: String,
    },
    /// No service has begun.
    NoService {
        /// Time that it was given.
        after: Duration,
    },
    /// A process cannot give up what it inherited from the master.
    Unprepared {
        /// The error.
        why: String,
    },
    /// The service has the user of the workers.
    Unseparated {
        /// Name of that user.
        user: String,
        /// Name of the user that it would take.
        default: &'static str,
    },
    /// The kernel cannot keep workers from writing to shared memory.
    Unsealed,
    /// The state path cannot be created.
    NoStatePath {
        /// The error.
        why: String,
    },
    /// Workers cannot pass on what the status page is asked for.
    NoRequests {
        /// The error.
        why: String,
    },
    /// The state path is the default of earlier versions.
    OldStatePath {
        /// The state path.
        path: PathBuf,
        /// The default of today.
        default: PathBuf,
    },
    /// Workers are given read access to the certificates of the state path.
    OpenedToWorkers {
        /// The directory of the certificates.
        path: PathBuf,
    },
    /// A server uses the certificate of another one, whose wildcard covers its names.
    Shared(Shared),
    /// The master may not read the certificates of the state path, as the service may.
    StatePathDenied {
        /// The error.
        why: String,
    },
    /// The master finds nothing of use in the state path.
    StatePathUnusable {
        /// The error.
        why: String,
    },
    /// The master cannot read a certificate, and the service tries.
    LeftToService {
        /// Name of the certificate.
        name: String,
        /// The error.
        why: String,
    },
    /// Certificates are missing when the configuration comes into force.
    Missing {
        /// Their names.
        names: Vec<String>,
        /// Behavior of servers meanwhile.
        meanwhile: Meanwhile,
    },
    /// A worker cannot use a certificate.
    Unusable {
        /// The first of its names.
        name: String,
        /// The error.
        why: String,
    },
    /// No account of another client can be imported.
    AccountNotImported {
        /// Name of the issuer.
        issuer: String,
        /// The error.
        why: String,
    },
}

/// Behavior of servers while their certificate is missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meanwhile {
    /// A self-signed certificate is served.
    SelfSigned,
    /// Handshakes are rejected.
    Rejected,
    /// No server uses the certificate.
    Unused,
}

impl NginxEvent {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::ServiceExited { .. }
            | Self::ServiceNotStarted { .. }
            | Self::NoService { .. }
            | Self::Unprepared { .. }
            | Self::NoStatePath { .. }
            | Self::NoRequests { .. }
            | Self::StatePathUnusable { .. }
            | Self::Unusable { .. } => Level::Error,
            Self::ServiceKilled { .. } => Level::Warn,
            Self::Unseparated { .. }
            | Self::Unsealed
            | Self::OldStatePath { .. }
            | Self::OpenedToWorkers { .. }
            | Self::Shared(_)
            | Self::StatePathDenied { .. }
            | Self::Missing { .. }
            | Self::AccountNotImported { .. } => Level::Notice,
            Self::LeftToService { .. } => Level::Info,
        }
    }
}

impl fmt::Display for NginxEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceExited { pid, how } => {
                write!(f, "acme dns process {pid} exited ({how}), restarting it")
            }
            Self::ServiceKilled { pid } => {
                write!(f, "acme dns process {pid} does not exit, killing it")
            }
            Self::ServiceNotStarted { why } => {
                write!(
                    f,
                    "cannot start the acme dns process, no certificate is obtained or renewed until it \
                     starts: {why}"
                )
            }
            Self::NoService { after } => write!(
                f,
                "acme dns process has not started within {} s, certificates are not obtained or renewed: \
                 see the errors above",
                after.as_secs()
            ),
            Self::Unprepared { why } => write!(f, "cannot drop the privileges of a process: {why}"),
            Self::Unseparated { user, default } => write!(
                f,
                "the service runs as the workers' user \"{user}\": whoever takes over a worker can read \
                 account keys; create a user \"{default}\", or set \"acme_dns_user\""
            ),
            Self::Unsealed => f.write_str(
                "workers can write to shared certificates: preventing it takes Linux 5.1 or later",
            ),
            Self::NoStatePath { why } => write!(
                f,
                "cannot create the state path, no certificate is obtained or renewed until it exists: {why}"
            ),
            Self::NoRequests { why } => {
                write!(f, "the status page cannot ask for renewals, a reload tries again: {why}")
            }
            Self::OldStatePath { path, default } => {
                let (old, new) = (path.display(), default.display());
                write!(
                    f,
                    "the state path is still \"{old}\"; the default is now \"{new}\". To move it, stop NGINX \
                     and run: mv {old} {new}"
                )
            }
            Self::OpenedToWorkers { path } => write!(
                f,
                "the configuration names files in \"{}\" with a variable, which workers open themselves: \
                 their group is given read access to certificates and their keys",
                path.display()
            ),
            Self::Shared(shared) => write!(f, "{shared}"),
            Self::StatePathDenied { why } => write!(
                f,
                "the master cannot read the certificates on disk, the service will: {why}"
            ),
            Self::StatePathUnusable { why } => {
                write!(
                    f,
                    "the master cannot use the certificates on disk, the service looks again: {why}"
                )
            }
            Self::LeftToService { name, why } => {
                write!(f, "certificate \"{name}\" is left for the service to read: {why}")
            }
            Self::Missing { names, meanwhile } => write_missing(f, names, *meanwhile),
            Self::Unusable { name, why } => {
                write!(f, "certificate for \"{name}\" cannot be used: {why}")
            }
            Self::AccountNotImported { issuer, why } => write!(
                f,
                "cannot import an account for issuer \"{issuer}\", a new one will be created: {why}"
            ),
        }
    }
}

fn write_missing(
    f: &mut fmt::Formatter<'_>,
    names: &[String],
    meanwhile: Meanwhile,
) -> fmt::Result {
    let meanwhile = match (meanwhile, names) {
        (Meanwhile::Rejected, [_]) => ", handshakes are rejected until it is issued",
        (Meanwhile::Rejected, _) => ", handshakes are rejected until they are issued",
        (Meanwhile::SelfSigned, [_]) => ", a self-signed one is served until it is issued",
        (Meanwhile::SelfSigned, _) => ", self-signed ones are served until they are issued",
        (Meanwhile::Unused, _) => "",
    };
    match names {
        [name] => write!(f, "no certificate \"{name}\" yet{meanwhile}"),
        names => {
            write!(f, "{} certificates are missing{meanwhile}: {}", names.len(), listed(names))
        }
    }
}

rows! {
    NginxEvent, Event::Nginx;
    "service-exited": ServiceExited { pid: 4711, how: "on signal 9".into() }
        => "the acme dns process has ended unasked; the master starts it again",
        must "nothing if it happens once. `on signal 9` means somebody's `kill -9`, or the kernel when memory runs \
            out: `dmesg` says so. Another signal is a bug: please report it with the lines above it";
    "service-killed": ServiceKilled { pid: 4711 } => "it was to end and did not", may "report it if it happens again";
    "service-not-started": ServiceNotStarted { why: "12: Cannot allocate memory".into() }
        => "certificates are served; the cache manager ends, and is started again with it",
        must "give the system what the reason names";
    "requests-not-heard": NoRequests { why: "12: Cannot allocate memory".into() }
        => "the buttons of the status page do nothing; all else works", must "give the system what the reason names, and reload";
    "service-missing": NoService { after: Duration::from_secs(60) }
        => "certificates are served as they are", must "a line above it says why";
    "nginx-privileges": Unprepared { why: "1: Operation not permitted".into() }
        => "the process ends, as it would keep rights that it must not have",
        must "look for a security module or container that forbids it";
    "nginx-unseparated": Unseparated { user: "www-data".into(), default: "acme_dns" }
        => "certificates are obtained and renewed all the same",
        may "create the user, and reload: [Owner of the state path](operations.md#owner-of-the-state-path)";
    "nginx-unsealed": Unsealed => "whoever takes over a worker can exchange certificates for the others",
        may "use a newer kernel";
    "nginx-no-state-path": NoStatePath { why: "30: Read-only file system".into() }
        => "certificates in memory are served",
        must "create the directory, or name another one in `acme_dns_state_path`";
    "nginx-old-state-path": OldStatePath { path: "/etc/nginx/acme_dns".into(), default: "/var/lib/acme_dns".into() }
        => "the directory of an earlier version is used",
        may "do what the line says, or name it in `acme_dns_state_path`";
    "nginx-opened-to-workers": OpenedToWorkers { path: "/var/lib/acme_dns/certs".into() }
        => "NGINX opens these files in workers", may "use `acme_dns` in that server instead";
    "nginx-shared": Shared(Shared { name: "*.example.com".into(), others: vec!["www.example.com".into()] })
        => "one certificate less is ordered", may "`name=` in a server keeps its own";
    "nginx-state-path-denied": StatePathDenied { why: "open() \"certs\" failed: 13: Permission denied".into() }
        => "certificates are served a moment later than usual", nothing;
    "nginx-state-path-unusable": StatePathUnusable { why: "open() \"certs\" failed: 20: Not a directory".into() }
        => "self-signed certificates are served, or none, until the service has found or obtained others",
        must "correct what the reason names, and reload";
    "nginx-left-to-service": LeftToService { name: "example.com".into(), why: "13: Permission denied".into() }
        => "it is served a moment later than usual", nothing;
    "nginx-missing": Missing { names: vec!["example.com".into()], meanwhile: Meanwhile::SelfSigned }
        => "as at every first start; `acme_dns_fallback` says what is served", nothing;
    "nginx-unusable": Unusable { name: "example.com".into(), why: "the key does not fit".into() }
        => "a worker cannot use what the service has published, and serves what it had",
        must "report it: this is a bug, or memory is broken";
    "nginx-account-not-imported": AccountNotImported { issuer: "letsencrypt".into(), why: "it has no key".into() }
        => "a new account is created", nothing;
}
