//! Mistakes, each of which stops the container with one line.

use super::{Image, SECRET, with};

#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn mistakes_stop_the_container_with_one_line() {
    let image = Image::new();
    for (changes, expected) in [
        (
            &[("ACME_DNS_ACCEPT_TERMS", "")][..],
            "ACME_DNS_ACCEPT_TERMS is not set: ordering certificates means accepting the terms of \
             service of Let's Encrypt (https://letsencrypt.org/repository/), add \
             ACME_DNS_ACCEPT_TERMS=yes if you do",
        ),
        (
            &[("ACME_DNS_ACCEPT_TERMS", "sure")],
            "ACME_DNS_ACCEPT_TERMS: \"sure\" is neither \"yes\" nor \"no\"",
        ),
        (&[("ACME_DNS_STAGING", "ja")], "ACME_DNS_STAGING: \"ja\" is neither \"yes\" nor \"no\""),
        (
            &[("ACME_DNS_STAGING", "yes"), ("ACME_DNS_ISSUER", "zerossl")],
            "ACME_DNS_STAGING: no staging environment of \"zerossl\" is known, set \
             ACME_DNS_DIRECTORY instead",
        ),
        (
            &[("ACME_DNS_STAGING", "yes"), ("ACME_DNS_DIRECTORY", "https://ca.example/")],
            "ACME_DNS_STAGING and ACME_DNS_DIRECTORY contradict each other, set only one of them",
        ),
        (
            &[("ACME_DNS_ISSUER", "letsencypt")],
            "ACME_DNS_ISSUER: \"letsencypt\" is not built in (letsencrypt, letsencrypt-staging, \
             zerossl, google, google-staging and sslcom are), set ACME_DNS_DIRECTORY for another CA",
        ),
        (
            &[("ACME_DNS_ISSUER", "a { }")],
            "ACME_DNS_ISSUER: \"a { }\" is not a name of letters, digits, \"-\" and \"_\"",
        ),
        (
            &[("ACME_DNS_DIRECTORY", "ca.example")],
            "ACME_DNS_DIRECTORY: \"ca.example\" is not a URL: https:// is missing, write \
             https://ca.example",
        ),
        (
            &[("ACME_DNS_DIRECTORY", "https://ca.example/$host")],
            "ACME_DNS_DIRECTORY: \"https://ca.example/$host\" is not a URL",
        ),
        (
            &[("ACME_DNS_TRUSTED_CERTIFICATE", "DIR/missing")],
            "ACME_DNS_TRUSTED_CERTIFICATE: DIR/missing does not exist",
        ),
        (&[("ACME_DNS_EMAIL", "#a@b.c")], "ACME_DNS_EMAIL is not an e-mail address"),
        (&[("ACME_DNS_EMAIL", "you")], "ACME_DNS_EMAIL is not an e-mail address"),
        (
            &[("ACME_DNS_EMAIL", "a@b.c;\n}")],
            "ACME_DNS_EMAIL is not an e-mail address: it has several lines",
        ),
        (
            &[("ACME_DNS_EAB_KEY_ID", "kid")],
            "ACME_DNS_EAB_KEY_ID is set without ACME_DNS_EAB_MAC_KEY_FILE (or \
             ACME_DNS_EAB_MAC_KEY)",
        ),
        (
            &[("ACME_DNS_EAB_MAC_KEY", SECRET)],
            "ACME_DNS_EAB_MAC_KEY is set without ACME_DNS_EAB_KEY_ID",
        ),
        (
            &[("ACME_DNS_PROVIDER", "route 53")],
            "ACME_DNS_PROVIDER: \"route 53\" is not a known DNS provider, docs/providers.md lists them; \
             those that lego, acme.sh, lexicon or a hook of dehydrated knows can be used by the type \
             \"exec\"",
        ),
        (
            &[("ACME_DNS_PROVIDER", "hetzner"), ("PROVIDER", "route53")],
            "ACME_DNS_PROVIDER and PROVIDER contradict each other, set only one of them",
        ),
        (
            &[("PROVIDER", "hetzner")],
            "HETZNER_API_TOKEN_FILE is not set: the provider \"hetzner\" needs it, the name of a file with \
             the secret; HETZNER_API_TOKEN may hold the secret itself",
        ),
        (
            &[("PROVIDER", "route53"), ("AWS_SECRET_ACCESS_KEY", SECRET)],
            "AWS_ACCESS_KEY_ID is not set: the provider \"route53\" needs it",
        ),
        (
            &[("PROVIDER", "hetzner"), ("HETZNER_API_TOKEN", SECRET), ("HETZNER_TOKEN", "another")],
            "HETZNER_API_TOKEN and HETZNER_TOKEN contradict each other, set only one of them",
        ),
        (
            &[("PROVIDER", "hetzner"), ("HETZNER_API_TOKEN_FILE", "DIR/missing")],
            "HETZNER_API_TOKEN_FILE: DIR/missing does not exist",
        ),
        (
            &[
                ("PROVIDER", "hetzner"),
                ("HETZNER_API_TOKEN", SECRET),
                ("HETZNER_TTL", "60; user root"),
            ],
            "HETZNER_TTL: \"60; user root\" has a character that is not allowed here",
        ),
        (
            &[
                ("PROVIDER", "hetzner"),
                ("HETZNER_API_TOKEN", SECRET),
                ("ACME_DNS_PROVIDER_API", "https://api.example"),
            ],
            "ACME_DNS_PROVIDER_API has no effect with the provider \"hetzner\"",
        ),
        (
            &[("ACME_DNS_STATE_PATH", "state")],
            "ACME_DNS_STATE_PATH: \"state\" is not an absolute path",
        ),
        (&[("ACME_DNS_STATE_PATH", "/a b")], "ACME_DNS_STATE_PATH: \"/a b\" is not a path"),
        (
            &[("ACME_DNS_PROPAGATION", "off; user root")],
            "ACME_DNS_PROPAGATION: \"off; user root\" is not made of letters, digits and the \
             characters . _ / @ % + = : , ~ - [ ]",
        ),
        (&[("ACME_DNS_HTTP_PORT", "0")], "ACME_DNS_HTTP_PORT: \"0\" is not a port"),
        (&[("ACME_DNS_HTTPS_PORT", "443 ssl")], "ACME_DNS_HTTPS_PORT: \"443 ssl\" is not a port"),
        (&[("ACME_DNS_HTTPS_PORT", "65536")], "ACME_DNS_HTTPS_PORT: \"65536\" is not a port"),
        (
            &[("ACME_DNS_DOMAINS_FILE", "DIR/missing")],
            "ACME_DNS_DOMAINS_FILE: DIR/missing does not exist",
        ),
        (
            &[("ACME_DNS_IMPORT", "certbot /etc/letsencrypt lego")],
            "ACME_DNS_IMPORT: the absolute path of its directory must follow \"lego\"",
        ),
        (&[("ACME_DNS_KEY", "ec;dsa")], "ACME_DNS_KEY: \"ec;dsa\" is not a type of key"),
        (
            &[("PROXY_PASS", "app:8080")],
            "PROXY_PASS: \"app:8080\" is not a URL: http:// is missing, write http://app:8080",
        ),
        (&[("PROXY_PASS", "http://app;")], "PROXY_PASS: \"http://app;\" is not a URL"),
        (&[("PROXY_PASS", "http://:80")], "PROXY_PASS: \"http://:80\" is not the URL of a host"),
        (&[("PROXY_PASS", "http://a:x")], "PROXY_PASS: \"http://a:x\" is not the URL of a host"),
        (
            &[("PROXY_PASS", "http://a:1:2")],
            "PROXY_PASS: \"http://a:1:2\" is not the URL of a host",
        ),
        (
            &[("PROXY_PASS", "http://unix:/a")],
            "PROXY_PASS: \"http://unix:/a\" is not the URL of a host",
        ),
        (
            &[("PROXY_PASS", "http://app"), ("NGINX_LOCAL_RESOLVERS", "192.0.2.1; user root")],
            "NGINX_LOCAL_RESOLVERS: \"192.0.2.1; user root\" is not a list of addresses",
        ),
        (&[("PROXY_PASS", "http://a/?x=1")], "PROXY_PASS: \"http://a/?x=1\" has a query"),
        (
            &[("PROXY_PASS", "http://u@app")],
            "PROXY_PASS: \"http://u@app\" is not the URL of a host",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", "")],
            "CLOUDFLARE_API_TOKEN_FILE is not set: it names a file with an API token for the zones \
             (Zone / DNS / Edit and Zone / Zone / Read); CLOUDFLARE_API_TOKEN may hold the token \
             itself",
        ),
        (
            &[("CF_Token", "another")],
            "CLOUDFLARE_API_TOKEN and CF_Token contradict each other, set only one of them",
        ),
        (
            &[("CF_Key", SECRET), ("CF_Email", "you@example.com")],
            "CLOUDFLARE_API_TOKEN and CF_Key contradict each other, set only one of them",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN_FILE", "DIR/missing"), ("CLOUDFLARE_API_TOKEN", "x")],
            "CLOUDFLARE_API_TOKEN_FILE: DIR/missing does not exist",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", ""), ("CF_Key", SECRET)],
            "CF_Key is a global API key: it needs the e-mail address of its account in CF_Email",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", ""), ("CF_Key", SECRET), ("CF_Email_FILE", "DIR/secret")],
            "CF_Email_FILE is not an e-mail address",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", ""), ("CF_API_TOKEN_FILE", "DIR")],
            "CF_API_TOKEN_FILE: DIR is not a file",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", ""), ("CF_API_TOKEN_FILE", "DIR/empty")],
            "CF_API_TOKEN_FILE: DIR/empty is empty",
        ),
        (
            &[("CLOUDFLARE_API_TOKEN", ""), ("CF_API_TOKEN_FILE", SECRET)],
            "CF_API_TOKEN_FILE is not the absolute path of a file",
        ),
        (&[("CF_Zone_ID", "a;b")], "CF_Zone_ID is not the ID of a zone"),
    ] {
        let result = image.generate(&with(changes));
        assert_eq!(result, Err(format!("25-acme-dns.sh: {expected}\n")), "{changes:?}");
        assert!(!image.generated().exists(), "{changes:?}");
    }
}

