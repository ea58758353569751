//! The scripts of the image, without the image: configuration from the environment, and the health
//! check.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509Builder;
use testbed::Testbed;
use testbed::bed::ZONE;
use testbed::nginx::Nginx;
use testbed::nginx_build::NginxBuild;
use testbed::paths::workspace_dir;
use testbed::ports::Port;
use testbed::process::wait_until;
use testbed::tls::TlsClient;

use crate::site::LIMIT;

/// In every variable that holds a secret.
const SECRET: &str = "c0ffee5ec2e7c0ffee5ec2e7";

/// What is enough.
const ENOUGH: [(&str, &str); 3] = [
    ("ACME_DNS_DOMAINS", "example.com *.example.com"),
    ("ACME_DNS_ACCEPT_TERMS", "yes"),
    ("CLOUDFLARE_API_TOKEN", SECRET),
];

/// A directory that looks like the image to its scripts.
struct Image {
    nginx: Nginx,
    http: Port,
    https: Port,
}

impl Image {
    fn new() -> Self {
        let mut nginx = Nginx::new(NginxBuild::get());
        for name in ["bin", "conf.d"] {
            fs::create_dir(nginx.dir().join(name)).expect("it can be made");
        }
        let dir = nginx.dir().display();
        // As that of the image, with the directories of a test.
        let mut text = format!(
            "load_module modules/ngx_http_acme_dns_module.so;\n\
             user nobody nogroup; acme_dns_user daemon daemon;\n\
             worker_processes 1;\nerror_log {dir}/error.log notice;\npid {dir}/nginx.pid;\n\
             events {{\n    worker_connections 1024;\n}}\nhttp {{\n    \
             default_type application/octet-stream;\n    access_log off;\n"
        );
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text.push_str(&format!("    {name}_temp_path {dir}/temp/{name};\n"));
        }
        text.push_str(&format!("    include {dir}/conf.d/*.conf;\n}}\n"));
        nginx.config(text);
        let image = Self { nginx, http: Port::reserve(), https: Port::reserve() };
        let binary = NginxBuild::get().binary.display();
        image.program("nginx", &format!("exec {binary} \"$@\""));
        image.file("secret", SECRET);
        image.file("empty", "");
        image.file("domains.txt", "example.net > net\n");
        image
    }

    /// A program before all others.
    fn program(&self, name: &str, script: &str) {
        let path = self.nginx.dir().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    }

    fn file(&self, name: &str, text: &str) {
        self.nginx.add_file(name, text);
    }

    fn generated(&self) -> PathBuf {
        self.nginx.dir().join("conf.d/acme_dns.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.generated()).expect("a configuration was generated")
    }

    /// Runs one of the scripts with these variables; `DIR` stands for the directory.
    fn run(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        let dir = self.nginx.dir().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.arg(workspace_dir().join("docker").join(script));
        command.arg(self.nginx.dir().join("nginx.conf"));
        command.env_clear().env("PATH", format!("{dir}/bin:{path}"));
        command.env("NGINX_ENVSUBST_OUTPUT_DIR", format!("{dir}/conf.d"));
        command.env("ACME_DNS_HTTP_PORT", self.http.number().to_string());
        command.env("ACME_DNS_HTTPS_PORT", self.https.number().to_string());
        for (name, value) in variables {
            command.env(name, value.replace("DIR", &dir));
        }
        command.output().expect("sh runs")
    }

    /// Generates the configuration; gives what is written to the standard error.
    fn generate(&self, variables: &[(&str, &str)]) -> Result<String, String> {
        let output = self.run("entrypoint/25-acme-dns.sh", variables);
        let [out, error] = [&output.stdout, &output.stderr].map(|o| String::from_utf8_lossy(o));
        assert!(!out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
        let error = error.replace(&self.nginx.dir().display().to_string(), "DIR");
        if output.status.success() { Ok(error) } else { Err(error) }
    }

    /// The health check: what it says, if not all is well.
    fn health(&self) -> Result<(), String> {
        let state_path = self.state_path();
        let output = self.run("healthcheck", &[("ACME_DNS_STATE_PATH", &state_path)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        if output.status.success() { Ok(()) } else { Err(text) }
    }

    fn state_path(&self) -> String {
        self.nginx.dir().join("acme_dns").display().to_string()
    }

    /// What curl gets, with the header of the answer.
    fn curl(&self, roots: &str, url: &str, arguments: &[&str]) -> String {
        self.file("roots.pem", roots);
        let url = url
            .replace("HTTPS", &self.https.number().to_string())
            .replace("HTTP", &self.http.number().to_string());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--noproxy", "*", "--cacert"]);
        command.arg(self.nginx.dir().join("roots.pem"));
        command.args(["--connect-to", "::127.0.0.1:"]).args(arguments).arg(url);
        let output = command.output().expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What is enough with other values; an empty one is as good as none.
fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    ENOUGH.iter().chain(changes).copied().collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn mistakes_stop_the_container_with_one_line() {
    let image = Image::new();
    for (changes, expected) in [
        (
            &[("ACME_DNS_ACCEPT_TERMS", "")][..],
            "ACME_DNS_ACCEPT_TERMS is not set: ordering certificates means accepting the terms of \
             service of Let's Encrypt (https://letsencrypt.org/repository/), set it to \"yes\" if \
             you do",
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
            "ACME_DNS_DIRECTORY: \"ca.example\" is not a URL",
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
        (&[("ACME_DNS_EMAIL", "a@b.c;\n}")], "ACME_DNS_EMAIL is not an e-mail address"),
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
            &[("ACME_DNS_PROVIDER", "route53")],
            "ACME_DNS_PROVIDER: \"route53\" is not a known DNS provider, \"cloudflare\" is the \
             only one",
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
            "ACME_DNS_IMPORT: behind \"lego\" the absolute path of its directory is missing",
        ),
        (&[("ACME_DNS_KEY", "ec;dsa")], "ACME_DNS_KEY: \"ec;dsa\" is not a type of key"),
        (&[("PROXY_PASS", "app:8080")], "PROXY_PASS: \"app:8080\" is not a URL"),
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
            &[("CLOUDFLARE_API_TOKEN_FILE", "DIR/nginx.conf"), ("CLOUDFLARE_API_TOKEN", "x")],
            "CLOUDFLARE_API_TOKEN_FILE: DIR/nginx.conf does not exist",
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
        let expected =
            format!("25-acme-dns.sh: ACME_DNS_DOMAINS: \"{shown}\" is not a domain name\n");
        for line in [name.to_owned(), format!("example.com\n# {name}\n\nexample.org {name}")] {
            let result = image.generate(&with(&[("ACME_DNS_DOMAINS", &line)]));
            assert_eq!(result.as_ref(), Err(&expected), "{line}");
        }
    }
    let result = image.generate(&with(&[("ACME_DNS_DOMAINS", "a.com b.com\nc.com a.com")]));
    let expected = "25-acme-dns.sh: ACME_DNS_DOMAINS: \"a.com\" is there twice\n";
    assert_eq!(result, Err(expected.to_owned()));
}

#[test]
fn configurations_are_accepted_by_nginx_and_hold_no_secret() {
    let mut image = Image::new();
    image.nginx.env("CLOUDFLARE_API_TOKEN", SECRET);
    image.nginx.env("ACME_DNS_EAB_MAC_KEY", "c2VjcmV0");
    let state_path = image.state_path();
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
        (&[("ACME_DNS_DOMAINS", "")], "}\n"),
        (&[("PROXY_PASS", "http://192.0.2.1:80/b/")], "$acme_dns_upstream http://192.0.2.1:80/b;"),
        (&[("PROXY_PASS", "http://192.0.2.1/a:b")], "$acme_dns_upstream http://192.0.2.1/a:b;"),
        (&[("PROXY_PASS", "http://[::1]")], "$acme_dns_upstream http://[::1];"),
        (&[("PROXY_PASS", "http://[::1]:80")], "$acme_dns_upstream http://[::1]:80;"),
        (&[("PROXY_PASS", "https://[::1]:80")], "proxy_ssl_name [::1];"),
        (&[("PROXY_PASS", "https://app.invalid:1/x")], "proxy_ssl_name app.invalid;"),
        (&[("PROXY_PASS", "http://localhost")], "$acme_dns_upstream http://127.0.0.1;"),
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

/// What others call an API token.
const TOKENS: [&str; 7] = [
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_DNS_API_TOKEN",
    "CF_DNS_API_TOKEN",
    "CF_API_TOKEN",
    "CF_Token",
    "LEXICON_CLOUDFLARE_TOKEN",
    "LEXICON_CLOUDFLARE_AUTH_TOKEN",
];

/// What others call a global API key, and the address of its account.
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
    let base = [("ACME_DNS_ACCEPT_TERMS", "yes"), ("ACME_DNS_STATE_PATH", state_path.as_str())];
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
fn names_that_are_not_there_are_reported() {
    let image = Image::new();
    let changes = [
        ("ACME_DNS_EMIAL", "you@example.com"),
        ("CF_ZONE_API_TOKEN", SECRET),
        ("ACME_DNS_DOMAINS", ""),
        ("PROXY_PASS", "http://app"),
    ];
    let expected = "25-acme-dns.sh: warning: ACME_DNS_EMIAL is not a variable of this image\n\
                    25-acme-dns.sh: warning: CF_ZONE_API_TOKEN is not used, the one token needs \
                    Zone / Zone / Read as well\n\
                    25-acme-dns.sh: warning: PROXY_PASS has no effect without ACME_DNS_DOMAINS\n";
    assert_eq!(image.generate(&with(&changes)), Ok(expected.to_owned()));
}

#[test]
fn only_a_generated_file_is_replaced_or_removed() {
    let image = Image::new();
    let ports = [("ACME_DNS_EMAIL", ""), ("CF_API_TOKEN", SECRET)];
    assert_eq!(image.generate(&ports), Ok(String::new()));
    assert!(!image.generated().exists(), "nothing was asked for");
    assert_eq!(image.generate(&ENOUGH), Ok(String::new()));
    assert_eq!(image.generate(&with(&[("ACME_DNS_DOMAINS", "a.com")])), Ok(String::new()));
    assert!(image.text().contains("server_name a.com;"), "{}", image.text());
    assert_eq!(image.generate(&[]), Ok(String::new()));
    assert!(!image.generated().exists(), "it would go on being used");
    image.file("conf.d/acme_dns.conf", "# mine\n");
    for variables in [&ENOUGH[..], &[]] {
        let output = image.run("entrypoint/25-acme-dns.sh", variables);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("is your own"), "{output:?}");
        assert_eq!(image.text(), "# mine\n");
    }
    let quiet = with(&[("NGINX_ENTRYPOINT_QUIET_LOGS", "1")]);
    assert_eq!(image.run("entrypoint/25-acme-dns.sh", &quiet).stdout, b"");
}

#[test]
fn a_directory_that_is_read_only_is_reported() {
    let image = Image::new();
    // Not even root can write there.
    let result = image.generate(&with(&[("NGINX_ENVSUBST_OUTPUT_DIR", "/proc/self")]));
    let expected = "25-acme-dns.sh: /proc/self/acme_dns.conf cannot be written (read-only file \
                    system?), mount a tmpfs or a volume at /proc/self, or an acme_dns.conf of your \
                    own\n";
    assert_eq!(result, Err(expected.to_owned()));
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

/// An application that answers every request with what it was sent.
fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let mut request = [0; 4096];
            let length = connection.read(&mut request).expect("a request");
            let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            connection.write_all(header.as_bytes()).expect("it is sent");
            connection.write_all(&request[..length]).expect("it is sent");
        }
    });
    port
}

/// Variables with which a certificate is obtained from the testbed.
fn of(bed: &Testbed, state_path: &str) -> Vec<(&'static str, String)> {
    let propagation = bed.propagation();
    let propagation = propagation.trim_start_matches("acme_dns_propagation ").trim();
    vec![
        ("ACME_DNS_DOMAINS", format!("{ZONE} *.{ZONE}\nother.{ZONE}")),
        ("ACME_DNS_ACCEPT_TERMS", "yes".to_owned()),
        ("ACME_DNS_EMAIL", format!("you@{ZONE}")),
        ("ACME_DNS_DIRECTORY", bed.pebble.directory_url()),
        ("ACME_DNS_TRUSTED_CERTIFICATE", bed.pebble.ca_file().display().to_string()),
        ("ACME_DNS_PROVIDER_API", bed.cloudflare.api_url()),
        ("ACME_DNS_PROPAGATION", propagation.trim_end_matches(';').to_owned()),
        ("ACME_DNS_STATE_PATH", state_path.to_owned()),
        ("CF_API_TOKEN_FILE", bed.token_file().display().to_string()),
    ]
}

#[test]
fn a_certificate_is_obtained_and_served_and_the_health_check_says_so() {
    let bed = Testbed::start();
    let mut image = Image::new();
    let mut variables = of(&bed, &image.state_path());
    let generate = |image: &Image, variables: &[(&'static str, String)]| {
        let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(image.generate(&variables), Ok(String::new()));
    };
    let pid_file = image.nginx.dir().join("nginx.pid");
    let error = image.health().expect_err("nginx does not run");
    assert!(error.starts_with("NGINX does not run: there is no "), "{error}");

    // Nothing can be obtained, and the application is not there.
    let good =
        std::mem::replace(&mut variables[8].1, format!("{}/secret", image.nginx.dir().display()));
    variables.push(("PROXY_PASS", "http://app.invalid:8080".to_owned()));
    generate(&image, &variables);
    image.nginx.start();
    let expected = format!("there is no certificate for {ZONE} yet: see the log\n");
    assert_eq!(image.health(), Err(expected));

    // Another environment means another container, with the same volume.
    image.nginx.stop();
    variables[8].1 = good;
    let application = application();
    variables[9].1 = format!("http://localhost:{application}/base/");
    generate(&image, &variables);
    image.nginx.start();
    let healthy = wait_until(LIMIT, || image.health().ok());
    assert!(healthy.is_some(), "{:?}\n{}", image.health(), image.nginx.log());

    let roots = bed.pebble.root_pem(0);
    for name in [ZONE, "any.example.test", "other.example.test"] {
        let client = TlsClient::new(image.https.addr()).sni(name).roots(&roots);
        client.handshake().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let moved = image.curl(&roots, "http://any.example.test:HTTP/a?b=c", &[]);
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(moved.contains("Location: https://any.example.test/a?b=c\r\n"), "{moved}");
    let sent = image.curl(&roots, "https://any.example.test:HTTPS/a%20b/?c=d", &[]);
    for part in [
        "HTTP/2 200",
        "GET /base/a%20b/?c=d HTTP/1.1\r\n",
        "Host: any.example.test\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-Host: any.example.test\r\n",
        "X-Forwarded-Proto: https\r\n",
    ] {
        assert!(sent.contains(part), "{part}:\n{sent}{}", image.nginx.log());
    }
    let upgrade = ["--http1.1", "-H", "Upgrade: websocket", "-H", "Connection: upgrade"];
    let sent = image.curl(&roots, "https://example.test:HTTPS/", &upgrade);
    assert!(sent.contains("Upgrade: websocket\r\nConnection: upgrade\r\n"), "{sent}");
    let log = image.nginx.log();
    assert!(!log.contains(bed.token()) && !image.text().contains(bed.token()), "{log}");

    image.nginx.stop();
    fs::write(&pid_file, "999999999\n").expect("it can be written");
    let error = image.health().expect_err("nginx does not run");
    assert!(error.contains("names the process 999999999, which is not NGINX"), "{error}");
}

/// A certificate that has expired, and its key, in PEM.
fn expired() -> (String, String) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("the curve is known");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut builder = X509Builder::new().expect("a certificate");
    let at = |seconds| Asn1Time::from_unix(seconds).expect("a time");
    builder.set_not_before(&at(1_000_000_000)).expect("a time");
    builder.set_not_after(&at(1_000_000_001)).expect("a time");
    builder.set_pubkey(&key).expect("a key");
    builder.sign(&key, MessageDigest::sha256()).expect("a signature");
    let certificate = builder.build().to_pem().expect("PEM");
    let key = key.private_key_to_pem_pkcs8().expect("PEM");
    let [certificate, key] = [certificate, key].map(|pem| String::from_utf8(pem).expect("text"));
    (certificate, key)
}

#[test]
fn a_certificate_that_has_expired_is_unhealthy() {
    let mut image = Image::new();
    let (certificate, key) = expired();
    image.file("expired.pem", &certificate);
    image.file("expired.key", &key);
    let (dir, port) = (image.nginx.dir().display(), image.https.number());
    let text = format!(
        "# Generated by 25-acme-dns.sh\nserver {{\n    listen {port} ssl;\n    \
         server_name *.a.com;\n    ssl_certificate {dir}/expired.pem;\n    \
         ssl_certificate_key {dir}/expired.key;\n}}\n"
    );
    image.file("conf.d/acme_dns.conf", &text);
    image.nginx.start();
    let expected = "the certificate for healthcheck.a.com has expired: see the log\n";
    assert_eq!(image.health(), Err(expected.to_owned()));

    let refused = text.replace("    server_name", "    ssl_reject_handshake on;\n    server_name");
    image.file("conf.d/acme_dns.conf", &refused);
    image.nginx.reload();
    let expected = "no certificate is served for healthcheck.a.com: see the log\n";
    assert_eq!(image.health(), Err(expected.to_owned()));

    image.file("conf.d/acme_dns.conf", &text.replace(&port.to_string(), "1"));
    assert_eq!(image.health(), Err("NGINX does not answer on port 1\n".to_owned()));
}

#[test]
fn with_other_configurations_the_certificates_on_disk_decide_about_health() {
    let mut image = Image::new();
    // A server of somebody's own, as it was written.
    image.file("conf.d/acme_dns.conf", "server {\n    server_name a.com;\n}\n");
    image.nginx.start();
    assert_eq!(image.health(), Ok(()), "there is nothing to serve");
    fs::create_dir_all(image.nginx.dir().join("acme_dns/certs/a.com")).expect("it can be made");
    image.file("acme_dns/certs/a.com/cert.pem", &expired().0);
    let expected = format!(
        "{}/certs/a.com has expired or is damaged: see the log, or delete it if no server uses it\n",
        image.state_path()
    );
    assert_eq!(image.health(), Err(expected));
}
