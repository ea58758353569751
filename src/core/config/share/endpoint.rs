//! Addresses of engines.

use crate::url::{is_loopback, is_plain};
use std::fmt;
use url::Url;

/// Address of a server of an engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The scheme that it is written with.
    scheme: &'static str,
    /// Its host, an IPv6 address in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Set if it is reached by TLS.
    pub is_tls: bool,
    /// Set if it is on this machine.
    pub is_local: bool,
}

/// Scheme of a type of engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schemes {
    pub(super) tls: &'static str,
    pub(super) plain: &'static str,
    /// Port where none is given; that of the scheme if absent.
    pub(super) port: Option<u16>,
}

impl Endpoint {
    /// Reads an endpoint. As readers of URLs forgive different mistakes, host and port are kept, not the text.
    pub(super) fn parse(text: &str, schemes: Schemes) -> Result<Self, String> {
        // Who writes a password here is not to find it in a log.
        let shown = match text.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => text.to_owned(),
        };
        let invalid =
            |why: &str| format!("invalid endpoint \"{shown}\" in \"endpoint\" directive: {why}");
        let Schemes { tls, plain, port } = schemes;
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let is_tls = scheme == tls;
        if !is_tls && scheme != plain {
            return Err(invalid(&format!("it must begin with \"{tls}://\" or \"{plain}://\"")));
        }
        // All schemes are read alike, though only that of the web has rules for hosts.
        let url = Url::parse(&format!("https://{rest}")).map_err(|e| invalid(&e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("write \"username\" and \"password_file\" instead"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it must be a host and a port alone"));
        }
        let host = url.host().filter(is_plain).ok_or_else(|| invalid("it has no valid host"))?;
        let default = if is_tls { 443 } else { 80 };
        let written =
            url.port().or_else(|| rest.trim_end_matches('/').ends_with(":443").then_some(443));
        Ok(Self {
            scheme: if is_tls { tls } else { plain },
            host: host.to_string(),
            port: written.or(port).unwrap_or(default),
            is_tls,
            is_local: is_loopback(&host),
        })
    }

    /// Gives the host as sockets and certificates have it.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}
