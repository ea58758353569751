//! Messages of `nginx -t`: every mistake at its file and line, and nothing about what is right.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use servers::Testbed;
use servers::bed;
use servers::ports::Port;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::site::NOBODY;

mod blocks;
mod inherited;
mod programs;
mod share;
mod sni;

/// In a row: the line that the message has to name.
const HERE: &str = "# HERE";

const ISSUER: &str = "acme_dns_issuer letsencrypt { accept_terms_of_service; }";
const PROVIDER: &str = "acme_dns_provider cloudflare { token_file token; }";
const SERVER: &str =
    "server { listen 127.0.0.1:LISTEN ssl; server_name a.example.com; acme_dns on; }";

/// A mistake in `http { }`, and the message about it, where `HERE` stands for file and line, and
/// `DIR` for the prefix.
type Row = (String, String);

struct Bench {
    nginx: Nginx,
    port: Port,
    /// User and group of `acme_dns_user`.
    user: &'static str,
}

impl Bench {
    fn new() -> Self {
        let nginx = Nginx::new(NginxBuild::get());
        nginx.add_file("token", "a-token\n");
        nginx.add_file("empty", " \n");
        nginx.add_file("two-words", "a token\n");
        nginx.add_file("quoted", "\"a-token\"\r\n");
        nginx.add_file("long", "x".repeat(20_000));
        nginx.add_file("account", "{\"username\": \"u\", \"password\": \"s3cr3t\"}");
        nginx.add_file("not-a-certificate.pem", "hello\n");
        nginx.add_file("exposed", "a-token\n");
        fs::set_permissions(nginx.dir().join("exposed"), Permissions::from_mode(0o644))
            .expect("the mode can be set");
        Self { nginx, port: Port::reserve(), user: "daemon daemon" }
    }

    /// Returns whether the configuration is good, and the lines that nginx has written, with the name of
    /// the program and its verdict on the whole left out.
    fn test(&mut self, http: &str) -> (bool, Vec<String>) {
        let port = self.port.number().to_string();
        let text = format!(
            "load_module modules/ngx_http_acme_dns_module.so;\n\
             user nobody nogroup; acme_dns_user {user};\n\
             error_log error.log;\nevents {{ }}\n\nhttp {{\naccess_log off;\n{http}\n}}\n",
            user = self.user
        );
        self.nginx.config(text.replace("LISTEN", &port));
        let (good, said) = self.nginx.test();
        let verdict = |line: &&str| !line.starts_with("nginx: configuration file ");
        let dir = self.nginx.path("").display().to_string();
        let lines = said.lines().filter(verdict).filter(|line| !line.ends_with("syntax is ok"));
        let plain = |line: &str| {
            line.trim_start_matches("nginx: ").replace(dir.trim_end_matches('/'), "DIR")
        };
        (good, lines.map(plain).collect())
    }

    /// `message` as nginx writes it, with the place of the marked line.
    fn expected(http: &str, level: &str, message: &str) -> String {
        // Behind the seven lines of `test`.
        let line = http.lines().position(|line| line.contains(HERE)).map_or(0, |at| at + 8);
        let message = message.replace("HERE", &format!("DIR/nginx.conf:{line}"));
        format!("[{level}] {message}")
    }

