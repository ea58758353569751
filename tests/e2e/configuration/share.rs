//! The block of the engine that hosts share certificates on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{Bench, HERE, ISSUER, PROVIDER, SERVER, http};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=\n";

/// A block with a mistake in a line of its own.
fn block(kind: &str, body: &str) -> String {
    format!("acme_dns_share {kind} {{\n    {body}\n}}")
}

#[test]
fn refuses_bad_engines() {
    let mut bench = Bench::new();
    bench.nginx.add_file("key", KEY);
    bench.nginx.add_file("short", &KEY[4..]);
    bench.nginx.add_file("raw", [7; 32]);
    bench
        .nginx
        .add_file("ec.pem", "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n");
    let in_block = |body: &str, message: &str| {
        http(&block("etcd", &format!("{body} {HERE}")), &format!("{message} in HERE"))
    };
    let at_end = |kind: &str, body: &str, message: &str| {
        let text = format!("acme_dns_share {kind} {{\n    {body}\n}} {HERE}");
        http(&text, &format!("{message} in HERE"))
    };
    let good = "endpoint http://127.0.0.1:2379; encryption_key_file key;";
    let make = "make one with `openssl rand -base64 32`";
    let rows = [
        http(
            &format!("acme_dns_share consul {{ {HERE}\n}}"),
            "unknown share type \"consul\", the types are \"etcd\" and \"redis\" in HERE",
        ),
        http(
            &format!("acme_dns_share edcd {{ {HERE}\n}}"),
            "unknown share type \"edcd\", did you mean \"etcd\"? in HERE",
        ),
        http(
            &format!("acme_dns_share etcd; {HERE}"),
            "directive \"acme_dns_share\" has no opening \"{\" in HERE",
        ),
        in_block(
            "endpoint etcd1:2379;",
            "invalid endpoint \"etcd1:2379\" in \"endpoint\" directive: it must begin with \"https://\" or \
             \"http://\"",
        ),
        in_block("endpoit x;", "unknown directive \"endpoit\", did you mean \"endpoint\"?"),
        in_block(
            "encryption_key_file missing;",
            "open() \"DIR/missing\" failed (2: No such file or directory)",
        ),
        in_block("encryption_key_file empty;", "\"DIR/empty\" is empty"),
        in_block(
            "encryption_key_file key short;",
            &format!("\"DIR/short\" holds no key of 32 bytes in base64: {make}"),
        ),
        in_block(
            "encryption_key_file raw;",
            &format!("\"DIR/raw\" holds no key in base64 or hexadecimal digits: {make}"),
        ),
        in_block(
            "encryption_key env:NO_SUCH_VARIABLE;",
            "the environment variable \"NO_SUCH_VARIABLE\" is not set",
        ),
        in_block(
            "certificate_key ec.pem;",
            "\"DIR/ec.pem\" holds a key in an old form: `openssl pkcs8 -topk8 -nocrypt` converts it",
        ),
        in_block(
            "trusted_certificate not-a-certificate.pem;",
            "\"DIR/not-a-certificate.pem\" holds no certificate in PEM",
        ),
        at_end(
            "etcd",
            "endpoint http://127.0.0.1:2379;",
            "no \"encryption_key_file\" or \"encryption_key\" is defined for \"acme_dns_share etcd\"",
        ),
        at_end(
            "redis",
            "endpoint rediss://a redis://b; encryption_key_file key;",
            "\"rediss://a:6379\" is reached by TLS and \"redis://b:6379\" is not: all endpoints have to be \
             alike",
        ),
        at_end(
            "redis",
            "endpoint redis://r; encryption_key_file key;",
            "endpoint \"redis://r:6379\" has no TLS and is not on this machine: whoever can listen there reads \
             the password, and can remove what is shared; use TLS, or set \"plaintext on\"",
        ),
        http(
            &format!("{}\n{} {HERE}", block("etcd", good), block("etcd", good)),
            "\"acme_dns_share\" directive is duplicate in HERE",
        ),
    ];
    bench.refuses(&rows);
}

#[test]
fn takes_good_engines_and_warns_of_a_key_that_everyone_can_read() {
    let mut bench = Bench::new();
    bench.nginx.add_file("key", KEY);
    bench.nginx.add_file("open", KEY);
    fs::set_permissions(bench.nginx.dir().join("open"), Permissions::from_mode(0o644))
        .expect("the mode can be set");
    let with = |body: &str| format!("{}\n{SERVER}\n{ISSUER}\n{PROVIDER}", block("redis", body));
    bench.warns(&with("endpoint redis://localhost; encryption_key_file key;"), &[]);
    bench.warns(
        &with(&format!("endpoint rediss://r; encryption_key_file key open; {HERE}")),
        &["secret file \"DIR/open\" can be accessed by everyone, set its mode to 0600 in HERE"],
    );
}
