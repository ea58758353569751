//! `forget-NAME`: removal of all that is kept of a certificate that the configuration no longer names.
//!
//! Without this it stays for ever, with its key: a name that comes back is served at once, and nothing that is
//! only out of the configuration by mistake is lost. The first line of the file may be `revoke`, a reason,
//! or both: then the certificate is revoked first. Nothing that is configured, read by nginx, or served
//! under another name is touched.

use super::clock::now;
use super::outcome::Undone;
use super::revoking::{read_reason, revoke};
use super::served::Served;
use super::site::Site;
use crate::acme::Obtainer;
use crate::event::{CertificateEvent, Event};
use crate::store::{Store, StoredCertificate};
use acme_dns_core::config::is_file_name;
use acme_dns_core::id::IssuerId;
use std::collections::BTreeSet;

/// Forgetting of a certificate, as a person has asked for it.
#[derive(Clone)]
pub(super) struct Forgetting {
    /// The certificate's name, which is none of the configuration's.
    name: String,
    revocation: Option<Revocation>,
}

#[derive(Clone)]
struct Revocation {
    /// The certificate, in DER.
    certificate: Vec<u8>,
    /// The issuers that it may be from.
    issuers: Vec<IssuerId>,
    reason: Option<u8>,
}

/// The parts that a removal must not harm.
pub(super) struct Inventory<'a> {
    pub(super) site: &'a Site,
    pub(super) served: &'a Served,
    /// The names of the certificates whose files nginx reads.
    pub(super) read_by_nginx: &'a BTreeSet<String>,
}

impl Inventory<'_> {
    /// Reads which certificate is to be forgotten, and whether it is revoked first.
    ///
    /// # Errors
    /// It must not be forgotten, or not be revoked: the reason.
    pub(super) fn read_removal(&self, name: &str, text: &str) -> Result<Forgetting, String> {
        if !is_file_name(name) {
            return Err(format!("\"{name}\" is no name of a certificate"));
        }
        if self.site.config.variants.values().any(|variant| variant.name == name)
            || self.site.config.certificates.values().any(|certificate| certificate.name == name)
        {
            return Err(format!(
                "certificate \"{name}\" is configured, take it out of the configuration and reload first"
            ));
        }
        if self.read_by_nginx.contains(name) {
            return Err(format!(
                "the configuration reads files of \"certs/{name}\", take them out of it and reload first"
            ));
        }
        if !self.site.store.keeps(name).map_err(|error| error.to_string())? {
            return Err(format!("nothing is kept of a certificate \"{name}\""));
        }
        let wanted = read_wish(text)?;
        // One that cannot be read is removed like any other, unless it is to be revoked.
        let stored = match self.site.store.load_certificate(name) {
            Err(error) if wanted.is_some() => return Err(error.to_string()),
            stored => stored.ok().flatten(),
        };
        let Some(stored) = stored.filter(|stored| now() < stored.facts.traits.validity.not_after)
        else {
            if wanted.is_some() {
                let event = CertificateEvent::NothingToRevoke;
                self.site.tell(&Event::Certificate(name.to_owned(), event));
            }
            return Ok(Forgetting { name: name.to_owned(), revocation: None });
        };
        self.check_use(&stored, wanted.is_some())?;
        let revocation = wanted.map(|reason| self.revocation(name, &stored, reason)).transpose()?;
        Ok(Forgetting { name: name.to_owned(), revocation })
    }

    /// Checks that no certificate of the configuration is served from what is to be forgotten.
    fn check_use(&self, stored: &StoredCertificate, revokes: bool) -> Result<(), String> {
        for variant in self.site.variants() {
            let (_, certificate) = self.site.variant(variant);
            let other = self.site.name(variant);
            if !certificate
                .names
                .iter()
                .all(|wanted| covers(&stored.facts.traits.names, wanted.as_str()))
            {
                continue;
            }
            let own = self.site.store.load_certificate(other).ok().flatten();
            let own = own.filter(|own| now() < own.facts.traits.validity.not_after);
            let is_same = own.as_ref().is_some_and(|own| leaf(own) == leaf(stored));
            if revokes && (is_same || self.served.leaf(variant).as_ref() == leaf(stored)) {
                return Err(format!(
                    "certificate \"{other}\" is the same and is served, ask for \"revoke-{other}\""
                ));
            }
            if own.is_none() {
                return Err(format!(
                    "certificate \"{other}\" is not there yet, and this one covers its names: ask again \
                     when it has been issued"
                ));
            }
        }
        Ok(())
    }

    /// Finds the issuers that can revoke the certificate.
    fn revocation(
        &self,
        name: &str,
        stored: &StoredCertificate,
        reason: Option<u8>,
    ) -> Result<Revocation, String> {
        let all = self.site.config.issuers.iter();
        let directory = stored.facts.traits.directory.as_ref();
        let is_from = |url: &String| directory.is_none_or(|directory| directory == url);
        let issuers: Vec<IssuerId> =
            all.filter(|(_, issuer)| is_from(&issuer.directory)).map(|(id, _)| id).collect();
        match (leaf(stored), directory) {
            (Some(certificate), _) if !issuers.is_empty() => {
                Ok(Revocation { certificate: certificate.clone(), issuers, reason })
            }
            (_, Some(directory)) => Err(format!(
                "certificate \"{name}\" is from \"{directory}\", which no \"acme_dns_issuer\" is defined \
                 for: it cannot be revoked; an empty file removes it"
            )),
            (_, None) => Err(format!("certificate \"{name}\" cannot be revoked")),
        }
    }
}

