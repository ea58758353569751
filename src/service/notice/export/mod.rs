//! Files for other software: written when a certificate has changed, and a program that is run then.
//!
//! What there is stays until what replaces it is complete. Whether a file has to be written is seen by its
//! content, owner and mode, so a file that somebody has changed or removed is written anew at the next start.

mod forms;
mod write;

use super::hook::{Run, Runner, variables};
use crate::event::{Event, ListenerEvent};
use crate::host::Host;
use crate::program::Input;
use crate::store::{Certificates, Pem, Store, Trust};
use acme_dns_core::config::{Export, ExportForm, Listener};
use acme_dns_core::notice::Notice;
use acme_dns_core::redact::Redactor;
use forms::{Parts, content, is_same_pkcs12};
use secrecy::SecretString;
use std::sync::Arc;
use write::{Directory, Target};

/// Export with what it needs.
#[derive(Clone)]
pub(super) struct Exporter {
    pub(super) export: Export,
    pub(super) password: Option<SecretString>,
    pub(super) store: Store,
    pub(super) host: Arc<dyn Host>,
    pub(super) runner: Runner,
}

impl Exporter {
    /// Writes the files of a certificate, and runs the program.
    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let Some(name) = notice.subject.certificate.clone() else { return Ok(()) };
        let (exporter, of) = (self.clone_for_files(), name.clone());
        let written = tokio::task::spawn_blocking(move || exporter.write(&of)).await;
        let files = written.map_err(|error| error.to_string())??;
        if !files.is_empty() {
            let label = Listener::Export(self.export.clone()).to_string();
            let event = ListenerEvent::Written { certificate: name, files };
            self.host.tell(&Event::Listener(label, event));
        }
        let Some(command) = &self.export.hook else { return Ok(()) };
        let mut variables = variables(notice);
        let directory = self.export.directory.display().to_string();
        variables.push(("ACME_DNS_EXPORT".to_owned(), directory));
        let run = Run {
            command,
            arguments: Vec::new(),
            variables,
            input: Input::Text(format!("{}\n", notice.json()).into()),
            redactor: &Redactor::new([]),
            timeout: self.export.timeout,
        };
        self.runner.run(run).await
    }

    /// Gives what is needed on another thread.
    pub(super) fn clone_for_files(&self) -> Files {
        let Self { export, password, store, .. } = self;
        Files { export: export.clone(), password: password.clone(), store: store.clone() }
    }
}

/// Files of an export.
pub(super) struct Files {
    export: Export,
    password: Option<SecretString>,
    store: Store,
}

impl Files {
    /// Tells whether all files of a certificate are as they are to be. What cannot be read is not.
    pub(super) fn are_current(&self, name: &str) -> bool {
        let check = || -> Result<bool, String> {
            let parts = self.parts(name)?;
            let directory = Directory::open(&self.export.directory)?;
            for (form, file, mode) in self.export.files_of(name) {
                if !self.is_current(&directory, &parts, form, &self.target(&file, mode))? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        check().unwrap_or(false)
    }

    /// Writes the files of a certificate that are not as they are to be; gives their names.
    fn write(&self, name: &str) -> Result<Vec<String>, String> {
        let parts = self.parts(name)?;
        let directory = Directory::open(&self.export.directory)?;
        let mut written = Vec::new();
        for (form, file, mode) in self.export.files_of(name) {
            let target = self.target(&file, mode);
            if !self.is_current(&directory, &parts, form, &target)? {
                directory.write(&target, &content(form, &parts, self.password.as_ref())?)?;
                written.push(file);
            }
        }
        Ok(written)
    }

    fn parts(&self, name: &str) -> Result<Parts, String> {
        let all = Certificates::open(self.store.path(), &Trust::here());
        let all = all.map_err(|error| error.to_string())?;
        let pem =
            all.map(|all| all.read_pem(name)).transpose().map_err(|error| error.to_string())?;
        let Pem { full_chain, key } = pem.flatten().ok_or("the certificate is not there")?;
        Parts::new(&full_chain, &key)
    }

    fn target<'a>(&self, name: &'a str, mode: u32) -> Target<'a> {
        Target { name, mode, group: self.export.group }
    }

    fn is_current(
        &self,
        directory: &Directory,
        parts: &Parts,
        form: ExportForm,
        target: &Target<'_>,
    ) -> Result<bool, String> {
        let Some(there) = directory.read(target)? else { return Ok(false) };
        Ok(match form {
            ExportForm::Pkcs12 => is_same_pkcs12(&there, parts, self.password.as_ref()),
            form => *there == *content(form, parts, None)?,
        })
    }
}
