//! Those who are told of certificates: the blocks `acme_dns_hook`, `acme_dns_webhook` and `acme_dns_export`.
//!
//! What they are told is in [`notice`](crate::notice), and how, in the service's `notice`.

mod block;
mod export;
mod hook;
#[cfg(test)]
mod tests;
mod webhook;

pub use export::{Export, ExportForm, ExportReader};
pub use hook::{Hook, HookProtocol, HookReader};
pub use webhook::{Webhook, WebhookReader};

use super::SecretId;
use super::provider::ProgramFile;
use crate::notice::NoticeKind;
use std::fmt;

/// Somebody who is told of certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listener {
    /// A program.
    Hook(Hook),
    /// A URL.
    Webhook(Webhook),
    /// Files for other software.
    Export(Export),
}

impl Listener {
    /// Gives the file that is carried out.
    #[must_use]
    pub fn program_file(&self) -> Option<ProgramFile> {
        match self {
            Self::Hook(hook) => Some(hook.file()),
            Self::Export(export) => export.program_file(),
            Self::Webhook(_) => None,
        }
    }

    /// Says what it is, whatever else is set: with another time-out or other events it is the same one, which has
    /// heard what it has heard.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Hook(Hook { command, protocol, .. }) => format!("{command:?} {protocol:?}"),
            Self::Webhook(Webhook { url, .. }) => url.clone(),
            Self::Export(Export { certificate, directory, files, .. }) => {
                format!("{certificate:?} {directory:?} {files:?}")
            }
        }
    }

    /// Lists the secrets that it refers to.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretId> {
        match self {
            Self::Hook(hook) => hook.secrets.iter().map(|(_, id)| *id).collect(),
            Self::Webhook(webhook) => {
                let Webhook { path, secret, authorization, .. } = webhook;
                [path, secret, authorization].into_iter().filter_map(|id| *id).collect()
            }
            Self::Export(export) => export.password.into_iter().collect(),
        }
    }

    /// Tells whether it wants a notice of this kind about this certificate.
    #[must_use]
    pub fn wants(&self, kind: NoticeKind, certificate: Option<&str>) -> bool {
        match self {
            Self::Hook(Hook { events, .. }) | Self::Webhook(Webhook { events, .. }) => {
                events.contains(&kind)
            }
            Self::Export(export) => {
                kind.is_deployment() && certificate.is_some_and(|name| export.is_for(name))
            }
        }
    }
}

/// As in lines of the log.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(hook) => write!(f, "hook \"{}\"", hook.command.program),
            Self::Webhook(webhook) => write!(f, "webhook \"{}\"", webhook.url),
            Self::Export(export) => write!(f, "export to \"{}\"", export.directory.display()),
        }
    }
}

/// Adds a listener to the others.
///
/// # Errors
/// It is there already, or writes the same files as another.
pub fn add_listener(listeners: &mut Vec<Listener>, new: Listener) -> Result<(), String> {
    if listeners.contains(&new) {
        return Err(format!("duplicate {new}"));
    }
    if let Listener::Export(export) = &new {
        for other in &*listeners {
            let Listener::Export(other) = other else { continue };
            check_apart(export, other)?;
        }
    }
    listeners.push(new);
    Ok(())
}

/// Checks that two exports do not write the same file.
fn check_apart(one: &Export, other: &Export) -> Result<(), String> {
    let files = |export: &Export, other: &Export| -> Vec<String> {
        let name = export.certificate.as_ref().or(other.certificate.as_ref());
        let files = export.files_of(name.map_or("$name", String::as_str));
        files.into_iter().map(|(_, file, _)| file).collect()
    };
    let others = files(other, one);
    match files(one, other).into_iter().find(|file| others.contains(file)) {
        Some(file) if one.directory == other.directory => {
            let directory = one.directory.display();
            Err(format!("\"{directory}/{file}\" is written by another \"acme_dns_export\" already"))
        }
        _ => Ok(()),
    }
}

/// Tells whether a certificate is exported under its name.
pub fn is_exported(listeners: &[Listener], name: &str) -> bool {
    listeners.iter().any(|listener| match listener {
        Listener::Export(export) => export.certificate.as_deref() == Some(name),
        _ => false,
    })
}
