//! Variables that are mistyped or that nothing uses, and files that are not replaced.

use super::{ENOUGH, Image, SECRET, with};

#[test]
fn a_mistyped_name_stops_with_the_nearest_one() {
    let image = Image::new();
    for (name, nearest) in [
        ("ACME_DNS_DOMAIN", "ACME_DNS_DOMAINS"),
        ("ACME_DNS_EMIAL", "ACME_DNS_EMAIL"),
        ("ACMEDNS_DOMAINS", "ACME_DNS_DOMAINS"),
        ("ACME_DNSDOMAINS", "ACME_DNS_DOMAINS"),
        ("ACME_DNS_Domains", "ACME_DNS_DOMAINS"),
        ("acme_dns_domains", "ACME_DNS_DOMAINS"),
        ("AMCE_DNS_DOMAINS", "ACME_DNS_DOMAINS"),
        ("ACME_DNS_TERMS", "ACME_DNS_ACCEPT_TERMS"),
        ("ACME_DNS_HTPPS_PORT", "ACME_DNS_HTTPS_PORT"),
        ("ACME_DNS_STATEPATH", "ACME_DNS_STATE_PATH"),
        ("PROXYPASS", "PROXY_PASS"),
        ("PROXY_PAS", "PROXY_PASS"),
    ] {
        let expected = format!(
            "25-acme-dns.sh: {name} is not a variable of this image, the nearest one is {nearest}\n"
        );
        for others in [&ENOUGH[..], &[]] {
            let result = image.generate(&[others, &[(name, "example.com")]].concat());
            assert_eq!(result.as_ref(), Err(&expected), "{name}");
        }
    }
    let others = [
        ("ACME_DNS_PORT", "tcp://10.0.0.1:443"),
        ("ACME_DNS_PORT_443_TCP_ADDR", "10.0.0.1"),
        ("ACME_DNS_HTTP_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("ACME_DNS_SERVICE_HOST", "10.0.0.1"),
        ("ACME_DNS_SERVICE_PORT", "443"),
        ("ACME_DNS_SERVICE_PORT_HTTPS", "443"),
        ("MY_ACME_DNS_SERVICE_HOST", "10.0.0.1"),
        ("ACME_DNS_NAME", "/web/acme_dns"),
        ("ACME_DNS_API_BASE", "https://auth.example.org"),
        ("ACME_DNS_STORAGE_PATH", "/acme-dns"),
        ("ACMEDNS_BASE_URL", "https://auth.example.org"),
        ("ACME_DNS_DOMAIN", ""),
        ("PROXY_PASSWD", "x"),
        ("OTHER", "ACME_DNS_DOMAIN=example.com"),
    ];
    assert_eq!(image.generate(&with(&others)), Ok(String::new()));
    image.file("conf.d/own.conf", "# made with ${ACME_DNS_ZONE}\n");
    assert_eq!(image.generate(&with(&[("ACME_DNS_ZONE", "a.com")])), Ok(String::new()));
    let result = image.generate(&with(&[("CF_ZONE_API_TOKEN", SECRET)]));
    let expected = "25-acme-dns.sh: warning: CF_ZONE_API_TOKEN is not used, the one token needs \
                    Zone / Zone / Read as well\n";
    assert_eq!(result, Ok(expected.to_owned()));
}

/// A server that wants a certificate.
const USER: &str = "server { listen 443 ssl; server_name a.com; acme_dns on; }\n";

#[test]
fn what_nothing_uses_stops_the_container() {
    let image = Image::new();
    for name in [
        "CLOUDFLARE_API_TOKEN",
        "CF_API_TOKEN_FILE",
        "CF_Key",
        "PROVIDER",
        "LEXICON_CLOUDFLARE_TOKEN",
        "LEXICON_X",
    ] {
        let variables = [(name, "cloudflare")];
        let error = image.generate(&variables).expect_err(name);
        let expected = format!("25-acme-dns.sh: {name} is set, but nothing uses it: ");
        assert!(error.starts_with(&expected) && error.contains("ACME_DNS_DOMAINS"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        image.file("conf.d/own.conf", USER);
        assert_eq!(image.generate(&variables), Ok(String::new()), "{name}");
        image.file("conf.d/own.conf", "");
    }
    for without in [&[][..], &with(&[("ACME_DNS_DOMAINS", "")])] {
        let result = image.generate(&[without, &[("PROXY_PASS", "http://app")]].concat());
        let expected = "25-acme-dns.sh: PROXY_PASS has no effect without ACME_DNS_DOMAINS, which says \
                        for which names the application answers\n";
        assert_eq!(result, Err(expected.to_owned()));
    }
    let all = [("ACME_DNS_DOMAINS", "a.com -> http://192.0.2.1"), ("PROXY_PASS", "http://app")];
    let error = image.generate(&with(&all)).expect_err("it has no effect");
    assert!(error.contains("PROXY_PASS has no effect: each line"), "{error}");
}

#[test]
fn a_configuration_in_which_nothing_uses_the_module_says_so() {
    let image = Image::new();
    let definitions = with(&[("ACME_DNS_DOMAINS", "")]);
    let warning = "25-acme-dns.sh: warning: nothing uses acme_dns, so no certificate is obtained or \
                   renewed: set ACME_DNS_DOMAINS, or write \"acme_dns on;\" into a server\n";
    assert_eq!(image.generate(&definitions), Ok(warning.to_owned()));
    image.file("conf.d/own.conf", &USER.replace("on;", "off;"));
    assert_eq!(image.generate(&definitions), Ok(warning.to_owned()));
    image.file("conf.d/own.conf", USER);
    assert_eq!(image.generate(&definitions), Ok(String::new()));
    image.file("conf.d/own.conf", "acme_dns on;\nserver { listen 443 ssl; }\n");
    assert_eq!(image.generate(&definitions), Ok(String::new()));
    image.file("conf.d/own.conf", "");
    image.file("conf.d/acme_dns.conf", "# mine\n");
    assert_eq!(image.generate(&[]), Ok(warning.to_owned()));
}

#[test]
fn only_a_generated_file_is_replaced_or_removed() {
    let image = Image::new();
    assert_eq!(image.generate(&[("ACME_DNS_EMAIL", "")]), Ok(String::new()));
    assert!(!image.generated().exists(), "nothing was asked for");
    assert_eq!(image.generate(&ENOUGH), Ok(String::new()));
    assert_eq!(image.generate(&with(&[("ACME_DNS_DOMAINS", "a.com")])), Ok(String::new()));
    assert!(image.text().contains("server_name a.com;"), "{}", image.text());
    assert_eq!(image.generate(&[]), Ok(String::new()));
    assert!(!image.generated().exists(), "it would go on being used");
    let mine = format!("# mine\n{USER}");
    image.file("conf.d/acme_dns.conf", &mine);
    for variables in [&ENOUGH[..], &[]] {
        let output = image.run("entrypoint/25-acme-dns.sh", variables);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("is your own"), "{output:?}");
        assert_eq!(image.text(), mine);
    }
    let quiet = with(&[("NGINX_ENTRYPOINT_QUIET_LOGS", "1")]);
    assert_eq!(image.run("entrypoint/25-acme-dns.sh", &quiet).stdout, b"");
}

#[test]
fn a_directory_that_is_read_only_is_reported() {
    let image = Image::new();
    image.file(
        "nginx.conf",
        "load_module ngx_http_acme_dns_module.so; http { include /proc/self/*; }",
    );
    // Not even root can write there.
    let result = image.generate(&with(&[("NGINX_ENVSUBST_OUTPUT_DIR", "/proc/self")]));
    let expected = "25-acme-dns.sh: /proc/self/acme_dns.conf cannot be written (read-only file \
                    system?), mount a tmpfs or a volume at /proc/self, or an acme_dns.conf of your \
                    own\n";
    assert_eq!(result, Err(expected.to_owned()));
}
