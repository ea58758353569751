//! Taking over what another client has: the directive `acme_dns_import`.

use super::text::invalid_parameter;
use std::fmt;
use std::path::PathBuf;

/// Tree or file of another client, with certificates to take over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Import {
    /// Client whose tree it is.
    pub format: ImportFormat,
    /// The root of the tree, or the file.
    pub path: PathBuf,
}

/// A client whose tree can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImportFormat {
    /// acme.sh: its `--config-home`.
    AcmeSh,
    /// Caddy: its data directory.
    Caddy,
    /// certbot: its `--config-dir`.
    Certbot,
    /// dehydrated: its `BASEDIR`.
    Dehydrated,
    /// lego: its `--path`.
    Lego,
    /// The module `ngx_http_acme_module`: the `state_path` of an issuer.
    Nginx,
    /// Traefik: its `acme.json`.
    Traefik,
    /// uacme: its `--confdir`.
    Uacme,
}

impl ImportFormat {
    const ALL: [(&str, Self); 8] = [
        ("acme.sh", Self::AcmeSh),
        ("caddy", Self::Caddy),
        ("certbot", Self::Certbot),
        ("dehydrated", Self::Dehydrated),
        ("lego", Self::Lego),
        ("nginx", Self::Nginx),
        ("traefik", Self::Traefik),
        ("uacme", Self::Uacme),
    ];

    /// Reads the first argument of the directive.
    ///
    /// # Errors
    /// No such client is known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let known = Self::ALL.map(|(name, _)| name).join(", ");
            format!("{}, it must be one of {known}", invalid_parameter(text))
        })
    }
}

impl Import {
    /// Tells whether there is what the format has at its path: a directory, or with Traefik also a file.
    #[must_use]
    pub fn is_there(&self) -> bool {
        match self.format {
            ImportFormat::Traefik => self.path.exists(),
            _ => self.path.is_dir(),
        }
    }
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, format)| format == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::ImportFormat;

    #[test]
    fn every_format_is_written_as_it_is_read() {
        for (text, format) in ImportFormat::ALL {
            assert_eq!(ImportFormat::parse(text), Ok(format));
            assert_eq!(format.to_string(), text);
        }
        for text in ["", "acmesh", "Certbot", "getssl"] {
            let error = ImportFormat::parse(text).unwrap_err();
            let expected = format!("invalid parameter \"{text}\", it must be one of acme.sh, ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
