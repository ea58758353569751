//! With whom a certificate is obtained, as the schedule knows them.

use super::work::Work;
use acme_dns_core::config::Config;
use acme_dns_core::config::issuer::known_order_limit;
use acme_dns_core::schedule::{
    Authority, Fingerprint, Known, Progress, Provider, Renewal, Validity,
};
use openssl::sha::Sha256;
use secrecy::{ExposeSecret, SecretString};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Work {
    /// What the schedule begins with.
    pub(super) fn known(
        &self,
        entry: usize,
        validity: Option<Validity>,
        renewal: Renewal,
        progress: Progress,
    ) -> Option<Known> {
        let (variant, certificate) = self.config.variant(entry)?;
        let issuers =
            certificate.issuers.iter().map(|index| (*index, self.config.issuers.get(*index)));
        let authorities = issuers.map(|(issuer, config)| Authority {
            issuer,
            name: config.map(|config| config.name.clone()).unwrap_or_default(),
            has_staging: config.is_some_and(|config| config.staging.is_some()),
            limit: config.and_then(|config| known_order_limit(&config.directory)),
        });
        let authorities: Vec<Authority> = authorities.collect();
        let provider = self.config.providers.get(certificate.provider);
        let provider = Provider {
            index: certificate.provider,
            name: provider.map(|provider| provider.name.clone()).unwrap_or_default(),
        };
        let mut hasher = DefaultHasher::new();
        self.settings.0.hash(&mut hasher);
        (&certificate.names, variant.key.to_string(), &provider.name).hash(&mut hasher);
        authorities.iter().for_each(|authority| authority.name.hash(&mut hasher));
        Some(Known {
            validity,
            renewal,
            progress,
            authorities,
            provider,
            names: certificate.names.iter().map(|name| name.base().to_owned()).collect(),
            fingerprint: Fingerprint(hasher.finish()),
            is_under_way: false,
        })
    }
}

/// Tells the settings that all orders are made with, and the secrets, from others. It is kept on the disk,
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
    use acme_dns_core::config::{Config, Propagation, Reload};
    use secrecy::SecretString;
    use std::time::Duration;

    #[test]
    fn another_secret_or_setting_is_another_fingerprint() {
        let config = |seconds| Config {
            state_path: "/".into(),
            issuers: Vec::new(),
            providers: Vec::new(),
            certificates: Vec::new(),
            variants: Vec::new(),
            propagation: Propagation::Off { delay: Duration::from_secs(seconds) },
            reload: Reload::Off,
            imports: Vec::new(),
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
