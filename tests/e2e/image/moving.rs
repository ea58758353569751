//! Settings of dehydrated, which are followed, or stop the container by their names.

use std::fs;
use std::path::Path;
use std::process::Command;

use servers::process::run;

use super::{Image, SECRET};

/// The old directory, with certificates of three types of keys.
struct Old {
    image: Image,
    variables: Vec<(&'static str, String)>,
}

impl Old {
    fn new() -> Self {
        let image = Image::new();
        let dir = image.nginx.dir().join("dehydrated");
        for (name, algorithm) in [
            ("a.com", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..]),
            ("b.com", &["rsa:2048"]),
            ("office", &["rsa:2048"]),
        ] {
            let certificates = dir.join("certs").join(name);
            fs::create_dir_all(&certificates).expect("it can be made");
            let mut openssl = Command::new("openssl");
            openssl.args(["req", "-x509", "-nodes", "-subj", "/CN=x", "-newkey"]).args(algorithm);
            openssl.arg("-keyout").arg(certificates.join("privkey.pem"));
            openssl.arg("-out").arg(certificates.join("cert.pem"));
            run(&mut openssl).unwrap_or_else(|e| panic!("{e}"));
        }
        let variables = vec![
            ("ACME_DNS_DEHYDRATED", "DIR/dehydrated".to_owned()),
            ("PROVIDER", "cloudflare".to_owned()),
            ("LEXICON_CLOUDFLARE_USERNAME", "you@example.org".to_owned()),
            ("LEXICON_CLOUDFLARE_TOKEN", SECRET.to_owned()),
            ("ACME_DNS_ACCEPT_TERMS", "yes".to_owned()),
        ];
        let old = Self { image, variables };
        old.file(
            "domains.txt",
            "# ours\nA.com *.a.com\n\nb.com www.b.com\n*.c.com > office\nnew.com\n",
        );
        old
    }

    fn file(&self, name: &str, text: &str) {
        let dir = self.image.nginx.dir().display().to_string();
        // DIR is a part of some names.
        let path = format!("{dir}/dehydrated/{name}");
        let directory = Path::new(&path).parent().expect("it has one");
        fs::create_dir_all(directory).expect("it can be made");
        fs::write(path, text.replace("HERE", &dir)).expect("it can be written");
    }

    /// Returns what is generated with this configuration, and the warnings; or why nothing is.
    fn generate(&self, config: &str) -> Result<(String, String), String> {
        self.file("config", config);
        let variables: Vec<_> = self.variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let said = self.image.generate(&variables)?;
        let dir = self.image.nginx.dir().display().to_string();
        Ok((self.image.text().replace(&dir, "DIR"), said))
    }
}

#[test]
fn a_certificate_keeps_the_type_of_its_key() {
    let old = Old::new();
    // Types that are configured go first, else each has its own; what is new gets that of most.
    for (config, expected) in [
        (
            "KEY_ALGO=rsa\nKEYSIZE=\"3072\"\n",
            &["acme_dns_domains DIR/dehydrated/domains.txt key=rsa:3072;\n"][..],
        ),
        (
            "KEY_ALGO=prime256v1 # small\n",
            &["acme_dns_domains DIR/dehydrated/domains.txt key=ecdsa:256;\n"],
        ),
        (
            "PRIVATE_KEY_RENEW=no\n",
            &[
                "acme_dns_domains DIR/conf.d/acme_dns-domains-rsa-2048.txt key=rsa:2048 reuse_key=on;\n",
                "acme_dns_domains DIR/conf.d/acme_dns-domains-ecdsa-256.txt key=ecdsa:256 reuse_key=on;\n",
            ],
        ),
    ] {
        let (text, said) = old.generate(config).unwrap_or_else(|e| panic!("{config}: {e}"));
        for line in expected {
            assert!(text.contains(line), "{config}: {line}\n{text}");
        }
        assert!(text.contains("acme_dns_state_path DIR/dehydrated;\n"), "{text}");
        assert_eq!((text.matches("acme_dns_domains").count(), said.as_str()), (expected.len(), ""));
    }
    let part = |name: &str| {
        let path = old.image.nginx.dir().join("conf.d").join(name);
        fs::read_to_string(path).expect("it was written")
    };
    assert_eq!(part("acme_dns-domains-ecdsa-256.txt"), "a.com *.a.com\n");
    assert_eq!(
        part("acme_dns-domains-rsa-2048.txt"),
        "b.com www.b.com\n*.c.com > office\nnew.com\n"
    );
    // Where all are alike, the file itself is read.
    old.file("domains.txt", "b.com www.b.com\n*.c.com > office\n");
    let (text, _) = old.generate("").expect("it is good");
    assert!(text.contains("domains.txt key=rsa:2048;\n"), "{text}");
    assert_eq!(text.matches("acme_dns_domains").count(), 1, "{text}");
}

