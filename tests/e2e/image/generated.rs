//! Generated configurations, which nginx accepts.

use super::{ENOUGH, Image, SECRET, application, with};

#[test]
fn configurations_are_accepted_by_nginx_and_hold_no_secret() {
    let mut image = Image::new();
    image.nginx.env("CLOUDFLARE_API_TOKEN", SECRET);
    image.nginx.env("ACME_DNS_EAB_MAC_KEY", "c2VjcmV0");
    let state_path = image.state_path();
    let local = format!("http://localhost:{}", application());
    let long = format!("{}.example.com", "a".repeat(60));
    for (changes, expected) in [
        (&[][..], "server_name example.com *.example.com;"),
        (&[("ACME_DNS_EMAIL", "you@example.dev")], "    contact you@example.dev;"),
        (
            &[("ACME_DNS_DOMAINS", ".a.com\r\n# b.com\n\n\tc.com # d.com")],
            "server_name .a.com c.com;",
        ),
        (&[("ACME_DNS_DOMAINS", &long)], "server_names_hash_bucket_size 512;"),
        (&[("ACME_DNS_STAGING", "yes")], "acme_dns_issuer letsencrypt-staging {"),
        (&[("ACME_DNS_STAGING", "off")], "acme_dns_issuer letsencrypt {"),
        (
            &[("ACME_DNS_STAGING", "true"), ("ACME_DNS_ISSUER", "google")],
            "acme_dns_issuer google-staging {",
        ),
        (
            &[("ACME_DNS_DIRECTORY", "https://ca.example/acme?a=b")],
            "acme_dns_issuer acme {\n    accept_terms_of_service;\n    \
             directory https://ca.example/acme?a=b;\n}",
        ),
        (
            &[("ACME_DNS_EAB_KEY_ID", "k-1"), ("ACME_DNS_EAB_MAC_KEY", "c2VjcmV0")],
            "external_account k-1 env:ACME_DNS_EAB_MAC_KEY;",
        ),
        (&[("ACME_DNS_PROFILE", "shortlived require")], "profile shortlived require;"),
        (&[("ACME_DNS_KEY", "ecdsa:384,rsa:2048")], "acme_dns on key=ecdsa:384,rsa:2048;"),
        (
            &[("ACME_DNS_DOMAINS_FILE", "DIR/domains.txt"), ("ACME_DNS_KEY", "rsa:4096")],
            "/domains.txt key=rsa:4096;\n",
        ),
        (&[("ACME_DNS_IMPORT", "certbot DIR/bin lego DIR/conf.d")], "/bin;\nacme_dns_import lego "),
        (&[("ACME_DNS_PROPAGATION", "off delay=30s")], "acme_dns_propagation off delay=30s;"),
        (&[("ACME_DNS_PROVIDER_API", "http://127.0.0.1:1/v4")], "api http://127.0.0.1:1/v4;"),
        (&[("CF_Zone_ID", "0a1b")], "zone_id 0a1b;"),
        (&[("CF_Token", SECRET)], "token env:CLOUDFLARE_API_TOKEN;"),
        (&[("PROXY_PASS", "http://192.0.2.1:80/b/")], "$acme_dns_upstream http://192.0.2.1:80/b;"),
        (&[("PROXY_PASS", "http://192.0.2.1/a:b")], "$acme_dns_upstream http://192.0.2.1/a:b;"),
        (&[("PROXY_PASS", "http://[2001:db8::1]")], "$acme_dns_upstream http://[2001:db8::1];"),
        (
            &[("PROXY_PASS", "http://[2001:db8::1]:80")],
            "$acme_dns_upstream http://[2001:db8::1]:80;",
        ),
        (&[("PROXY_PASS", "https://[2001:db8::1]:80")], "proxy_ssl_name [2001:db8::1];"),
        (&[("PROXY_PASS", "https://app.invalid:1/x")], "proxy_ssl_name app.invalid;"),
        (&[("PROXY_PASS", &local)], "$acme_dns_upstream http://127.0.0.1:"),
        (&[("ACME_DNS_MAX_BODY_SIZE", "5m")], "    client_max_body_size 5m;"),
        (&[], "    client_max_body_size 100m;"),
        (&[("ACME_DNS_HTTP3", "yes")], " quic default_server reuseport;"),
        (&[("ACME_DNS_HTTP3", "yes"), ("ACME_DNS_DEFAULT_SERVER", "no")], " quic reuseport;"),
        (&[("ACME_DNS_HTTP3", "yes")], "    add_header Alt-Svc 'h3=\":443\"; ma=86400' always;"),
        (&[("ACME_DNS_HSTS", "Yes")], "Strict-Transport-Security \"max-age=31536000\" always;"),
        (
            &[("ACME_DNS_HSTS", "60 includeSubDomains preload")],
            "\"max-age=60; includeSubDomains; preload\"",
        ),
        (&[("ACME_DNS_REAL_IP_FROM", "cloudflare")], "set_real_ip_from 173.245.48.0/20;\n"),
        (&[("ACME_DNS_REAL_IP_FROM", "cloudflare")], "    real_ip_header CF-Connecting-IP;\n"),
        (
            &[("ACME_DNS_REAL_IP_FROM", "10.0.0.0/8 fd00::/8")],
            "    real_ip_header X-Forwarded-For;\n",
        ),
        (
            &[
                ("ACME_DNS_DOMAINS", "a.com b.com\t->  http://192.0.2.1:8080/\nc.com"),
                ("PROXY_PASS", "http://192.0.2.2"),
            ],
            "$acme_dns_upstream http://192.0.2.1:8080;",
        ),
        (
            &[("PROXY_PASS", "https://app.invalid"), ("NGINX_LOCAL_RESOLVERS", "192.0.2.1 [::1]")],
            "resolver 192.0.2.1 [::1] valid=10s",
        ),
        (
            &[("PROXY_PASS", "https://app.invalid:1/x")],
            "$acme_dns_upstream https://app.invalid:1/x;",
        ),
    ] {
        let changes = with(&[&[("ACME_DNS_STATE_PATH", state_path.as_str())], changes].concat());
        assert_eq!(image.generate(&changes), Ok(String::new()), "{changes:?}");
        check(&image, expected);
    }
}

