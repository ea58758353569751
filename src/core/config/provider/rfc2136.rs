//! The settings of dynamic updates (RFC 2136), signed with TSIG (RFC 8945).

use super::super::SecretId;
use super::super::secret::check_tsig_secret;
use super::fields::{Facts, Field, Form, Kind, Values};
use std::fmt;
use std::net::IpAddr;

/// The port of DNS (RFC 1035 section 4.2).
const PORT: u16 = 53;

/// A record lives for seconds only.
const DEFAULT_TTL: u32 = 60;

/// The longest name (RFC 1035 section 2.3.4), without its final dot.
const MAX_NAME: usize = 253;

/// The longest label.
const MAX_LABEL: usize = 63;

/// The block of this type.
pub(super) const FORM: Form = Form {
    name: "rfc2136",
    aliases: &["nsupdate"],
    facts: Facts {
        title: "Dynamic updates (RFC 2136) with TSIG",
        values: "any",
        removal: "one by one",
        proof: "BIND 9.18, Knot 3.2 and PowerDNS 4.7",
    },
    fields: &[
        Field::required("server", Kind::Text(is_server, "address"))
            .also(&["RFC2136_NAMESERVER", "NSUPDATE_SERVER"]),
        Field::required("key_name", Kind::Text(is_name, "key name")).also(&["RFC2136_TSIG_KEY"]),
        Field::required("key", Kind::Secret(check_tsig_secret)).also(&["RFC2136_TSIG_SECRET"]),
        Field::optional("algorithm", Kind::Text(is_algorithm, "algorithm"))
            .also(&["RFC2136_TSIG_ALGORITHM"]),
        Field::optional("tcp", Kind::Flag),
        Field::optional("ttl", Kind::Number(is_ttl, "1 to 86400")),
    ],
    credentials: &[],
};

/// The settings of dynamic updates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rfc2136Settings {
    /// The server that takes the updates: the primary of the zones.
    pub server: DnsServer,
    /// The name of the TSIG key, without a final dot.
    pub key_name: String,
    /// The key's secret, in base64.
    pub key: SecretId,
    /// The key's algorithm.
    pub algorithm: TsigAlgorithm,
    /// Set if UDP is not to be used.
    pub tcp: bool,
    /// The records' time to live in seconds.
    pub ttl: u32,
}

/// A DNS server, by address or host name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsServer {
    /// Its address, without brackets, or its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl DnsServer {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address has brackets if a port follows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, rest)) => {
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None if text.parse::<IpAddr>().is_ok() => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port != 0))?;
        // What looks like an address is none.
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let is_host = host.parse::<IpAddr>().is_ok()
            || is_name(host) && !host.rsplit('.').next().is_some_and(is_number);
        is_host.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An algorithm of TSIG keys (RFC 8945 section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TsigAlgorithm {
    /// HMAC with SHA-1: for keys that there are already.
    Sha1,
    /// HMAC with SHA-224.
    Sha224,
    /// HMAC with SHA-256, which every server knows.
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

impl TsigAlgorithm {
    const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Gives the name in messages and in the configuration, without a final dot.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha224 => "hmac-sha224",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// Finds an algorithm by its name, in any case, with or without a final dot.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// Makes the settings; `None` if they are not complete.
pub(super) fn build(mut values: Values) -> Option<Rfc2136Settings> {
    let algorithm = values.text("algorithm");
    Some(Rfc2136Settings {
        server: DnsServer::parse(&values.text("server")?)?,
        key_name: values.text("key_name")?.trim_end_matches('.').to_ascii_lowercase(),
        key: values.secret("key")?,
        algorithm: algorithm.map_or(Some(TsigAlgorithm::Sha256), |it| TsigAlgorithm::find(&it))?,
        tcp: values.flag("tcp").unwrap_or_default(),
        ttl: values.number("ttl").unwrap_or(DEFAULT_TTL),
    })
}

fn is_server(text: &str) -> bool {
    DnsServer::parse(text).is_some()
}

/// Tells whether a text is the name of a host, a zone or a key; some of them have underscores.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label =
        |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed);
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

fn is_algorithm(text: &str) -> bool {
    TsigAlgorithm::find(text).is_some()
}

fn is_ttl(seconds: u32) -> bool {
    matches!(seconds, 1..=86_400)
}

#[cfg(test)]
mod tests {
    use super::{DnsServer, TsigAlgorithm};

    #[test]
    fn a_server_is_an_address_or_a_name_with_an_optional_port() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("2001:db8::1", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]:5353", Some("[2001:db8::1]:5353")),
            ("ns1.example.com", Some("ns1.example.com:53")),
            ("ns1.example.com:5353", Some("ns1.example.com:5353")),
            ("localhost", Some("localhost:53")),
            ("", None),
            ("ns1.example.com:", None),
            ("ns1.example.com:0", None),
            ("ns1.example.com:dns", None),
            ("ns1..example.com", None),
            ("[192.0.2.1]", None),
            ("192.0.2.300", None),
            ("192.0.2.1:5353:53", None),
            ("[2001:db8::1]5353", None),
            ("https://ns1.example.com", None),
        ] {
            let read = DnsServer::parse(text).map(|server| server.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn algorithms_are_read_as_servers_write_them() {
        for (text, expected) in [
            ("hmac-sha256", Some(TsigAlgorithm::Sha256)),
            ("hmac-sha256.", Some(TsigAlgorithm::Sha256)),
            ("HMAC-SHA512", Some(TsigAlgorithm::Sha512)),
            ("hmac-sha1", Some(TsigAlgorithm::Sha1)),
            ("hmac-md5", None),
            ("sha256", None),
            ("", None),
        ] {
            assert_eq!(TsigAlgorithm::find(text), expected, "{text}");
        }
    }
}
