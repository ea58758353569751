//! Settings that many library types have, each with the variables that lego and acme.sh read it from.

use super::super::super::secret::{
    check_credential, check_password, check_rsa_key, check_service_account, check_yandex_key,
};
use super::super::fields::{Field, Kind};
use super::LEAST_TTL;
use std::net::Ipv4Addr;

/// The longest region that the library takes.
const MAX_REGION: usize = 63;

type Variables = &'static [&'static str];

/// Any text on one line.
pub(super) const fn text(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Text(is_line, "value")).also(also)
}

/// A token or a key.
pub(super) const fn secret(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Secret(check_credential)).also(also)
}

/// A password, which may have spaces.
pub(super) const fn password(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Secret(check_password)).also(also)
}

/// A private RSA key in PEM.
pub(super) const fn rsa_key(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Secret(check_rsa_key)).also(also)
}

/// A key of a service account of Google, in JSON.
pub(super) const fn service_account(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Secret(check_service_account)).also(also)
}

/// A key of a service account of Yandex, in JSON or in base64.
pub(super) const fn yandex_key(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Secret(check_yandex_key)).also(also)
}

/// A region of a cloud, which becomes a part of a host's name.
pub(super) const fn region(also: Variables) -> Field {
    Field::required("region", Kind::Text(is_region, "region")).also(also)
}

/// A host by its name or address, without scheme and port.
pub(super) const fn host(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Text(is_host, "host")).also(also)
}

/// An IPv4 address.
pub(super) const fn address(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Text(is_address, "IPv4 address")).also(also)
}

/// A number, which is handed on as text.
pub(super) const fn number(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Text(is_number, "number")).also(also)
}

/// A URL that requests are made to.
pub(super) const fn url(name: &'static str, also: Variables) -> Field {
    Field::required(name, Kind::Url).also(also)
}

/// `on` or `off`, which is what holds where it is left out.
pub(super) const fn flag(name: &'static str, also: Variables) -> Field {
    Field::optional(name, Kind::Flag).also(also)
}

/// The time to live that the provider takes at least.
pub(super) const fn ttl(least: u32) -> Field {
    Field::optional("ttl", Kind::Ttl { least })
}

/// The time to live where a provider takes any.
pub(super) const TTL: Field = ttl(LEAST_TTL);

/// The consent to an API that can only replace a zone.
pub(super) const ZONE_REWRITE: Field = Field::required(
    "zone_rewrite",
    Kind::Consent(
        "the API of this provider can only replace all records of a zone, so what it cannot show, and what \
         others change meanwhile, is lost",
    ),
);

/// Makes a setting one that may be left out.
pub(super) const fn optional(field: Field) -> Field {
    Field { is_required: false, ..field }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn is_region(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_REGION).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_host(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn is_address(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok()
}
