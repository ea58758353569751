//! The CAs and the DNS provider of a certificate, as the schedule knows them.

use super::site::Site;
use acme_dns_core::config::Config;
use acme_dns_core::config::issuer::known_order_limit;
use acme_dns_core::id::{IssuerId, ProviderId, VariantId};
use acme_dns_core::schedule::{
    Authority, Fingerprint, Known, Progress, ProviderIdentity, Renewal, Validity,
};
use openssl::sha::Sha256;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The CAs and providers of all certificates: thousands have the same few in common.
pub(super) struct Parties<'a> {
    site: &'a Site,
    /// The [`fingerprint`].
    settings: Fingerprint,
    authorities: HashMap<&'a [IssuerId], Arc<[Authority]>>,
    providers: HashMap<ProviderId, ProviderIdentity>,
}

impl<'a> Parties<'a> {
    pub(super) fn new(site: &'a Site, settings: Fingerprint) -> Self {
        Self { site, settings, authorities: HashMap::new(), providers: HashMap::new() }
    }

    /// Gathers what the schedule begins with for a variant.
    pub(super) fn known(
        &mut self,
        variant: VariantId,
        validity: Option<Validity>,
        renewal: Renewal,
        progress: Progress,
    ) -> Known {
        let (wanted, certificate) = self.site.variant(variant);
        let authorities = self.authorities(&certificate.issuers);
        let provider = self.provider(certificate.provider);
        let mut hasher = DefaultHasher::new();
        self.settings.0.hash(&mut hasher);
        (&certificate.names, wanted.key.to_string(), &provider.name).hash(&mut hasher);
        authorities.iter().for_each(|authority| authority.name.hash(&mut hasher));
        Known {
            validity,
            renewal,
            progress,
            authorities,
            provider,
            names: certificate.names.iter().map(|name| name.base().to_owned()).collect(),
            fingerprint: Fingerprint(hasher.finish()),
            is_under_way: false,
        }
    }

    fn authorities(&mut self, issuers: &'a [IssuerId]) -> Arc<[Authority]> {
        let site = self.site;
        let list = self.authorities.entry(issuers).or_insert_with(|| {
            let authority = |issuer: &IssuerId| {
                let config = site.issuer(*issuer);
                Authority {
                    issuer: *issuer,
                    name: config.name.clone(),
                    has_staging: config.has_test(),
                    limit: known_order_limit(&config.directory),
                }
            };
            issuers.iter().map(authority).collect()
        });
        Arc::clone(list)
    }

    fn provider(&mut self, id: ProviderId) -> ProviderIdentity {
        let make = || ProviderIdentity { id, name: self.site.provider_name(id).into() };
        self.providers.entry(id).or_insert_with(make).clone()
    }
}

/// Hashes the settings that all orders are made with, and the secrets. It is kept on the disk,
/// and too short to tell anything of a secret.
pub(super) fn fingerprint(config: &Config, secrets: &[SecretString]) -> Fingerprint {
    let mut hash = Sha256::new();
    let Config { issuers, providers, propagation, .. } = config;
    hash.update(format!("{issuers:?}{providers:?}{propagation:?}").as_bytes());
    for secret in secrets {
        let secret = secret.expose_secret().as_bytes();
        hash.update(&secret.len().to_le_bytes());
        hash.update(secret);
    }
    let [a, b, c, d, e, f, g, h, ..] = hash.finish();
    Fingerprint(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;
    use acme_dns_core::config::{Config, Propagation};
    use secrecy::SecretString;
    use std::time::Duration;

    #[test]
    fn another_secret_or_setting_is_another_fingerprint() {
        let config = |seconds| Config {
            propagation: Propagation::Off { delay: Duration::from_secs(seconds) },
            ..Config::with_state_path("/")
        };
        let of = |seconds, secrets: &[&str]| {
            let secrets: Vec<_> =
                secrets.iter().map(|secret| SecretString::from(*secret)).collect();
            fingerprint(&config(seconds), &secrets)
        };
        let same = of(1, &["a", "b"]);
        assert_eq!(same, of(1, &["a", "b"]));
        for other in [of(2, &["a", "b"]), of(1, &["ab"]), of(1, &["a", "c"]), of(1, &["a"])] {
            assert_ne!(same, other);
        }
    }
}