/// Names that others have for an API token.
const TOKENS: [&str; 7] = [
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_DNS_API_TOKEN",
    "CF_DNS_API_TOKEN",
    "CF_API_TOKEN",
    "CF_Token",
    "LEXICON_CLOUDFLARE_TOKEN",
    "LEXICON_CLOUDFLARE_AUTH_TOKEN",
];

/// Names that others have for a global API key, and for the address of its account.
const KEYS: [(&str, &str); 5] = [
    ("CLOUDFLARE_API_KEY", "CLOUDFLARE_EMAIL"),
    ("CF_API_KEY", "CF_API_EMAIL"),
    ("CF_Key", "CF_Email"),
    ("LEXICON_CLOUDFLARE_TOKEN", "LEXICON_CLOUDFLARE_USERNAME"),
    ("LEXICON_CLOUDFLARE_AUTH_TOKEN", "LEXICON_CLOUDFLARE_AUTH_USERNAME"),
];

/// nginx accepts what was generated, which has this text and no secret.
fn check(image: &Image, expected: &str) {
    let text = image.text();
    assert!(text.contains(expected), "{expected}:\n{text}");
    assert!(!text.contains(SECRET), "{text}");
    let (good, said) = image.nginx.test();
    assert!(good && !said.contains("[warn]"), "{said}{text}");
}

#[test]
fn credentials_are_understood_under_their_usual_names() {
    let mut image = Image::new();
    for name in TOKENS.iter().chain(KEYS.iter().map(|(key, _)| key)) {
        image.nginx.env(name, SECRET);
    }
    image.file("address", "you@example.com\n");
    let state_path = image.state_path();
    let base = [
        ("ACME_DNS_ACCEPT_TERMS", "yes"),
        ("ACME_DNS_DOMAINS", "example.com"),
        ("ACME_DNS_STATE_PATH", state_path.as_str()),
    ];
    let file = format!("{}/secret", image.nginx.dir().display());
    let generate = |credentials: &[(&str, &str)], expected: &str| {
        let result = image.generate(&[&base, credentials].concat());
        assert_eq!(result, Ok(String::new()), "{credentials:?}");
        check(&image, expected);
    };
    for token in TOKENS {
        generate(&[(token, SECRET)], &format!("    token env:{token};\n"));
        generate(&[(&format!("{token}_FILE"), &file)], &format!("    token_file {file};\n"));
    }
    for (key, email) in KEYS {
        let address = (email, "you@example.com");
        generate(&[(key, SECRET), address], &format!("email you@example.com; key env:{key};\n"));
        let files = [(&*format!("{key}_FILE"), &*file), (&*format!("{email}_FILE"), "DIR/address")];
        generate(&files, &format!("email you@example.com; key_file {file};\n"));
    }
}

#[test]
fn http2_is_written_as_each_nginx_wants_it() {
    let image = Image::new();
    for (version, parameter) in [
        ("1.22.1", true),
        ("1.25.0", true),
        ("1.25.1", false),
        ("1.28.3 (Debian)", false),
        ("1.30.0", false),
    ] {
        image.program("nginx", &format!("echo 'nginx version: nginx/{version}' >&2"));
        assert_eq!(image.generate(&ENOUGH), Ok(String::new()), "{version}");
        let text = image.text();
        assert_eq!(text.contains(" ssl http2;\n"), parameter, "{version}:\n{text}");
        assert_eq!(text.contains("    http2 on;\n"), !parameter, "{version}:\n{text}");
    }
}

#[test]
fn a_default_server_of_somebody_else_and_limits_for_all_are_respected() {
    let image = Image::new();
    let ports = [("ACME_DNS_HTTP_PORT", "8080"), ("ACME_DNS_HTTPS_PORT", "8443")];
    for (own, http, https) in [
        ("", true, true),
        ("server { listen 8080 default_server; }", false, true),
        ("server { listen [::]:8443 ssl default_server; }", true, false),
        ("server { listen *:8080 default; listen 0.0.0.0:8443 ssl default_server; }", false, false),
        (
            "server { listen 192.0.2.1:8080 default_server; listen 9443 default_server; }",
            true,
            true,
        ),
        ("# listen 8080 default_server;", true, true),
    ] {
        image.file("conf.d/own.conf", own);
        for _ in 0..2 {
            assert_eq!(image.generate(&with(&ports)), Ok(String::new()), "{own}");
            let text = image.text();
            assert_eq!(text.contains("listen 8080 default_server;"), http, "{own}:\n{text}");
            assert_eq!(text.contains("ssl_reject_handshake on;"), https, "{own}:\n{text}");
        }
    }
    image.file("conf.d/own.conf", "client_max_body_size 1g;");
    assert_eq!(image.generate(&with(&[("ACME_DNS_DEFAULT_SERVER", "no")])), Ok(String::new()));
    let text = image.text();
    assert!(!text.contains("default_server") && !text.contains("client_max_body_size"), "{text}");
}
