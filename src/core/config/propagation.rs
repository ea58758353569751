//! The directive `acme_dns_propagation`.

use super::Propagation;
use super::text::{invalid_parameter, socket_address, time};
use std::net::SocketAddr;
use std::time::Duration;

/// Long enough for providers that answer at once but publish within minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// One small query to each server.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

/// Time that a provider without known delays needs at the most, where nothing can be asked.
const DEFAULT_DELAY: Duration = Duration::from_secs(60);

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

impl Default for Propagation {
    fn default() -> Self {
        Self::Check {
            timeout: DEFAULT_TIMEOUT,
            interval: DEFAULT_INTERVAL,
            resolvers: Vec::new(),
            port: DNS_PORT,
        }
    }
}

impl Propagation {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// A parameter is unknown, repeated or has a bad value.
    pub fn parse(args: &[&str]) -> Result<Self, String> {
        match args {
            ["off", parameters @ ..] => parse_off(parameters),
            parameters => parse_check(parameters),
        }
    }
}

fn parse_off(parameters: &[&str]) -> Result<Propagation, String> {
    match parameters {
        [] => Ok(Propagation::Off { delay: DEFAULT_DELAY }),
        [parameter] => parameter
            .strip_prefix("delay=")
            .and_then(time)
            .map(|delay| Propagation::Off { delay })
            .ok_or_else(|| invalid_parameter(parameter)),
        [_, other, ..] => Err(invalid_parameter(other)),
    }
}

fn parse_check(parameters: &[&str]) -> Result<Propagation, String> {
    let (mut timeout, mut interval, mut port, mut resolvers) = (None, None, None, None);
    for parameter in parameters {
        let invalid = || invalid_parameter(parameter);
        let (key, value) = parameter.split_once('=').ok_or_else(invalid)?;
        let repeated = match key {
            "timeout" => timeout.replace(positive(value).ok_or_else(invalid)?).is_some(),
            "interval" => interval.replace(positive(value).ok_or_else(invalid)?).is_some(),
            "port" => port.replace(parse_port(value).ok_or_else(invalid)?).is_some(),
            "resolvers" => resolvers.replace(parse_resolvers(value).ok_or_else(invalid)?).is_some(),
            _ => return Err(invalid()),
        };
        if repeated {
            return Err(format!("duplicate parameter \"{parameter}\""));
        }
    }
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    let interval = interval.unwrap_or(DEFAULT_INTERVAL.min(timeout));
    if interval > timeout {
        return Err(
            "\"interval\" is longer than \"timeout\" in \"acme_dns_propagation\" directive"
                .to_owned(),
        );
    }
    let (port, resolvers) = (port.unwrap_or(DNS_PORT), resolvers.unwrap_or_default());
    Ok(Propagation::Check { timeout, interval, resolvers, port })
}

fn parse_port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port != 0)
}

fn positive(value: &str) -> Option<Duration> {
    time(value).filter(|time| !time.is_zero())
}

fn parse_resolvers(value: &str) -> Option<Vec<SocketAddr>> {
    value.split(',').map(|address| socket_address(address, DNS_PORT)).collect()
}
