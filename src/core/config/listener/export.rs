//! Files for other software: the block `acme_dns_export NAME|* { ... }`.

use super::super::provider::fields::{Field, Kind};
use super::super::provider::{CommandLine, ProgramFile};
use super::super::secret::check_text;
use super::super::text::{arguments, duplicate, is_file_name, set_once};
use super::super::{Resources, SecretId};
use super::block::Block;
use std::path::PathBuf;
use std::time::Duration;

/// Placeholder of a certificate's name in the name of a file.
const NAME: &str = "$name";

/// The time that the program may take where none is set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Modes of files with and without a key, where none is set.
const KEY_MODE: u32 = 0o600;
const SHARED_KEY_MODE: u32 = 0o640;
const PUBLIC_MODE: u32 = 0o644;

const FIELDS: &[Field] = &[
    Field::required("directory", Kind::Text(is_directory, "path")),
    Field::optional("bundle", Kind::Text(is_template, "file name")),
    Field::optional("fullchain", Kind::Text(is_template, "file name")),
    Field::optional("certificate", Kind::Text(is_template, "file name")),
    Field::optional("chain", Kind::Text(is_template, "file name")),
    Field::optional("key", Kind::Text(is_template, "file name")),
    Field::optional("der", Kind::Text(is_template, "file name")),
    Field::optional("pkcs12", Kind::Text(is_template, "file name")),
    Field::optional("password", Kind::Secret(check_text)),
    Field::optional("hook", Kind::Command),
    Field::optional(
        "timeout",
        Kind::Time { least: Duration::from_secs(1), most: Duration::from_secs(3600) },
    ),
];

/// Form of an exported file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExportForm {
    /// Certificate, chain and key in one file, as HAProxy and others read them.
    Bundle,
    /// Certificate and chain.
    FullChain,
    /// The certificate alone.
    Certificate,
    /// The chain alone.
    Chain,
    /// The key.
    Key,
    /// The certificate alone, in DER.
    Der,
    /// PKCS #12, with certificate, chain and key.
    Pkcs12,
}

impl ExportForm {
    const ALL: [(&'static str, Self); 7] = [
        ("bundle", Self::Bundle),
        ("fullchain", Self::FullChain),
        ("certificate", Self::Certificate),
        ("chain", Self::Chain),
        ("key", Self::Key),
        ("der", Self::Der),
        ("pkcs12", Self::Pkcs12),
    ];

    /// Tells whether the key is in it.
    #[must_use]
    pub fn has_key(self) -> bool {
        matches!(self, Self::Bundle | Self::Key | Self::Pkcs12)
    }
}

/// Files of certificates in a directory that other software reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Export {
    /// The name of the certificate; `None` for all.
    pub certificate: Option<String>,
    /// The directory.
    pub directory: PathBuf,
    /// The files, with `$name` for the certificate's name. At least one.
    pub files: Vec<(ExportForm, String)>,
    /// The password of PKCS #12.
    pub password: Option<SecretId>,
    /// The number of the group that the files belong to.
    pub group: Option<u32>,
    /// The mode of all files.
    pub mode: Option<u32>,
    /// The program that is run when a file has changed.
    pub hook: Option<CommandLine>,
    /// The time that the program may take.
    pub timeout: Duration,
}

impl Export {
    /// Tells whether it is for a certificate.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        self.certificate.as_ref().is_none_or(|certificate| certificate == name)
    }

    /// Checks that there is the certificate that it names; `is_known` says whether there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn check_certificate(&self, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
        match &self.certificate {
            Some(name) if !is_known(name) => Err(format!(
                "there is no certificate \"{name}\" for \"acme_dns_export {name}\": its name is that of its \
                 directory in \"certs\" of the state path"
            )),
            _ => Ok(()),
        }
    }

    /// Lists the files of a certificate: form, name and mode.
    #[must_use]
    pub fn files_of(&self, name: &str) -> Vec<(ExportForm, String, u32)> {
        let files = self.files.iter();
        files.map(|(form, file)| (*form, file.replace(NAME, name), self.mode_of(*form))).collect()
    }

    fn mode_of(&self, form: ExportForm) -> u32 {
        let usual = match (form.has_key(), self.group) {
            (false, _) => PUBLIC_MODE,
            (true, Some(_)) => SHARED_KEY_MODE,
            (true, None) => KEY_MODE,
        };
        self.mode.unwrap_or(usual)
    }

    /// Gives the file that is carried out.
    #[must_use]
    pub fn program_file(&self) -> Option<ProgramFile> {
        self.hook.as_ref().map(CommandLine::file)
    }
}