/// Revokes the certificate if that is wanted, and removes all that is kept of it. What a crash leaves is
/// done at the next start: to revoke it twice is no error.
pub(super) async fn forget(
    obtainer: &Obtainer,
    store: &Store,
    removal: Forgetting,
) -> Result<(), Undone> {
    let Forgetting { name, revocation } = removal;
    if let Some(Revocation { certificate, issuers, reason }) = revocation {
        revoke(obtainer, &certificate, &issuers, reason).await?;
    }
    let forgotten = store.on_thread(move |store| store.forget(&name)).await;
    forgotten.map_err(|error| Undone { why: error.to_string(), is_final: false })
}

/// Reads what the first line asks for: `None`, no revocation; else one with a reason or without.
fn read_wish(text: &str) -> Result<Option<Option<u8>>, String> {
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        return Ok(None);
    }
    let reason = match first.strip_prefix("revoke") {
        Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t', ':', '-']) => {
            rest.trim_start_matches([' ', '\t', ':', '-'])
        }
        _ => first,
    };
    read_reason(reason)
        .map(Some)
        .map_err(|why| format!("{why}, nor \"revoke\" with or without a reason"))
}

fn leaf(stored: &StoredCertificate) -> Option<&Vec<u8>> {
    stored.material.pairs.first()?.chain.first()
}

/// Tells whether names of a certificate cover a name, literally or by a wildcard.
fn covers(names: &[String], name: &str) -> bool {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|other| {
        let of_parent = other.strip_prefix("*.").is_some_and(|base| Some(base) == parent);
        other == name || of_parent
    })
}

#[cfg(test)]
mod tests {
    use super::{covers, read_wish};

    #[test]
    fn the_first_line_says_whether_to_revoke_and_why() {
        for (text, expected) in [
            ("", Ok(None)),
            ("\n", Ok(None)),
            ("revoke", Ok(Some(None))),
            ("revoke\n", Ok(Some(None))),
            ("revoke keyCompromise\r\n", Ok(Some(Some(1)))),
            ("revoke: superseded", Ok(Some(Some(4)))),
            ("cessationOfOperation", Ok(Some(Some(5)))),
            ("because", Err(())),
            ("revoked", Err(())),
            ("revoke because", Err(())),
        ] {
            assert_eq!(read_wish(text).map_err(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn names_are_covered_literally_or_by_a_wildcard() {
        let names = ["example.test".to_owned(), "*.example.test".to_owned()];
        for (name, expected) in [
            ("example.test", true),
            ("a.example.test", true),
            ("*.example.test", true),
            ("a.b.example.test", false),
            ("*.b.example.test", false),
            ("other.test", false),
        ] {
            assert_eq!(covers(&names, name), expected, "{name}");
        }
    }
}
