//! The directive `contact` of an issuer.

use super::text::in_domain;

/// Domains of examples (RFC 2606 section 3), which Let's Encrypt refuses by name.
const EXAMPLES: [&str; 3] = ["example.com", "example.net", "example.org"];

/// Domains that are no public ones (RFC 2606, 6761, 6762, 7686, 8375, 9476), or that are used as if they
/// were reserved: a public CA refuses them.
const NOT_PUBLIC: [&str; 16] = [
    "alt",
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
    "workgroup",
];

/// Reads an address; gives it as a URL.
///
/// # Errors
/// It is no e-mail address, or has what a contact may not have (RFC 8555 section 7.3).
pub(super) fn contact(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let valid = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    let plain = address.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?'));
    if valid && plain {
        Ok(format!("mailto:{address}"))
    } else {
        Err(format!("invalid e-mail address \"{text}\" in \"contact\" directive"))
    }
}

/// The warning that an address cannot be anybody's; to a CA of a private network, addresses of its own
/// domains may be good.
pub(super) fn doubt(url: &str, is_public_ca: bool) -> Option<String> {
    let address = url.strip_prefix("mailto:").unwrap_or(url);
    let (_, domain) = address.split_once('@')?;
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let is_in = |list: &[&str]| list.iter().any(|reserved| in_domain(&domain, reserved));
    let advice = "write an address of yours, or leave out \"contact\"";
    if is_in(&EXAMPLES) {
        Some(format!("\"{address}\" is an address for examples, which CAs refuse: {advice}"))
    } else if is_public_ca && is_in(&NOT_PUBLIC) {
        Some(format!("\"{address}\" is in no public domain, which the CA refuses: {advice}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::doubt;

    #[test]
    fn addresses_that_a_ca_refuses_are_doubted() {
        for (domain, at_public, at_private) in [
            ("example.com", true, true),
            ("Example.NET", true, true),
            ("example.org.", true, true),
            ("mail.example.com", true, true),
            ("example.test", true, false),
            ("x.invalid", true, false),
            ("nas.local", true, false),
            ("router.home.arpa", true, false),
            ("example.de", false, false),
            ("notexample.com", false, false),
            ("example.com.de", false, false),
            ("test.de", false, false),
        ] {
            let url = format!("mailto:you@{domain}");
            let doubts = [true, false].map(|is_public_ca| doubt(&url, is_public_ca).is_some());
            assert_eq!(doubts, [at_public, at_private], "{domain}");
        }
    }
}
