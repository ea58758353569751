//! Two views of who serves a zone: that of the provider, whose API names the zone's servers, and that
//! of this host, whose resolvers say to whom the zone is delegated.
//!
//! The CA will follow the delegation, so that it counts, as far as this host can be believed: its
//! resolvers may serve a zone of the same name to the machines within (split horizon), and then name
//! servers of private addresses, or ones that do not speak for the zone. The provider's then decide.

use crate::resolver::ResolveError;
use crate::resolver::query::without_dot;
use hickory_proto::rr::Name;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// So many names of servers are shown.
const SHOWN: usize = 6;

/// Servers of a zone with their addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerGroup {
    /// Their names, with those that have no address.
    pub names: Vec<Name>,
    /// The addresses, each with a name: two names with one address are one server.
    pub addresses: BTreeMap<IpAddr, Name>,
    /// Errors of those that are not in here.
    pub unresolved: Vec<ResolveError>,
}

impl ServerGroup {
    /// Tells whether one of the servers is in both, by name or by address.
    fn meets(&self, other: &Self) -> bool {
        self.names.iter().any(|name| other.names.contains(name))
            || self.addresses.keys().any(|address| other.addresses.contains_key(address))
    }

    /// Lists the names.
    pub(super) fn list(&self) -> String {
        list(&self.names)
    }
}

/// Lists names, the first of many.
pub(super) fn list(names: &[Name]) -> String {
    let mut shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| without_dot(&name.to_lowercase())).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

/// Result of comparing the two views.
#[derive(Debug)]
pub(super) enum ComparedViews {
    /// Both are the same zone: these are asked.
    Both(ServerGroup),
    /// This host sees something else: whether that can be believed depends on whether one of these
    /// servers speaks for the zone. There may be none.
    Apart(ServerGroup),
}

/// Compares the views; servers at private addresses are ignored unless the provider's have some, too.
pub(super) fn compare(provider: &ServerGroup, host: &ServerGroup) -> ComparedViews {
    let is_public_zone = provider.addresses.keys().any(is_public);
    let usable = |address: &IpAddr| !is_public_zone || is_public(address);
    if !provider.meets(host) {
        let mut apart = host.clone();
        apart.addresses.retain(|address, _| usable(address));
        return ComparedViews::Apart(apart);
    }
    let mut both = provider.clone();
    for (address, name) in host.addresses.iter().filter(|(address, _)| usable(address)) {
        both.addresses.entry(*address).or_insert_with(|| name.clone());
    }
    ComparedViews::Both(both)
}

/// Tells whether an address can be one of the internet's.
fn is_public(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            // 100.64.0.0/10 is shared address space (RFC 6598).
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_local = v4.is_private() || v4.is_loopback() || v4.is_link_local();
            !(is_local || is_shared || v4.is_unspecified() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            let is_local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            !(is_local || v6.is_unspecified() || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ComparedViews, ServerGroup, compare, is_public};
    use hickory_proto::rr::Name;
    use std::net::IpAddr;

    fn group(servers: &[(&str, &str)]) -> ServerGroup {
        let mut group = ServerGroup::default();
        for (name, address) in servers {
            let name = Name::from_ascii(name).expect("a name");
            group.names.push(name.clone());
            if let Ok(address) = address.parse() {
                group.addresses.insert(address, name);
            }
        }
        group
    }

    #[test]
    fn the_views_of_provider_and_host_are_compared() {
        const OURS: &[(&str, &str)] = &[("a.ns.", "192.0.2.1"), ("b.ns.", "192.0.2.2")];
        const LAB: &[(&str, &str)] = &[("a.ns.", "127.0.0.1")];
        type Servers = &'static [(&'static str, &'static str)];
        type Row = (&'static str, Servers, Servers, bool, &'static [&'static str]);
        let rows: [Row; 9] = [
            ("the same", OURS, OURS, true, &["192.0.2.1", "192.0.2.2"]),
            ("in another case", OURS, &[("A.NS.", "192.0.2.1")], true, &["192.0.2.1", "192.0.2.2"]),
            (
                "a secondary more",
                OURS,
                &[("b.ns.", "192.0.2.2"), ("x.", "198.51.100.1")],
                true,
                &["192.0.2.1", "192.0.2.2", "198.51.100.1"],
            ),
            (
                "the same and one within",
                OURS,
                &[("b.ns.", "192.0.2.2"), ("x.", "10.0.0.1")],
                true,
                &["192.0.2.1", "192.0.2.2"],
            ),
            (
                "of other names",
                OURS,
                &[("vanity.", "192.0.2.2")],
                true,
                &["192.0.2.1", "192.0.2.2"],
            ),
            (
                "of other addresses",
                OURS,
                &[("a.ns.", "10.0.0.1")],
                true,
                &["192.0.2.1", "192.0.2.2"],
            ),
            ("moved", OURS, &[("x.", "198.51.100.1")], false, &["198.51.100.1"]),
            ("another within", OURS, &[("x.", "10.0.0.1"), ("y.", "fd00::1")], false, &[]),
            ("all are within", LAB, &[("x.", "127.0.0.2")], false, &["127.0.0.2"]),
        ];
        for (row, provider, host, meet, expected) in rows {
            let (group, met) = match compare(&group(provider), &group(host)) {
                ComparedViews::Both(group) => (group, true),
                ComparedViews::Apart(group) => (group, false),
            };
            let addresses: Vec<String> = group.addresses.keys().map(IpAddr::to_string).collect();
            assert_eq!(
                (met, addresses),
                (meet, expected.iter().map(|a| (*a).to_owned()).collect()),
                "{row}"
            );
        }
    }

    #[test]
    fn private_addresses_are_known() {
        for (address, expected) in [
            ("192.0.2.1", true),
            ("2606:4700::1", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.1.1", false),
            ("127.0.0.53", false),
            ("::1", false),
            ("fd12::1", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(is_public(&address.parse().expect("an address")), expected, "{address}");
        }
    }
}