#[test]
fn directories_are_followed() {
    let old = Old::new();
    old.file("more/one.sh", "KEY_ALGO=secp384r1\nCONTACT_EMAIL=\"you@example.dev\"\n");
    old.file("more/not.txt", "KEY_ALGO=rsa\n");
    old.file("names", "a.com\n");
    old.file("names.d/more.txt", "b.com\n");
    old.file("moved/accounts/x", "");
    old.file("elsewhere/certs/a.com/x", "");
    old.file("elsewhere/accounts/x", "");
    let follow = |config: &str, expected: &[&str]| {
        let (text, said) = old.generate(config).unwrap_or_else(|e| panic!("{config}: {e}"));
        assert_eq!(said, "", "{config}");
        for line in expected {
            assert!(text.contains(line), "{config}: {line}\n{text}");
        }
    };
    follow(
        "CONFIG_D='HERE/dehydrated/more'\nKEY_ALGO=rsa\n",
        &["/domains.txt key=ecdsa:384;\n", "    contact you@example.dev;\n"],
    );
    follow(
        "export DOMAINS_TXT=\"${BASEDIR}/names\"\nKEY_ALGO=rsa\n",
        &["DIR/dehydrated/names key=rsa:4096;\n", "/names.d/more.txt key=rsa:4096;\n"],
    );
    follow(
        "BASEDIR=HERE/dehydrated\nACCOUNTDIR=$BASEDIR/moved/accounts\nKEY_ALGO=rsa",
        &[
            "acme_dns_import dehydrated DIR/dehydrated;\n",
            "DIR/dehydrated/domains.txt key=rsa:4096;",
        ],
    );
    follow(
        "CERTDIR=HERE/dehydrated/elsewhere/certs/\nKEY_ALGO=rsa\nACCOUNTDIR=HERE/dehydrated/elsewhere/accounts",
        &["acme_dns_state_path DIR/dehydrated/elsewhere;\n"],
    );
    follow("CA=letsencrypt-test\nKEY_ALGO=rsa", &["acme_dns_issuer letsencrypt-staging {"]);
    follow("CA=https://ca.example/dir\nKEY_ALGO=rsa", &["    directory https://ca.example/dir;\n"]);
    follow("ACME_PROFILE=shortlived\nKEY_ALGO=rsa", &["    profile shortlived;\n"]);
}

#[test]
fn what_cannot_be_followed_is_named() {
    let old = Old::new();
    for (config, expected) in [
        (
            "CERTDIR=/srv/tls",
            "CERTDIR=/srv/tls in DIR/dehydrated/config: the directory must be called certs",
        ),
        (
            "CERTDIR=/nowhere/certs",
            "CERTDIR=/nowhere/certs in DIR/dehydrated/config does not exist",
        ),
        (
            "CERTDIR=\"$(pwd)/certs\"",
            "CERTDIR=$(pwd)/certs in DIR/dehydrated/config is computed by a shell",
        ),
        ("CERTDIR=certs", "CERTDIR=certs in DIR/dehydrated/config is not an absolute path"),
        (
            "DOMAINS_TXT=/nowhere/domains",
            "cannot read /nowhere/domains: mount the old directory there, DOMAINS_TXT",
        ),
        ("ACCOUNTDIR=/nowhere", "ACCOUNTDIR=/nowhere in DIR/dehydrated/config is not a directory"),
        ("CONFIG_D=/nowhere", "CONFIG_D=/nowhere in DIR/dehydrated/config is not a directory"),
        ("BASEDIR=${HOME}/x", "BASEDIR=${HOME}/x in DIR/dehydrated/config is computed by a shell"),
        ("CA=buypass", "CA=buypass in DIR/dehydrated/config is not known here"),
        ("KEY_ALGO=ed25519", "KEY_ALGO=ed25519 in DIR/dehydrated/config is not known here"),
    ] {
        let error = old.generate(config).expect_err(config);
        assert!(error.contains(expected) && error.lines().count() == 1, "{config}: {error}");
        assert!(!old.image.generated().exists(), "{config}");
    }
}