    /// Runs a table, and shows every row that is not as expected.
    fn refuses(&mut self, rows: &[Row]) {
        let mut wrong = Vec::new();
        for (http, message) in rows {
            let expected = Self::expected(http, "emerg", message);
            let (good, lines) = self.test(http);
            if good || lines != [expected.as_str()] {
                let lines = lines.join("\n  ");
                wrong.push(format!("{http}\n  {lines}\n  expected\n  {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
    }

    /// Checks that the configuration is good, with exactly these warnings.
    fn warns(&mut self, http: &str, messages: &[&str]) {
        let expected: Vec<_> =
            messages.iter().map(|message| Self::expected(http, "warn", message)).collect();
        assert_eq!(self.test(http), (true, expected), "{http}");
    }
}

/// A server with these directives in a configuration that is good otherwise.
fn server(body: &str, message: &str) -> Row {
    let http = format!(
        "server {{\n    listen 127.0.0.1:LISTEN ssl;\n    {body}\n}}\n{ISSUER}\n{PROVIDER}"
    );
    (http, message.to_owned())
}

/// Directives in front of a server in a configuration that is good otherwise.
fn http(text: &str, message: &str) -> Row {
    (format!("{text}\n{SERVER}\n{ISSUER}\n{PROVIDER}"), message.to_owned())
}

/// An issuer in a configuration that is good otherwise.
fn issuer(text: &str, message: &str) -> Row {
    (format!("{text}\n{SERVER}\n{PROVIDER}"), message.to_owned())
}

/// A provider in a configuration that is good otherwise.
fn provider(text: &str, message: &str) -> Row {
    (format!("{text}\n{SERVER}\n{ISSUER}"), message.to_owned())
}

#[test]
fn refuses_names_that_cannot_be_certified() {
    let cases = [
        ("_", "it is not a domain name"),
        ("192.0.2.1", "it is an IP address, which dns-01 cannot prove"),
        ("[2001:db8::1]", "it is an IP address, which dns-01 cannot prove"),
        ("*.*.example.com", "a wildcard must be the whole first label"),
        ("www.example.*", "a wildcard must be the whole first label"),
        ("localhost", "it has only one label"),
        ("~^www[.]example[.]com$", "it is a regular expression"),
        ("xn--a.example", "it is not a valid internationalized domain name"),
    ];
    let label = "it has a label that is empty, longer than 63 characters or not made of letters, \
                 digits and inner hyphens";
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long_name = format!("{}example.com", "abcdefgh.".repeat(28));
    let labels = ["a_b.example.com", "-a.example.com", "a..example.com", &long_label];
    let mut all: Vec<(&str, &str)> = cases.to_vec();
    all.extend(labels.map(|name| (name, label)));
    all.push((&long_name, "it is longer than 253 characters"));
    let rows: Vec<Row> = all
        .iter()
        .map(|(name, why)| {
            let body = format!("acme_dns good.example.com {name}; {HERE}");
            server(&body, &format!("\"{name}\" cannot be certified: {why} in HERE"))
        })
        .collect();
    let mut bench = Bench::new();
    bench.refuses(&rows);

    // Those that nginx itself takes as names of a server.
    let rows: Vec<Row> = all
        .iter()
        .filter(|(name, _)| !name.starts_with('~') && !name.contains("*."))
        .filter(|(name, _)| !name.contains(".."))
        .map(|(name, why)| {
            let body = format!("server_name {name};\n    acme_dns on; {HERE}");
            server(&body, &format!("\"{name}\" cannot be certified: {why} in HERE"))
        })
        .collect();
    bench.refuses(&rows);
}

#[test]
fn refuses_servers_that_ask_for_what_is_not_there() {
    let on = "server_name a.example.com;\n    ";
    let hundred: Vec<String> = (0..101).map(|n| format!("n{n}.example.com")).collect();
    let rows = [
        server(
            &format!("acme_dns on; {HERE}"),
            "\"acme_dns on\" needs a \"server_name\" to certify, or names in the place of \"on\" in HERE",
        ),
        server(
            &format!("acme_dns {}; {HERE}", hundred.join(" ")),
            "101 names for one certificate, a CA takes at most 100 in HERE",
        ),
        server(
            &format!("{on}acme_dns on issuer=other; {HERE}"),
            "no \"acme_dns_issuer\" is defined for \"issuer=other\" in HERE",
        ),
        server(
            &format!("{on}acme_dns on provider=other; {HERE}"),
            "no \"acme_dns_provider\" is defined for \"provider=other\" in HERE",
        ),
        server(
            &format!("{on}acme_dns on key=rsa:1024; {HERE}"),
            "invalid key type \"rsa:1024\", known types are ecdsa:256, ecdsa:384, rsa:2048, \
             rsa:3072, rsa:4096 in HERE",
        ),
        server(
            &format!("{on}acme_dns on name=../up; {HERE}"),
            "invalid parameter \"name=../up\" in HERE",
        ),
        server(&format!("{on}acme_dns on size=1; {HERE}"), "invalid parameter \"size=1\" in HERE"),
        server(
            &format!("{on}acme_dns on issuer=; {HERE}"),
            "invalid parameter \"issuer=\" in HERE",
        ),
        server(
            &format!("{on}acme_dns on a.example.com; {HERE}"),
            "invalid parameter \"a.example.com\" in HERE",
        ),
        server(
            &format!("{on}acme_dns off key=ecdsa:256; {HERE}"),
            "\"acme_dns off\" takes no parameters in HERE",
        ),
        server(
            &format!("{on}acme_dns key=ecdsa:256; {HERE}"),
            "\"acme_dns\" directive needs \"on\", \"off\", \"sni\" or names in HERE",
        ),
        server(
            &format!("{on}acme_dns on;\n    acme_dns on; {HERE}"),
            "\"acme_dns\" directive is duplicate in HERE",
        ),
        server(
            &format!("{on}acme_dns; {HERE}"),
            "invalid number of arguments in \"acme_dns\" directive in HERE",
        ),
        server(
            &format!("{on}acme_dns on; {HERE}\n    ssl_certificate_key a.key;"),
            "\"ssl_certificate_key\" without \"ssl_certificate\" beside \"acme_dns\" in HERE",
        ),
        server(
            &format!("{on}acme_dns on;\n    acme_dns_fallback none; {HERE}"),
            "invalid parameter \"none\" in HERE",
        ),
        server(
            &format!("{on}acme_dns on;\n    acme_dns_issuer x {{ }} {HERE}"),
            "\"acme_dns_issuer\" directive is not allowed here in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}

#[test]
fn refuses_definitions_that_contradict_each_other() {
    let second = "acme_dns_issuer letsencrypt-staging { accept_terms_of_service; }";
    let named = |name: &str, parameters: &str, mark: &str| {
        format!(
            "server {{\n    listen 127.0.0.1:LISTEN ssl;\n    server_name {name};\n    \
             acme_dns on name=web {parameters}; {mark}\n}}\n"
        )
    };
    let whole = |text: &str, message: &str| (text.to_owned(), message.to_owned());
    let marked = SERVER.to_owned() + HERE;
    let rows = [
        whole(
            &format!("{marked}\n{PROVIDER}"),
            "no \"acme_dns_issuer\" is defined for \"acme_dns\" in HERE",
        ),
        whole(
            &format!("{marked}\n{ISSUER}"),
            "no \"acme_dns_provider\" is defined for \"acme_dns\" in HERE",
        ),
        whole(
            &format!("{marked}\n{ISSUER}\n{second}\n{PROVIDER}"),
            "several \"acme_dns_issuer\" are defined, \"acme_dns\" needs \"issuer=NAME\" in HERE",
        ),
        whole(
            &format!(
                "{marked}\n{ISSUER}\n{PROVIDER}\nacme_dns_provider b cloudflare {{ token_file token; }}"
            ),
            "several \"acme_dns_provider\" are defined, \"acme_dns\" needs \"provider=NAME\" in HERE",
        ),
        whole(
            &format!(
                "{}{}{ISSUER}\n{PROVIDER}",
                named("a.example.com", "key=ecdsa:256", ""),
                named("b.example.com", "key=ecdsa:256", HERE)
            ),
            "certificate \"web\" is defined with different settings in HERE",
        ),
        whole(
            &format!("{ISSUER}\n{ISSUER}{HERE}\n{PROVIDER}\n{SERVER}"),
            "duplicate issuer \"letsencrypt\" in HERE",
        ),
        whole(
            &format!("{ISSUER}\n{PROVIDER}\n{PROVIDER}{HERE}\n{SERVER}"),
            "duplicate provider \"cloudflare\" in HERE",
        ),
        http(
            &format!("acme_dns_state_path a;\nacme_dns_state_path b; {HERE}"),
            "\"acme_dns_state_path\" directive is duplicate in HERE",
        ),
        http(
            &format!("acme_dns_shared_zone zone=a:1m;\nacme_dns_shared_zone zone=b:1m; {HERE}"),
            "\"acme_dns_shared_zone\" directive is duplicate in HERE",
        ),
        http(
            &format!("acme_dns_propagation off;\nacme_dns_propagation off; {HERE}"),
            "\"acme_dns_propagation\" directive is duplicate in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}

#[test]
fn refuses_settings_that_cannot_be_meant() {
    let rows = [
        http(
            &format!("acme_dns_shared_zone zone=a:8k; {HERE}"),
            "zone \"zone=a:8k\" is too small, the minimum is 32k in HERE",
        ),
        http(
            &format!("acme_dns_shared_zone zone=a:many; {HERE}"),
            "invalid zone size \"zone=a:many\" in HERE",
        ),
        http(
            &format!("acme_dns_shared_zone zone=:1m; {HERE}"),
            "invalid zone name \"zone=:1m\" in HERE",
        ),
        http(&format!("acme_dns_shared_zone a; {HERE}"), "invalid parameter \"a\" in HERE"),
        http(&format!("acme_dns_state_path \"\"; {HERE}"), "invalid path \"\" in HERE"),
        http(
            &format!("acme_dns_state_path p nogroup; {HERE}"),
            "invalid parameter \"nogroup\" in HERE",
        ),
        http(
            &format!("acme_dns_state_path p group=; {HERE}"),
            "invalid parameter \"group=\" in HERE",
        ),
        http(
            &format!("acme_dns_state_path p group=nobodys; {HERE}"),
            "unknown group \"nobodys\" in HERE",
        ),
        http(
            "acme_dns_state_path missing/parent;",
            "state path \"DIR/missing/parent\" cannot be used: stat() \"DIR/missing\" failed (2: No such file or directory)",
        ),
        http(
            &format!("acme_dns_propagation timeout=0s; {HERE}"),
            "invalid parameter \"timeout=0s\" in HERE",
        ),
        http(
            &format!("acme_dns_propagation timeout=1s interval=2s; {HERE}"),
            "\"interval\" is longer than \"timeout\" in \"acme_dns_propagation\" directive in HERE",
        ),
        http(
            &format!("acme_dns_propagation resolvers=dns.example.com; {HERE}"),
            "invalid parameter \"resolvers=dns.example.com\" in HERE",
        ),
        http(
            &format!("acme_dns_propagation port=70000; {HERE}"),
            "invalid parameter \"port=70000\" in HERE",
        ),
        http(
            &format!("acme_dns_propagation port=53 port=53; {HERE}"),
            "duplicate parameter \"port=53\" in HERE",
        ),
        http(
            &format!("acme_dns_propagation off timeout=1s; {HERE}"),
            "invalid parameter \"timeout=1s\" in HERE",
        ),
        http(
            &format!("acme_dns_propagation; {HERE}"),
            "invalid number of arguments in \"acme_dns_propagation\" directive in HERE",
        ),
    ];
    Bench::new().refuses(&rows);
}

#[test]
fn refuses_users_that_the_service_cannot_be() {
    let rest = format!("{SERVER}\n{ISSUER}\n{PROVIDER}");
    let mut bench = Bench::new();
    for (user, expected) in [
        ("nobodys", "[emerg] unknown user \"nobodys\" in "),
        ("daemon nobodys", "[emerg] unknown group \"nobodys\" in "),
        ("root", "[emerg] user \"root\" is root: the service must not run as root in "),
        ("daemon; acme_dns_user daemon", "[emerg] \"acme_dns_user\" directive is duplicate in "),
    ] {
        bench.user = user;
        let (good, lines) = bench.test(&rest);
        let [line] = lines.as_slice() else { panic!("{user}: {lines:?}") };
        assert!(!good && line.starts_with(expected), "{user}: {line}");
    }
}

#[test]
fn warns_of_secret_files_that_workers_can_read() {
    let rest = format!("{SERVER}\n{ISSUER}\n{PROVIDER}");
    let mut bench = Bench::new();
    let (good, lines) = bench.test(&rest);
    assert!(good && lines.is_empty(), "{lines:?}");
    let token = bench.nginx.dir().join("token");
    for (owner, group, mode, expected) in [
        (NOBODY, 0, 0o600, Some("belongs to")),
        (0, NOBODY, 0o640, Some("is readable through its group by")),
        (0, NOBODY, 0o600, None),
        (0, 0, 0o640, None),
    ] {
        chown(&token, Some(owner), Some(group)).expect("root may do that");
        fs::set_permissions(&token, Permissions::from_mode(mode)).expect("a mode");
        let (good, lines) = bench.test(&rest);
        let expected = expected.map(|how| {
            format!(
                "[warn] secret file \"DIR/token\" {how} the workers' user, give it to root and set \
                 its mode to 0600"
            )
        });
        assert_eq!((good, lines), (true, Vec::from_iter(expected)));
    }
}

#[test]
fn warns_of_account_keys_that_are_standing_credentials_of_workers() {
    const PERSIST: &str = "acme_dns_issuer letsencrypt { accept_terms_of_service; challenge \
                           dns-persist-01; }";
    let mut bench = Bench::new();
    // No provider is needed.
    bench.warns(&format!("{SERVER}\n{PERSIST}"), &[]);
    bench.user = "nobody nogroup";
    bench.warns(&format!("{SERVER}\n{ISSUER}\n{PROVIDER}"), &[]);
    bench.warns(
        &format!("{SERVER}\n{PERSIST}"),
        &["the account key of issuer \"letsencrypt\" can be read by user \"nobody\", as which workers \
           run: whoever has it can obtain certificates as long as records of dns-persist-01 are there; \
           give the service a user of its own with \"acme_dns_user\""],
    );
}

#[test]
fn refuses_more_secrets_than_there_is_room_for() {
    let mut bench = Bench::new();
    bench.nginx.add_file("long", "x".repeat(4000));
    let mut text = format!("{SERVER}\n{ISSUER}\n{PROVIDER}");
    for n in 0..20 {
        text.push_str(&format!("\nacme_dns_provider p{n} cloudflare {{\n token_file long;\n}}"));
    }
    let (good, lines) = bench.test(&text);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let full = "no room for \"DIR/long\": secrets are limited to 64 KB in total in ";
    assert!(!good && line.contains(full), "{line}");
}

#[test]
fn warns_of_what_may_not_be_meant() {
    let mut bench = Bench::new();
    let rest = format!("{ISSUER}\n{PROVIDER}");
    let server =
        |body: &str| format!("server {{\n    listen 127.0.0.1:LISTEN ssl;\n    {body}\n}}\n{rest}");
    bench.warns(
        &server(&format!("server_name a.example.com ~^www[.];\n    acme_dns on; {HERE}")),
        &["\"~^www[.]\" is not in the certificate: it is a regular expression in HERE"],
    );
    bench.warns(
        &format!(
            "acme_dns_provider cloudflare {{\n    token_file exposed; {HERE}\n}}\n{SERVER}\n{ISSUER}"
        ),
        &["secret file \"DIR/exposed\" can be accessed by everyone, set its mode to 0600 in HERE"],
    );
    bench.warns(
        &format!(
            "acme_dns_shared_zone zone=small:40k; {HERE}\n{SERVER}\n{}",
            server("server_name b.example.com; acme_dns on;")
        ),
        &["zone \"small\" may be too small for 2 certificates, remove \
           \"acme_dns_shared_zone\" to have it sized automatically, in HERE"],
    );
    bench.warns(
        &format!(
            "acme_dns_issuer letsencrypt {{\n    accept_terms_of_service;\n    contact \
             you@mail.example.org; {HERE}\n}}\n{SERVER}\n{PROVIDER}"
        ),
        &["\"you@mail.example.org\" is an address for examples, which CAs refuse: write an address of \
           yours, or leave out \"contact\" in HERE"],
    );
    // What is taken as it is.
    bench.warns(&server("server_name bücher.example *.BÜCHER.example; acme_dns on;"), &[]);
    bench.warns(&server("server_name .example.com; acme_dns on;"), &[]);
    bench.warns("acme_dns on;", &[]);
}

/// All below a directory, with what is in the files.
fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(dir).expect("below").display().to_string();
            if path.is_dir() {
                found.push((name, Vec::new()));
                open.push(path);
            } else {
                found.push((name, fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_test_of_a_good_configuration_changes_nothing_and_asks_nobody() {
    let bed = Testbed::start();
    let proxy = bed.acme_proxy();
    let mut nginx = Nginx::new(NginxBuild::get());
    let port = Port::reserve();
    nginx.http(format!(
        "{}server {{\n    listen {} ssl;\n    server_name .{};\n    acme_dns on;\n}}",
        bed.directives_through(&proxy),
        port.addr(),
        bed::ZONE
    ));
    // Once without the module, for what nginx writes by itself.
    nginx.load_module(false).http("");
    assert!(nginx.test().0);
    let control = tree(nginx.dir());
    nginx.load_module(true);
    nginx.http(format!(
        "{}server {{\n    listen {} ssl;\n    server_name .{};\n    acme_dns on;\n}}",
        bed.directives_through(&proxy),
        port.addr(),
        bed::ZONE
    ));
    let (dns_before, pebble_before) = (bed.dns.log(), bed.pebble.log());
    let (good, said) = nginx.test();
    let conf = nginx.path("nginx.conf");
    let conf = conf.display();
    let expected = format!(
        "nginx: the configuration file {conf} syntax is ok\n\
         nginx: configuration file {conf} test is successful\n"
    );
    assert_eq!((good, said), (true, expected));
    let mut after = tree(nginx.dir());
    let ours = ["nginx.conf", "modules/ngx_http_acme_dns_module.so"];
    after.retain(|(name, _)| !ours.contains(&name.as_str()));
    let mut expected = control;
    expected.retain(|(name, _)| !ours.contains(&name.as_str()));
    assert_eq!(after, expected);
    assert_eq!((proxy.traffic.log().len(), bed.cloudflare.traffic.log().len()), (0, 0));
    assert_eq!((bed.dns.log(), bed.pebble.log()), (dns_before, pebble_before));
}
