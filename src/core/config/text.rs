//! Values of directives as text.

use crate::url::requestable;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Gives nginx's own message for a directive with too few or too many arguments.
pub(crate) fn arguments<'a, const N: usize>(
    directive: &str,
    args: &[&'a str],
) -> Result<[&'a str; N], String> {
    args.try_into().map_err(|_| wrong_arguments(directive))
}

pub(crate) fn wrong_arguments(directive: &str) -> String {
    format!("invalid number of arguments in \"{directive}\" directive")
}

pub(crate) fn invalid_parameter(parameter: &str) -> String {
    format!("invalid parameter \"{parameter}\"")
}

/// Message of nginx for a directive that stands twice.
pub(crate) fn duplicate(directive: &str) -> String {
    format!("\"{directive}\" directive is duplicate")
}

/// Sets a value once; a second time is nginx's `is duplicate`.
pub(crate) fn set_once<T>(slot: &mut Option<T>, directive: &str, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() {
        return Err(duplicate(directive));
    }
    Ok(())
}

/// A URL that is requested, as `requestable` has it.
pub(crate) fn url(directive: &str, text: &str) -> Result<String, String> {
    let invalid = |why| format!("invalid URL \"{text}\" in \"{directive}\" directive: {why}");
    requestable(text).map(String::from).map_err(invalid)
}

/// A time in nginx's units, down to milliseconds: `500ms`, `10s`, `2m`, `1h30m`, `10`.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit_length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let milliseconds = match unit {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = tail;
    }
    if text.is_empty() { None } else { Some(total) }
}

/// An IP address with an optional port, IPv6 in brackets where a port follows.
pub(crate) fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, default_port));
    address.or_else(|_| text.parse()).ok().filter(|address| address.port() != 0)
}

/// Tells whether a name is a domain or below it.
pub(crate) fn in_domain(name: &str, domain: &str) -> bool {
    let above = name.strip_suffix(domain);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Tells whether `text` can be the name of a file in the state path, and is easy to write in a shell.
pub fn is_file_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty()
        && text.len() <= MAX_FILE_NAME
        && !text.starts_with(['.', '-'])
        && text.bytes().all(allowed)
}

/// Leaves room for what the store appends to a name within the 255 octets of a file system.
pub(crate) const MAX_FILE_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::{socket_address, time, url};
    use std::time::Duration;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("10", Some(10_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(time(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn addresses_have_an_optional_port() {
        for (text, expected) in [
            ("127.0.0.1", Some("127.0.0.1:53")),
            ("127.0.0.1:5353", Some("127.0.0.1:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("127.0.0.1:0", None),
            ("dns.example", None),
            ("127.0.0.1:", None),
        ] {
            assert_eq!(
                socket_address(text, 53).map(|a| a.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn urls_are_kept_as_they_are_requested() {
        for (text, expected) in [
            ("https://ca.example/dir?x=1", "https://ca.example/dir?x=1"),
            ("https:/ca.example/dir", "https://ca.example/dir"),
            ("https:\\\\CA.example\\dir", "https://ca.example/dir"),
            ("https://b\u{fc}cher.example/a b", "https://xn--bcher-kva.example/a%20b"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("https://ca.example", "https://ca.example/"),
        ] {
            assert_eq!(url("directory", text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn plain_http_does_not_leave_the_machine() {
        for text in
            ["https://ca.example/dir", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost/"]
        {
            assert!(url("directory", text).is_ok(), "{text}");
        }
        for text in [
            "http://ca.example/dir",
            "ftp://ca.example/",
            "ca.example",
            "https://",
            "https://user@ca.example/",
            "https://ca\"example/",
            "https://ca.example/#x",
        ] {
            assert!(url("directory", text).is_err(), "{text}");
        }
    }
}
