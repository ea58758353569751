//! DNS providers, by the names that lego, acme.sh and lexicon have given them and their settings.

use super::{ENOUGH, Image, SECRET};

/// Content of a block, without the directory.
fn block(image: &Image) -> String {
    let text = image.text();
    let begin = text.find("acme_dns_provider ").expect("a provider");
    let end = begin + text[begin..].find("\n}").expect("an end");
    text[begin..end].replace(&image.nginx.dir().display().to_string(), "DIR")
}

/// The variables that are enough but for the provider's.
fn with<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&ENOUGH[..2], variables].concat()
}

#[test]
fn blocks_are_made_of_the_variables_of_others() {
    let image = Image::new();
    let hetzner = "acme_dns_provider hetzner {\n    token";
    for (variables, expected) in [
        (&[("PROVIDER", "hetzner"), ("HETZNER_API_TOKEN", SECRET)][..], format!("{hetzner} env:HETZNER_API_TOKEN;")),
        (
            &[("PROVIDER", "Hetzner"), ("HETZNER_API_TOKEN_FILE", "DIR/secret")],
            format!("{hetzner}_file DIR/secret;"),
        ),
        (
            &[("ACME_DNS_PROVIDER", "hetzner"), ("LEXICON_HETZNER_AUTH_TOKEN", SECRET), ("HETZNER_TTL", "120")],
            format!("{hetzner} env:LEXICON_HETZNER_AUTH_TOKEN;\n    ttl 120;"),
        ),
        (
            &[("PROVIDER", "aws"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY_FILE", "DIR/secret")],
            "acme_dns_provider route53 {\n    access_key_id AKIA;\n    secret_access_key_file DIR/secret;".to_owned(),
        ),
        (
            &[("PROVIDER", "nsone"), ("LEXICON_NSONE_TOKEN", SECRET)],
            "acme_dns_provider ns1 {\n    api_key env:LEXICON_NSONE_TOKEN;".to_owned(),
        ),
        (
            &[
                ("PROVIDER", "namecheap"),
                ("NAMECHEAP_API_USER", "me"),
                ("NAMECHEAP_API_KEY", SECRET),
                ("NAMECHEAP_CLIENT_IP", "192.0.2.1"),
                ("NAMECHEAP_ZONE_REWRITE", "yes"),
            ],
            "    client_ip 192.0.2.1;\n    zone_rewrite on;".to_owned(),
        ),
    ] {
        assert_eq!(image.generate(&with(variables)), Ok(String::new()), "{variables:?}");
        let block = block(&image);
        assert!(block.contains(&expected), "{expected}\n{block}");
        assert!(!block.contains(SECRET), "{block}");
    }
}

#[test]
fn blocks_of_own_types_are_accepted_by_nginx() {
    let image = Image::new();
    let variables: [&[(&str, &str)]; 5] = [
        &[
            ("PROVIDER", "pdns"),
            ("PDNS_API_URL", "http://127.0.0.1:1"),
            ("PDNS_API_KEY_FILE", "DIR/secret"),
        ],
        &[
            ("PROVIDER", "powerdns"),
            ("ACME_DNS_PROVIDER_API", "http://127.0.0.1:1"),
            ("LEXICON_POWERDNS_TOKEN_FILE", "DIR/secret"),
        ],
        &[("PROVIDER", "duckdns"), ("DuckDNS_Token_FILE", "DIR/uuid")],
        &[
            ("ACME_DNS_PROVIDER", "httpreq"),
            ("HTTPREQ_ENDPOINT", "http://127.0.0.1:1"),
            ("HTTPREQ_USERNAME", "me"),
            ("HTTPREQ_PASSWORD_FILE", "DIR/secret"),
        ],
        &[
            ("PROVIDER", "rfc2136"),
            ("RFC2136_NAMESERVER", "127.0.0.1:5353"),
            ("RFC2136_TSIG_KEY", "key.example"),
            ("RFC2136_TSIG_ALGORITHM", "hmac-sha512"),
            ("RFC2136_TSIG_SECRET_FILE", "DIR/tsig"),
        ],
    ];
    image.file("uuid", "01234567-89ab-cdef-0123-456789abcdef");
    image.file("tsig", "c2VjcmV0IG9mIHNpeHRlZQ==");
    let state_path = image.state_path();
    for variables in variables {
        let mut variables = with(variables);
        variables.push(("ACME_DNS_STATE_PATH", &state_path));
        assert_eq!(image.generate(&variables), Ok(String::new()), "{variables:?}");
        let (good, said) = image.nginx.test();
        assert!(good, "{said}{}", image.text());
    }
}

#[test]
fn a_provider_of_ones_own_is_enough() {
    let image = Image::new();
    image.file("conf.d/provider.conf", "acme_dns_provider own exec { command /usr/bin/true; }");
    assert_eq!(image.generate(&ENOUGH[..2]), Ok(String::new()));
    assert!(!image.text().contains("acme_dns_provider"), "{}", image.text());
    // One that is asked for is there, too.
    assert_eq!(image.generate(&ENOUGH), Ok(String::new()));
    assert!(image.text().contains("acme_dns_provider cloudflare {"), "{}", image.text());
}