/// Reader of the block, one directive after the other.
#[derive(Debug)]
pub struct ExportReader {
    certificate: Option<String>,
    group: Option<u32>,
    mode: Option<u32>,
    block: Block,
}

impl ExportReader {
    /// Begins a block with the argument of its directive: a certificate's name, or `*`.
    ///
    /// # Errors
    /// No certificate can be called so.
    pub fn new(name: &str) -> Result<Self, String> {
        let certificate = match name {
            "*" => None,
            name if is_file_name(name) => Some(name.to_owned()),
            _ => return Err(format!("invalid certificate name \"{name}\"")),
        };
        Ok(Self { certificate, group: None, mode: None, block: Block::new(FIELDS) })
    }

    /// Reads one directive of the block; `find_group` gives the number of a group.
    ///
    /// # Errors
    /// The directive is unknown, a duplicate, or has a bad value.
    pub fn set(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
        find_group: impl Fn(&str) -> Result<u32, String>,
    ) -> Result<(), String> {
        match directive {
            "group" => {
                let [name] = arguments(directive, args)?;
                set_once(&mut self.group, directive, find_group(name)?)
            }
            "mode" => {
                let [text] = arguments(directive, args)?;
                set_once(&mut self.mode, directive, mode(text)?)
            }
            _ => self.block.set(directive, args, resources),
        }
    }

    /// Ends the block.
    ///
    /// # Errors
    /// A setting is missing, or others do not go together.
    pub fn finish(self) -> Result<Export, String> {
        let Self { certificate, group, mode, block: Block { mut values, .. } } = self;
        let missing = |what: &str| {
            let name = certificate.as_deref().unwrap_or("*");
            format!("no {what} is defined for \"acme_dns_export {name}\"")
        };
        let directory = values.text("directory").ok_or_else(|| missing("\"directory\""))?;
        let files: Vec<(ExportForm, String)> = ExportForm::ALL
            .into_iter()
            .filter_map(|(field, form)| Some((form, values.text(field)?)))
            .collect();
        if files.is_empty() {
            return Err(missing("file, such as \"bundle\", \"fullchain\" or \"key\","));
        }
        let password = values.secret("password");
        let has_pkcs12 = files.iter().any(|(form, _)| *form == ExportForm::Pkcs12);
        match (has_pkcs12, &password) {
            (true, None) => return Err(missing("\"password_file\"")),
            (false, Some(_)) => {
                return Err("\"password_file\" makes no sense without \"pkcs12\"".to_owned());
            }
            _ => {}
        }
        check_files(&files, certificate.is_none(), mode)?;
        let (hook, timeout) = (values.command("hook"), values.time("timeout"));
        if timeout.is_some() && hook.is_none() {
            return Err("\"timeout\" makes no sense without \"hook\"".to_owned());
        }
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let directory = PathBuf::from(directory);
        Ok(Export { certificate, directory, files, password, group, mode, hook, timeout })
    }
}

/// Checks names of files, and the mode of those with keys.
fn check_files(
    files: &[(ExportForm, String)],
    is_for_all: bool,
    mode: Option<u32>,
) -> Result<(), String> {
    for (place, (form, file)) in files.iter().enumerate() {
        if is_for_all && !file.contains(NAME) {
            return Err(format!(
                "\"{file}\" would hold all certificates of \"acme_dns_export *\", add \"{NAME}\" to it"
            ));
        }
        if files.iter().take(place).any(|(_, other)| other == file) {
            return Err(duplicate(file));
        }
        if form.has_key() && mode.is_some_and(|mode| mode & 0o007 != 0) {
            return Err(format!("everyone could use the key in \"{file}\", set \"mode 0640\""));
        }
    }
    Ok(())
}

/// Reads a mode in octal digits; nobody may execute such a file.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0);
    let mode = mode.filter(|mode| mode & 0o400 != 0 && mode & 0o022 == 0);
    mode.ok_or_else(|| {
        format!(
            "invalid mode \"{text}\" in \"mode\" directive, it must be such as 0600, 0640 or 0644"
        )
    })
}

fn is_directory(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && !text.contains('$')
}

fn is_template(text: &str) -> bool {
    is_file_name(&text.replacen(NAME, "x", 1))
}
