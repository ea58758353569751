//! The resolvers of the system.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

/// The configuration of the system's resolver, see resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Reads the resolvers of the system: at each lookup, because they change with the network.
pub(super) fn resolvers() -> Vec<SocketAddr> {
    read_resolv_conf(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// Reads the lines `nameserver`; the local machine is asked where there are none, as resolv.conf(5)
/// has it. Addresses with a zone, such as `fe80::1%eth0`, are skipped.
pub(super) fn read_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
    };
    let found: Vec<SocketAddr> = text.lines().filter_map(address).collect();
    if found.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::read_resolv_conf;

    #[test]
    fn reads_the_resolvers_of_the_system() {
        let rows = [
            ("", vec!["127.0.0.1:53"]),
            ("# nameserver 192.0.2.1\nsearch example.test\n", vec!["127.0.0.1:53"]),
            ("nameserver 192.0.2.1\n", vec!["192.0.2.1:53"]),
            (
                "options edns0\nnameserver\t192.0.2.1 \nnameserver 2001:db8::1\n",
                vec!["192.0.2.1:53", "[2001:db8::1]:53"],
            ),
            ("nameserver fe80::1%eth0\nnameserver 192.0.2.1", vec!["192.0.2.1:53"]),
            ("nameserver\nnameservers 192.0.2.1\nnameserver x", vec!["127.0.0.1:53"]),
        ];
        for (text, expected) in rows {
            let found: Vec<String> =
                read_resolv_conf(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
