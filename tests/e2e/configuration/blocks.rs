//! Blocks of issuers and providers.

use openssl::pkey::PKey;

use super::{Bench, HERE, issuer, provider};

#[test]
fn refuses_bad_issuers() {
    let ca = |body: &str| format!("acme_dns_issuer ca {{\n    {body}\n}}");
    let good = "directory https://ca.example/dir;\n    accept_terms_of_service;";
    let url = |url: &str, why: &str| {
        let message = format!("invalid URL \"{url}\" in \"directory\" directive: {why} in HERE");
        issuer(&ca(&format!("directory {url}; {HERE}")), &message)
    };
    let rows = [
        issuer(
            &format!("acme_dns_issuer ca {{\n    directory https://ca.example/dir;\n}} {HERE}"),
            "\"accept_terms_of_service\" is required for issuer \"ca\" in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer ca {{\n    accept_terms_of_service;\n}} {HERE}"),
            "no \"directory\" is defined for issuer \"ca\" in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer a/b {{ {HERE}\n}}"),
            "invalid issuer name \"a/b\" in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer {{ {HERE}\n}}"),
            "invalid number of arguments in \"acme_dns_issuer\" directive in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer letsencrypt; {HERE}"),
            "directive \"acme_dns_issuer\" has no opening \"{\" in HERE",
        ),
        url("ca.example", "relative URL without a base"),
        url("https://", "empty host"),
        url("ftp://ca.example/", "it must begin with \"https://\""),
        url("http://ca.example/", "only a loopback address can be used without TLS"),
        url("https://me:pass@ca.example/", "it must not have a user, a password or a fragment"),
        issuer(
            &ca(&format!("{good}\n    directory https://b.example/; {HERE}")),
            "\"directory\" directive is duplicate in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    contact nobody; {HERE}")),
            "invalid e-mail address \"nobody\" in \"contact\" directive in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    contact; {HERE}")),
            "invalid number of arguments in \"contact\" directive in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    accept_terms_of_service yes; {HERE}")),
            "invalid number of arguments in \"accept_terms_of_service\" directive in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    profile short wanted; {HERE}")),
            "invalid parameter \"wanted\" in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    challenge http-01; {HERE}")),
            "invalid parameter \"http-01\" in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    challenge dns-01 dns-01; {HERE}")),
            "duplicate \"dns-01\" in \"challenge\" directive in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer ca {{\n    {good}\n    persist 400d;\n}} {HERE}"),
            "issuer \"ca\" has \"persist\", but not \"dns-persist-01\" in \"challenge\" in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    trusted_certificate missing.pem; {HERE}")),
            "open() \"DIR/missing.pem\" failed (2: No such file or directory) in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    trusted_certificate not-a-certificate.pem; {HERE}")),
            "\"DIR/not-a-certificate.pem\" holds no certificate in PEM in HERE",
        ),
        issuer(
            &ca(&format!("{good}\n    colour blue; {HERE}")),
            "unknown directive \"colour\" in HERE",
        ),
        issuer(
            &format!("acme_dns_issuer ca {{\n    {good}\n    more {{ }} {HERE}\n}}"),
            "unexpected \"{\" in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}

#[test]
fn refuses_bad_accounts() {
    let other = PKey::generate_ed25519().and_then(|key| key.private_key_to_pem_pkcs8());
    let mut bench = Bench::new();
    bench.nginx.add_file("ed25519.pem", other.expect("a key"));
    let bad = |body: &str, message: &str| {
        let block = format!(
            "acme_dns_issuer ca {{\n    directory https://ca.example/dir;\n    \
             accept_terms_of_service;\n    {body} {HERE}\n}}"
        );
        issuer(&block, message)
    };
    let rows = [
        bad(
            "account_key missing.pem;",
            "open() \"DIR/missing.pem\" failed (2: No such file or directory) in HERE",
        ),
        bad("account_key token;", "\"DIR/token\" holds no unencrypted private key in PEM in HERE"),
        bad("account_key empty;", "\"DIR/empty\" is empty in HERE"),
        bad(
            "account_key ed25519.pem;",
            "\"DIR/ed25519.pem\" holds neither an ECDSA key on P-256, P-384 or P-521 nor an RSA key, as \
             accounts have them in HERE",
        ),
        bad(
            "external_account kid;",
            "invalid number of arguments in \"external_account\" directive in HERE",
        ),
        bad(
            "external_account kid env:NO_SUCH_VARIABLE;",
            "the environment variable \"NO_SUCH_VARIABLE\" is not set in HERE",
        ),
        bad(
            "external_account kid two-words;",
            "\"DIR/two-words\" holds no MAC key in base64url in HERE",
        ),
        bad(
            "preferred_chain;",
            "invalid number of arguments in \"preferred_chain\" directive in HERE",
        ),
        bad(
            "staging http://ca.example/;",
            "invalid URL \"http://ca.example/\" in \"staging\" directive: only a loopback address can \
             be used without TLS in HERE",
        ),
    ];
    bench.refuses(&rows);
}

#[test]
fn refuses_bad_providers() {
    let block = |body: &str| format!("acme_dns_provider cloudflare {{\n    {body}\n}}");
    let bad = |body: &str, message: &str| provider(&block(&format!("{body} {HERE}")), message);
    let incomplete =
        |body: &str, message: &str| provider(&format!("{}{HERE}", block(body)), message);
    let rows = [
        provider(
            &format!("acme_dns_provider r53 {{ {HERE}\n}}"),
            "unknown provider type \"r53\", the types are \"cloudflare\", \"rfc2136\", \"powerdns\", \
             \"acme-dns\", \"duckdns\", \"httpreq\", \"exec\" for hooks of other clients, and 66 more in \
             docs/providers.md in HERE",
        ),
        provider(
            &format!("acme_dns_provider main hetzer {{ {HERE}\n}}"),
            "unknown provider type \"hetzer\", did you mean \"hetzner\"? in HERE",
        ),
        provider(
            &format!("acme_dns_provider a/b cloudflare {{ {HERE}\n}}"),
            "invalid provider name \"a/b\" in HERE",
        ),
        incomplete(
            "",
            "no \"token_file\" or \"token\" is defined for provider \"cloudflare\" in HERE",
        ),
        incomplete(
            "email you@example.com;",
            "no \"key_file\" or \"key\" is defined for provider \"cloudflare\" in HERE",
        ),
        incomplete(
            "key_file token;",
            "no \"email\" is defined for provider \"cloudflare\" in HERE",
        ),
        incomplete(
            "email you@example.com; token_file token;",
            "provider \"cloudflare\" has both \"token_file\" and \"email\" in HERE",
        ),
        bad(
            "token_file missing;",
            "open() \"DIR/missing\" failed (2: No such file or directory) in HERE",
        ),
        bad("token_file modules;", "read() \"DIR/modules\" failed (21: Is a directory) in HERE"),
        bad("token_file empty;", "\"DIR/empty\" is empty in HERE"),
        bad("token_file long;", "\"DIR/long\" exceeds 16384 bytes in HERE"),
        bad(
            "token_file two-words;",
            "\"DIR/two-words\" does not hold one word of printable ASCII in HERE",
        ),
        bad(
            "token_file quoted;",
            "\"DIR/quoted\" has quotes around the secret, which become a part of it: remove them in HERE",
        ),
        bad(
            "token env:LINE_OF_A_FILE;",
            "the environment variable \"LINE_OF_A_FILE\" holds a name and \"=\", it must hold the secret \
             alone in HERE",
        ),
        bad(
            "key env:API_TOKEN;",
            "the environment variable \"API_TOKEN\" holds an API token, not a global API key: name it by \
             \"token_file\" or \"token\", without \"email\" in HERE",
        ),
        bad(
            "token env:NO_SUCH_TOKEN;",
            "the environment variable \"NO_SUCH_TOKEN\" is not set in HERE",
        ),
        bad("token env:EMPTY_TOKEN;", "the environment variable \"EMPTY_TOKEN\" is empty in HERE"),
        bad(
            "token 0123456789abcdef;",
            "\"token\" takes \"env:NAME\", a secret in a file is named by \"token_file\" in HERE",
        ),
        bad("token_file token; token env:X;", "\"token\" directive is duplicate in HERE"),
        bad("email you;", "invalid e-mail address \"you\" in \"email\" directive in HERE"),
        bad("zone_id a/b;", "invalid zone id \"a/b\" in \"zone_id\" directive in HERE"),
        bad(
            "ttl 5;",
            "invalid value \"5\" in \"ttl\" directive, it must be 60 to 86400, or 1 for automatic in HERE",
        ),
        bad(
            "api http://api.example.com/;",
            "invalid URL \"http://api.example.com/\" in \"api\" directive: only a loopback \
             address can be used without TLS in HERE",
        ),
        bad("token_file;", "invalid number of arguments in \"token_file\" directive in HERE"),
        bad("colour blue;", "unknown directive \"colour\" in HERE"),
        bad(
            "tokn_file token;",
            "unknown directive \"tokn_file\", did you mean \"token_file\"? in HERE",
        ),
        bad(
            "CF_Token 0123456789abcdef;",
            "\"CF_Token\" is called \"token_file\" or \"token\" here in HERE",
        ),
    ];
    let mut bench = Bench::new();
    bench.nginx.env("EMPTY_TOKEN", "");
    bench.nginx.env("LINE_OF_A_FILE", "CF_Token=a-token");
    bench.nginx.env("API_TOKEN", "cfut_a-token");
    bench.refuses(&rows);
}

#[test]
fn refuses_bad_providers_of_other_types() {
    let incomplete = |kind: &str, body: &str, message: &str| {
        provider(&format!("acme_dns_provider p {kind} {{ {body} }}{HERE}"), message)
    };
    let bad = |kind: &str, body: &str, message: &str| {
        provider(&format!("acme_dns_provider p {kind} {{\n    {body} {HERE}\n}}"), message)
    };
    let rows = [
        incomplete(
            "acme-dns",
            "api https://auth.example;",
            "no \"account_file\" or \"account\" is defined for provider \"p\" in HERE",
        ),
        incomplete(
            "acme-dns",
            "api https://auth.example; username u; password_file token;",
            "no \"subdomain\" is defined for provider \"p\" in HERE",
        ),
        bad(
            "acme-dns",
            "account_file account;",
            "\"DIR/account\" holds a single account, it must hold an object with an account for each \
             domain in HERE",
        ),
        bad(
            "duckdns",
            "token_file token;",
            "\"DIR/token\" must hold the token alone: hexadecimal digits in five groups, with \"-\" \
             between them in HERE",
        ),
        incomplete(
            "httpreq",
            "endpoint https://dns.example; username u;",
            "no \"password_file\" or \"password\" is defined for provider \"p\" in HERE",
        ),
        bad(
            "httpreq",
            "endpoint http://dns.example;",
            "invalid URL \"http://dns.example\" in \"endpoint\" directive: only a loopback address can \
             be used without TLS in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}

#[test]
fn refuses_bad_providers_of_the_library() {
    let incomplete = |kind: &str, body: &str, message: &str| {
        provider(&format!("acme_dns_provider p {kind} {{ {body} }}{HERE}"), message)
    };
    let bad = |kind: &str, body: &str, message: &str| {
        provider(&format!("acme_dns_provider p {kind} {{\n    {body} {HERE}\n}}"), message)
    };
    let rows = [
        incomplete(
            "hetzner",
            "ttl 60;",
            "no \"token_file\" or \"token\" is defined for provider \"p\" in HERE",
        ),
        bad(
            "hetzner",
            "api_key_file token;",
            "\"api_key_file\" is not a setting of type \"hetzner\", which has \"token_file\" or \"token\", \
             \"ttl\" in HERE",
        ),
        bad(
            "hetzner",
            "token_file quoted;",
            "\"DIR/quoted\" has quotes around the secret, which become a part of it: remove them in HERE",
        ),
        bad(
            "gandi",
            "ttl 60;",
            "invalid value \"60\" in \"ttl\" directive, the least is 300 in HERE",
        ),
        bad(
            "gcloud",
            "service_account_file account;",
            "\"DIR/account\" holds no key of a service account in JSON, as Google Cloud gives it out in HERE",
        ),
        bad(
            "transip",
            "private_key_file token;",
            "\"DIR/token\" holds no private RSA key in PEM in HERE",
        ),
        incomplete(
            "joker",
            "username u; password_file token;",
            "\"zone_rewrite on\" is required for provider \"p\": the API of this provider can only replace \
             all records of a zone, so what it cannot show, and what others change meanwhile, is lost in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}