#[test]
fn only_domain_names_are_taken_for_domain_names() {
    let image = Image::new();
    for name in [
        "exa;mple.com",
        "a..b",
        ".",
        "*.",
        "*",
        "a.*.com",
        "*a.com",
        "*.*.a.com",
        "-a.com",
        "a-.com",
        "localhost",
        "192.0.2.1",
        "$host.com",
        "a{b}.com",
        "\"a.com\"",
        "a.com,b.com",
        "b\u{fc}r.de",
        "a.com\\",
        "~a.com",
        "a_b.com",
        "a.com>b",
        "a\\nb.com",
    ] {
        let shown: String =
            name.bytes().map(|b| if b.is_ascii() { char::from(b) } else { '?' }).collect();
        let shown = shown.replace('\\', "\\\\").replace('"', "\\\"");
        let expected =
            format!("25-acme-dns.sh: ACME_DNS_DOMAINS: \"{shown}\" is not a domain name");
        for line in [name.to_owned(), format!("example.com\n# {name}\n\nexample.org {name}")] {
            let result = image.generate(&with(&[("ACME_DNS_DOMAINS", &line)]));
            let error = result.expect_err(&line);
            assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
        }
    }
    let result = image.generate(&with(&[("ACME_DNS_DOMAINS", "a.com b.com\nc.com a.com")]));
    let expected = "25-acme-dns.sh: ACME_DNS_DOMAINS: \"a.com\" is listed twice\n";
    assert_eq!(result, Err(expected.to_owned()));
}

