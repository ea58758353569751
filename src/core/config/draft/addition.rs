//! Additions to a configuration that is in force: certificates of lines that are new in a watched domains file.

use super::parties::{CertificateParties, Defined};
use super::register::{different_settings, keys, suffixed, variant_name};
use super::{Wanted, certifiable};
use crate::config::domains::Line;
use crate::config::watched::{Addition, WatchedLine, WatchedLines};
use crate::config::{Certificate, Config, Variant};
use crate::id::{CertificateId, IdRange, VariantId};
use crate::name::Name;

impl Config {
    /// Makes the addition of a line that is new in a watched file.
    ///
    /// # Errors
    /// The line cannot be a certificate, as a message.
    pub fn addition(
        &self,
        lines: &WatchedLines,
        directive: usize,
        line: Line,
    ) -> Result<Addition, String> {
        let Line { names, name: line_name, .. } = line;
        let names = certifiable(names)?;
        let wanted = self.watched.get(directive).map(|watched| &watched.wanted);
        let wanted = wanted.cloned().unwrap_or_default();
        let parties = self.parties(&wanted, &names)?;
        for issuer in parties.issuers.iter().filter_map(|id| self.issuers.get(*id)) {
            issuer.check_names(names.len())?;
        }
        let keys = keys(&wanted);
        let holder = |name: &str| {
            let all = (0..keys.len()).map(|number| variant_name(name, &keys, number));
            all.into_iter().find_map(|name| lines.holder(&name))
        };
        let name = match &line_name {
            Some(name) => match holder(name) {
                None => name.clone(),
                // The line has other names now: until the next reload its certificate has another name.
                Some(id) if self.is_withdrawn(lines, id) => self.free_name(&names, holder),
                Some(_) => return Err(different_settings(name)),
            },
            None => self.free_name(&names, holder),
        };
        Ok(Addition { name, directive, line_name, names })
    }

    /// Adds a certificate at the place of an identifier, unless it is there. `false`: it is not the next, or there is no
    /// room.
    pub fn add(&self, id: CertificateId, addition: &Addition) -> bool {
        let Addition { name, directive, line_name, names } = addition;
        let Some(watched) = self.watched.get(*directive) else { return false };
        let Ok(parties) = self.parties(&watched.wanted, names) else { return false };
        let keys = keys(&watched.wanted);
        // Not behind all that there are: another thread may be adding the same.
        let before = id.index().checked_sub(1).and_then(|last| {
            self.certificates.get(CertificateId::new(last)).map(|last| last.variants.end())
        });
        let first = before.unwrap_or(VariantId::new(0));
        let end = VariantId::new(first.index() + keys.len());
        for (number, variant) in IdRange::new(first, end).enumerate() {
            let name = variant_name(name, &keys, number);
            let key = keys.get(number).copied().unwrap_or_default();
            if !self.variants.put(variant, Variant { name, key, certificate: id }) {
                return false;
            }
        }
        let CertificateParties { issuers, provider, provider_is_given } = parties;
        let line = WatchedLine { directive: *directive, name: line_name.clone(), is_used: false };
        self.certificates.put(
            id,
            Certificate {
                name: name.clone(),
                names: names.clone(),
                variants: IdRange::new(first, end),
                issuers,
                provider,
                provider_is_given,
                reuses_key: watched.wanted.reuses_key.unwrap_or(false),
                staples: watched.staples,
                line: Some(line),
            },
        )
    }

    /// Tells whether a certificate is that of a line which is in force no more.
    fn is_withdrawn(&self, lines: &WatchedLines, id: CertificateId) -> bool {
        let certificate = self.certificates.get(id);
        certificate.is_some_and(|it| it.line.is_some()) && !lines.is_in_force(id)
    }

    fn parties(&self, wanted: &Wanted, names: &[Name]) -> Result<CertificateParties, String> {
        let defined = Defined { issuers: &self.issuers, providers: &self.providers };
        defined.resolve(wanted, names, "acme_dns_domains")
    }

    /// The first name of a certificate with a suffix that no other certificate has.
    fn free_name(&self, names: &[Name], holder: impl Fn(&str) -> Option<CertificateId>) -> String {
        let mut sorted: Vec<&str> = names.iter().map(Name::as_str).collect();
        sorted.sort_unstable();
        suffixed(names, &sorted.join(","), |name| holder(name).is_none())
    }
}
