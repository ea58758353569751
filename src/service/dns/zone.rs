//! Zones found in DNS, for providers that cannot list theirs.

use super::{About, ProviderError, Zone};
use crate::resolver::{Resolver, ZoneCutError};

/// Finds the zone that holds a name, as resolvers see it.
///
/// # Errors
/// There is none, or the resolvers cannot say.
pub(super) async fn find(name: &str, resolver: &Resolver) -> Result<Zone, ProviderError> {
    let action = || format!("cannot find the zone of \"{name}\" in DNS");
    match resolver.zone_cut(name).await {
        Ok(zone) => Ok(Zone { id: zone.clone(), name: zone }),
        Err(ZoneCutError::NoZone(detail)) => Err(ProviderError::NoZone {
            action: action(),
            detail,
            advice: "register the domain, or set \"resolvers\" in \"acme_dns_propagation\" \
                     directive to resolvers that know its zone"
                .to_owned(),
            about: About::Name,
        }),
        Err(ZoneCutError::Unresolved(error)) => {
            Err(ProviderError::Unresolved { action: action(), detail: error.to_string() })
        }
    }
}