#[test]
fn settings_that_mean_nothing_are_warned_of() {
    let old = Old::new();
    old.file("certs/a.com/config", "KEY_ALGO=rsa\nKEYSIZE=3072\nHOOK=/x\n");
    let config = "PREFERRED_CHAIN=\"ISRG Root X1\"\nRENEW_DAYS=\"30\"\nOCSP_MUST_STAPLE=\"no\"\n";
    let (text, said) = old.generate(config).unwrap_or_else(|e| panic!("{e}"));
    let about: Vec<_> =
        said.lines().map(|line| line.split(' ').nth(2).unwrap_or_default()).collect();
    assert_eq!(
        about,
        ["PREFERRED_CHAIN", "RENEW_DAYS", "DIR/dehydrated/certs/a.com/config"],
        "{said}"
    );
    assert!(
        said.lines().all(|line| line.contains(": warning: ") && line.contains(" not followed"))
    );
    assert!(text.contains("key=rsa:3072;") && text.contains("key=rsa:2048;"), "{text}");
}

#[test]
fn a_certificate_that_a_server_reads_and_nothing_renews_is_named() {
    let old = Old::new();
    let dir = old.image.nginx.dir().join("dehydrated/certs").display().to_string();
    let server = |name: &str| {
        format!(
            "server {{ listen 443 ssl; server_name {name}; ssl_certificate {dir}/{name}/fullchain.pem; }}\n"
        )
    };
    old.image.file("conf.d/own.conf", &(server("a.com") + &server("gone.com") + &server("office")));
    let (_, said) = old.generate("KEY_ALGO=rsa").unwrap_or_else(|e| panic!("{e}"));
    let expected = "DIR/dehydrated/certs/gone.com is read by a server, but no line of \
                    DIR/dehydrated/domains.txt has this certificate renewed";
    assert_eq!(said, format!("25-acme-dns.sh: warning: {expected}\n"));
}

#[test]
fn only_what_cannot_be_known_is_asked_for() {
    let mut old = Old::new();
    let terms = old.variables.pop();
    let error = old.generate("RENEW_DAYS=30\n").expect_err("the terms are not accepted");
    assert!(error.contains("add ACME_DNS_ACCEPT_TERMS=yes if you do"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    old.variables.extend(terms);
    old.variables.push(("ACME_DNS_STATE_PATH", "/elsewhere".to_owned()));
    let error = old.generate("").expect_err("two places");
    assert!(error.contains("the state path is DIR/dehydrated; leave the variable out"), "{error}");
    // It can also be imported, or left alone.
    for (name, value) in
        [("ACME_DNS_IMPORT", "dehydrated DIR/dehydrated"), ("ACME_DNS_DEHYDRATED", "no")]
    {
        old.variables.push((name, value.to_owned()));
        old.variables.push(("ACME_DNS_DOMAINS", "a.com".to_owned()));
        let (text, _) = old.generate("").unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(text.contains("acme_dns_state_path /elsewhere;"), "{name}: {text}");
        old.variables.truncate(6);
    }
    old.variables[1].1 = "hover".to_owned();
    old.variables.truncate(5);
    let error = old.generate("").expect_err("it is none of ours");
    assert!(error.contains("PROVIDER: \"hover\" is not a known DNS provider"), "{error}");
}
