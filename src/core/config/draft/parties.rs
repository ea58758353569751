//! The issuers and the provider of a certificate: which of those that are defined are meant.

use crate::config::binding::Wanted;
use crate::config::{Issuer, Provider};
use crate::id::{Id, IssuerId, ProviderId, Table};
use crate::name::Name;

/// The issuers and the provider of a certificate.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct CertificateParties {
    pub(super) issuers: Vec<IssuerId>,
    pub(super) provider: ProviderId,
    pub(super) provider_is_given: bool,
}

/// The issuers and the providers that are defined.
pub(super) struct Defined<'a> {
    pub(super) issuers: &'a Table<IssuerId, Issuer>,
    pub(super) providers: &'a Table<ProviderId, Provider>,
}

impl Defined<'_> {
    /// The names of issuers and of a provider.
    pub(super) fn owners(&self, parties: &CertificateParties) -> String {
        let names = parties.issuers.iter().map(|id| self.issuers[*id].name.as_str());
        let names: Vec<&str> = names.collect();
        let provider = self.providers.get(parties.provider);
        format!("{} {}", names.join(","), provider.map_or("", |provider| &provider.name))
    }

    /// The issuers and the provider that are meant.
    pub(super) fn resolve(
        &self,
        wanted: &Wanted,
        names: &[Name],
        directive: &str,
    ) -> Result<CertificateParties, String> {
        let issuer = |wanted| {
            let names = self.issuers.values().map(|issuer| issuer.name.as_str());
            choose("issuer", names, wanted, directive)
        };
        let issuers: Vec<IssuerId> = match wanted.issuers.as_slice() {
            [] => vec![issuer(None)?],
            names => names.iter().map(|name| issuer(Some(name))).collect::<Result<_, _>>()?,
        };
        let has_any = self.providers.values().next().is_some();
        // Without a zone it makes no difference.
        let has_zones = self.providers.values().any(|provider| !provider.zones.is_empty());
        let provider_is_given = has_zones && wanted.provider.is_some();
        let needs_provider = issuers.iter().any(|issuer| self.issuers[*issuer].needs_provider());
        let provider = match needs_provider || wanted.provider.is_some() || has_any {
            true => self.resolve_provider(wanted.provider.as_deref(), names, directive)?,
            // Others write the records.
            false => ProviderId::default(),
        };
        Ok(CertificateParties { issuers, provider, provider_is_given })
    }

    /// The provider that is meant: the one without zones, or where there is none the one that has a zone of
    /// the first name. What an alias leads to shows at run time only.
    fn resolve_provider(
        &self,
        wanted: Option<&str>,
        names: &[Name],
        directive: &str,
    ) -> Result<ProviderId, String> {
        let all = || self.providers.values().map(|provider| provider.name.as_str());
        if wanted.is_some() || all().len() < 2 {
            return choose("provider", all(), wanted, directive);
        }
        let is_free = |id: &ProviderId| self.providers[*id].zones.is_empty();
        let free: Vec<ProviderId> = self.providers.ids().filter(is_free).collect();
        let bound = || names.iter().map(|name| bound_provider(self.providers, name.base()));
        match free[..] {
            [only] => Ok(only),
            [_, _, ..] if bound().any(|provider| provider.is_none()) => {
                choose("provider", all(), None, directive)
            }
            _ => Ok(bound().flatten().next().unwrap_or_default()),
        }
    }
}

/// Finds the provider that is bound to the longest zone which holds a name.
pub(in crate::config) fn bound_provider(
    providers: &Table<ProviderId, Provider>,
    name: &str,
) -> Option<ProviderId> {
    let labels = |id: ProviderId| Some((providers[id].zone_labels(name)?, id));
    providers.ids().filter_map(labels).max_by_key(|(labels, _)| *labels).map(|(_, id)| id)
}

/// The only one, or the one that is named.
fn choose<'a, I: Id>(
    what: &str,
    mut defined: impl ExactSizeIterator<Item = &'a str>,
    wanted: Option<&str>,
    directive: &str,
) -> Result<I, String> {
    match (wanted, defined.len()) {
        (Some(name), _) => defined
            .position(|other| other == name)
            .map(I::new)
            .ok_or_else(|| format!("no \"acme_dns_{what}\" is defined for \"{what}={name}\"")),
        (None, 0) => Err(format!("no \"acme_dns_{what}\" is defined for \"{directive}\"")),
        (None, 1) => Ok(I::new(0)),
        (None, _) => Err(format!(
            "several \"acme_dns_{what}\" are defined, \"{directive}\" needs \"{what}=NAME\""
        )),
    }
}
