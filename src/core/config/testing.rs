//! Configurations for the tests of all crates, without the directives that a draft is made of.
//!
//! A test says what it is about; all else is empty, off, or what a configuration has by default.

use super::{Certificate, Config, Issuer, Propagation, Reload, Variant};
use crate::growing::GrowingTable;
use crate::id::{IdRange, IssuerId, ProviderId, Table};
use crate::key::KeyType;
use crate::name::Name;
use std::path::PathBuf;

impl Config {
    /// Makes a configuration with a state path and nothing else.
    pub fn with_state_path(path: impl Into<PathBuf>) -> Self {
        Self {
            state_path: path.into(),
            issuers: Table::default(),
            providers: Table::default(),
            providers_program: None,
            certificates: GrowingTable::default(),
            variants: GrowingTable::default(),
            watched: Vec::new(),
            propagation: Propagation::default(),
            reload: Reload::default(),
            imports: Vec::new(),
            listeners: Vec::new(),
            share: None,
        }
    }

    /// Adds a certificate of the first issuer and the first provider, with a variant for each type of key: the
    /// first has the name of the certificate, others the algorithm behind it, as a draft names them.
    ///
    /// # Panics
    /// If one of the names is none.
    pub fn add_certificate(&mut self, name: &str, names: &[&str], keys: &[KeyType]) {
        let first = self.variants.next_id();
        for (position, key) in keys.iter().enumerate() {
            let name = match position {
                0 => name.to_owned(),
                _ => format!("{name}-{}", key.algorithm()),
            };
            self.variants.push(Variant {
                name,
                key: *key,
                certificate: self.certificates.next_id(),
            });
        }
        self.certificates.push(Certificate {
            name: name.to_owned(),
            names: names.iter().map(|name| Name::parse(name).expect(name)).collect(),
            variants: IdRange::new(first, self.variants.next_id()),
            issuers: vec![IssuerId::default()],
            provider: ProviderId::default(),
            provider_is_given: false,
            reuses_key: false,
            staples: false,
            line: None,
        });
    }
}

impl Issuer {
    /// Makes an issuer whose settings are all absent.
    pub fn with_directory(name: &str, directory: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            directory: directory.into(),
            staging: None,
            contacts: Vec::new(),
            trusted_certificate: None,
            profile: None,
            account_key: None,
            external_account: None,
            preferred_chain: None,
            challenges: vec![super::ChallengeMethod::Dns01],
            persist: None,
        }
    }
}