/// Things that people type, and the sentences that help.
const TYPED: [(&str, &str, &str); 31] = [
    ("ACME_DNS_DOMAINS", "example.com http://app:80", "an application follows after \"->\""),
    ("ACME_DNS_DOMAINS", "example.com->http://app", "an application follows after \" -> \""),
    ("ACME_DNS_DOMAINS", "example.com\\nexample.org", "a backslash with \"n\" is no new line"),
    (
        "ACME_DNS_DOMAINS",
        "\"example.com\"",
        "\"\\\"example.com\\\"\" is not a domain name: the quotes",
    ),
    ("ACME_DNS_DOMAINS", "'example.com www.example.com'", "the quotes are a part of the value"),
    ("ACME_DNS_DOMAINS", "*.com", "no CA certifies a wildcard for a whole top-level domain"),
    ("ACME_DNS_DOMAINS", "example.com,www.example.com", "separate names by blanks"),
    ("ACME_DNS_DOMAINS", "example.com, www.example.com", "separate names by blanks"),
    ("ACME_DNS_DOMAINS", "https://example.com/", "a domain name has no http:// before it"),
    ("ACME_DNS_DOMAINS", "example.com/app", "a domain name has no path"),
    ("ACME_DNS_DOMAINS", "example.com:443", "a domain name has no port"),
    ("ACME_DNS_DOMAINS", "192.0.2.1", "an address cannot be certified by DNS"),
    ("ACME_DNS_DOMAINS", "example.com.", "leave out the dot at its end"),
    ("ACME_DNS_DOMAINS", "intranet", "it has no dot"),
    ("ACME_DNS_DOMAINS", "b\u{fc}cher.example", "write internationalized names as xn--"),
    ("ACME_DNS_DOMAINS", "example.com ->", "must have one URL after \"->\""),
    ("ACME_DNS_DOMAINS", "example.com -> http://a http://b", "must have one URL after \"->\""),
    ("ACME_DNS_DOMAINS", "-> http://app", "has no name before \"->\""),
    ("ACME_DNS_DOMAINS", "example.com -> app:3000", "http:// is missing, write http://app:3000"),
    (
        "ACME_DNS_ACCEPT_TERMS",
        "\"yes\"",
        "\"\\\"yes\\\"\" is neither \"yes\" nor \"no\": the quotes",
    ),
    ("ACME_DNS_STAGING", "yes ", "\"yes \" is neither \"yes\" nor \"no\": the blanks at its ends"),
    (
        "ACME_DNS_STAGING",
        "yes\r",
        "\"yes\\r\" is neither \"yes\" nor \"no\": it ends with a carriage",
    ),
    ("PROXY_PASS", "app:3000", "http:// is missing, write http://app:3000"),
    ("PROXY_PASS", "app", "http:// is missing, write http://app"),
    ("PROXY_PASS", "http://localhost:9", "is this container itself"),
    ("PROXY_PASS", "http://127.0.0.1:9", "is this container itself"),
    ("PROXY_PASS", "http://[::1]:9/app", "is this container itself"),
    ("PROXY_PASS", "\"http://app:3000\"", "the quotes are a part of the value"),
    ("ACME_DNS_HTTP_PORT", "8443", "ACME_DNS_HTTP_PORT and ACME_DNS_HTTPS_PORT are both 8443"),
    ("ACME_DNS_MAX_BODY_SIZE", "ten", "\"ten\" is not a size such as 100m"),
    ("ACME_DNS_REAL_IP_FROM", "cloudfare", "\"cloudfare\" is neither \"cloudflare\" nor a network"),
];

