//! URLs that may be requested: those of the configuration, and those that a CA sends.

use url::{Host, Url};

/// Reads an absolute URL with a host, as it is requested: readers of URLs forgive different
/// mistakes, so the text itself could mean another host to one of them. Plain http is accepted only
/// where it does not leave the machine, because what is sent there is a credential.
///
/// # Errors
/// Its fault.
pub fn requestable(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it must not have a user, a password or a fragment".to_owned());
    }
    let why = match (url.scheme(), url.host()) {
        (_, None) => "it has no host",
        (_, Some(host)) if !is_plain(&host) => "its host has an odd character",
        ("https", Some(_)) => return Ok(url),
        ("http", Some(host)) if is_loopback(&host) => return Ok(url),
        ("http", Some(_)) => "only a loopback address can be used without TLS",
        _ => "it must begin with \"https://\"",
    };
    Err(why.to_owned())
}

/// The rule for the URLs that a CA sends. It is that of the configuration, and besides, what is
/// allowed on this machine alone is allowed only to a CA on this machine.
#[derive(Clone, Debug)]
pub struct CaUrls {
    directory: Option<Url>,
}

impl CaUrls {
    /// The rule of the CA with this directory.
    #[must_use]
    pub fn of(directory: &str) -> Self {
        Self { directory: requestable(directory).ok() }
    }

    /// Reads a URL that the CA has sent.
    ///
    /// # Errors
    /// Why it is not requested.
    pub fn check(&self, text: &str) -> Result<Url, String> {
        let url = requestable(text)?;
        let directory = self.directory.as_ref();
        if url.scheme() == "http" && directory.is_none_or(|directory| directory.scheme() != "http")
        {
            return Err("the directory is not reached without TLS either".to_owned());
        }
        let is_local = |url: &Url| url.host().is_some_and(|host| is_local(&host));
        if is_local(&url) && !directory.is_some_and(is_local) {
            return Err("it is on this machine and the directory is not".to_owned());
        }
        Ok(url)
    }

    /// Tells whether a URL that was kept can be one of this CA's: on the same host and port as its
    /// directory or as a resource that the directory names, or on a host of the same domain.
    #[must_use]
    pub fn is_of_ca(&self, text: &str, resource: &str) -> bool {
        let Ok(url) = self.check(text) else { return false };
        let resource = self.check(resource).ok();
        self.directory.iter().chain(&resource).any(|known| is_related(&url, known))
    }
}

fn is_related(url: &Url, known: &Url) -> bool {
    match (url.host(), known.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) if one.contains('.') => {
            is_same_domain(one, other)
        }
        _ => url.origin() == known.origin(),
    }
}

/// Tells whether two names have their last two labels in common.
fn is_same_domain(one: &str, other: &str) -> bool {
    let labels = |name: &str| -> Vec<String> {
        name.trim_end_matches('.').rsplit('.').take(2).map(str::to_ascii_lowercase).collect()
    };
    let labels = (labels(one), labels(other));
    labels.0.len() == 2 && labels.0 == labels.1
}

/// An address, or a name without the characters that other readers of URLs refuse.
pub(crate) fn is_plain(host: &Host<&str>) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !matches!(host, Host::Domain(name) if !name.bytes().all(allowed))
}