#[test]
fn what_people_type_gets_the_sentence_that_helps() {
    let image = Image::new();
    for (name, value, expected) in TYPED {
        let result = image.generate(&with(&[("ACME_DNS_HTTPS_PORT", "8443"), (name, value)]));
        let error = result.expect_err(value);
        assert!(error.contains(expected) && error.lines().count() == 1, "{name}={value}: {error}");
    }
    for value in ["yes", "Yes", "YES", "True", "ON", "1"] {
        let result = image.generate(&with(&[("ACME_DNS_ACCEPT_TERMS", value)]));
        assert_eq!(result, Ok(String::new()), "{value}");
    }
}

#[test]
fn an_nginx_conf_has_to_load_the_module_and_to_read_what_is_generated() {
    let image = Image::new();
    let load = "load_module modules/ngx_http_acme_dns_module.so;\n";
    let dir = image.nginx.dir().display().to_string();
    for (text, expected) in [
        ("events {}\nhttp { include conf.d/*.conf; }\n".to_owned(), "does not load the module"),
        (format!("{load}events {{}}\nhttp {{ }}\n"), "does not include DIR/conf.d/acme_dns.conf"),
        (
            format!("{load}http {{ include sites/*; }}\n"),
            "does not include DIR/conf.d/acme_dns.conf",
        ),
        (format!("{load}http {{ include conf.d/*.conf; }}\n"), ""),
        (
            format!(
                "# own\n\"load_module\" '{dir}/ngx_http_acme_dns_module.so'; http {{\n  include\n    \"{dir}/conf.d/a*.conf\";}}"
            ),
            "",
        ),
    ] {
        image.file("nginx.conf", &text);
        match image.generate(&super::ENOUGH) {
            Err(error) => {
                assert!(!expected.is_empty() && error.contains(expected), "{text}: {error}")
            }
            Ok(said) => assert_eq!((expected, said.as_str()), ("", ""), "{text}"),
        }
    }
}