/// Tells whether a host is a loopback address.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.to_canonical().is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Tells whether a connection to it ends on this machine, in whatever way it is written.
fn is_local(host: &Host<&str>) -> bool {
    is_loopback(host)
        || match host {
            Host::Ipv4(address) => address.is_unspecified(),
            Host::Ipv6(address) => address.to_canonical().is_unspecified(),
            Host::Domain(name) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
}

#[cfg(test)]
mod tests {
    use super::{CaUrls, requestable};

    const FAR: &str = "https://acme.ca.example/directory";
    const NEAR: &str = "https://127.0.0.1:14000/dir";
    const PLAIN: &str = "http://127.0.0.1:14000/dir";

    #[test]
    fn plain_http_does_not_leave_the_machine() {
        for (text, why) in [
            ("https://ca.example/dir", None),
            ("http://127.0.0.1:1/x", None),
            ("http://127.8.9.1/x", None),
            ("http://[::1]/", None),
            ("http://localhost/", None),
            ("http://ca.example/dir", Some("only a loopback address can be used without TLS")),
            ("ftp://ca.example/", Some("it must begin with \"https://\"")),
            ("file:///etc/passwd", Some("it has no host")),
            ("ca.example", Some("relative URL without a base")),
            ("https://user@ca.example/", Some("it must not have a user, a password or a fragment")),
            ("https://ca.example/#x", Some("it must not have a user, a password or a fragment")),
            ("https://ca\"example/", Some("its host has an odd character")),
        ] {
            let refused = requestable(text).err();
            assert_eq!(refused.as_deref(), why, "{text}");
        }
    }

    #[test]
    fn a_ca_sends_nobody_to_where_its_directory_is_not() {
        let tls = "the directory is not reached without TLS either";
        let local = "it is on this machine and the directory is not";
        let far = "only a loopback address can be used without TLS";
        for (directory, url, why) in [
            (FAR, "https://acme.ca.example/order/1", None),
            (FAR, "https://cdn.other.example/order/1", None),
            (FAR, "http://acme.ca.example/order/1", Some(far)),
            (FAR, "http://127.0.0.1/order/1", Some(tls)),
            (FAR, "http://localhost:8080/order/1", Some(tls)),
            (FAR, "https://127.0.0.1/order/1", Some(local)),
            (FAR, "https://127.1.2.3/order/1", Some(local)),
            (FAR, "https://[::1]/order/1", Some(local)),
            (FAR, "https://[::ffff:127.0.0.1]/order/1", Some(local)),
            (FAR, "https://localhost/order/1", Some(local)),
            (FAR, "https://localhost./order/1", Some(local)),
            (FAR, "https://x.localhost/order/1", Some(local)),
            (FAR, "https://0.0.0.0/order/1", Some(local)),
            (FAR, "https://[::]/order/1", Some(local)),
            (FAR, "https://2130706433/order/1", Some(local)),
            (NEAR, "https://127.0.0.1:15000/order/1", None),
            (NEAR, "http://127.0.0.1:14000/order/1", Some(tls)),
            (PLAIN, "http://127.0.0.1:14000/order/1", None),
            (PLAIN, "https://[::1]/order/1", None),
            (PLAIN, "http://ca.example/order/1", Some(far)),
            ("no URL", "https://127.0.0.1/order/1", Some(local)),
        ] {
            let refused = CaUrls::of(directory).check(url).err();
            assert_eq!(refused.as_deref(), why, "{directory} {url}");
        }
    }

    #[test]
    fn a_kept_url_belongs_to_the_ca_or_not() {
        for (directory, url, expected) in [
            (FAR, "https://acme.ca.example/order/1", true),
            (FAR, "https://ACME.CA.example:8443/order/1", true),
            (FAR, "https://orders.ca.example/order/1", true),
            (FAR, "https://api.elsewhere.example/order/1", true),
            (FAR, "https://acme.other.example/order/1", false),
            (FAR, "https://example/order/1", false),
            (FAR, "https://badca.example/order/1", false),
            (FAR, "http://acme.ca.example/order/1", false),
            (FAR, "https://192.0.2.1/order/1", false),
            (NEAR, "https://127.0.0.1:14000/order/1", true),
            (NEAR, "https://127.0.0.1:15000/order/1", false),
            (NEAR, "https://localhost:14000/order/1", false),
            ("https://localhost:1/dir", "https://localhost:1/order/1", true),
            ("https://localhost:1/dir", "https://localhost:2/order/1", false),
        ] {
            let resource = "https://api.elsewhere.example/new-order";
            let is_of_ca = CaUrls::of(directory).is_of_ca(url, resource);
            assert_eq!(is_of_ca, expected, "{directory} {url}");
        }
    }
}
