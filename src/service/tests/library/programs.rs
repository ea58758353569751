//! Programs in the place of the real one, and the real one where something is wrong.

use crate::bed::{Bed, Made, NAME, create, run, txt};
use acme_dns_service::dns::ProviderError;
use acme_dns_service::dns::library::Library;
use servers::http_server::{Flavor, HttpServer};
use servers::paths::providers_program;
use servers::ports::Port;
use servers::traffic::{Reply, Request};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// First line of the real program, for one type.
const HELLO: &str = r#"echo '{"protocol":1,"version":"9.9.9","types":["hetzner"]}'"#;

fn hetzner(bed: &Bed) -> Library {
    bed.provider("hetzner", &[("token", Made::Secret("s3cr/t+token"))])
}

fn error_of(provider: &Library) -> ProviderError {
    run(create(provider, &[txt(NAME, "one")])).unwrap_err()
}

/// Gives what is behind the beginning that all errors have.
fn detail(error: &ProviderError) -> String {
    let text = error.to_string();
    let begin = "provider \"own\" cannot create TXT record \"_acme-challenge.example.com\" in zone \"example.com\": ";
    text.strip_prefix(begin).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn another_program_is_sent_nothing() {
    let module = env!("CARGO_PKG_VERSION");
    for (says, expected) in [
        (
            r#"{"protocol":2,"version":"9.9.9","types":["hetzner"]}"#,
            format!(
                "is of version 9.9.9 and speaks version 2 of the protocol, this module of version {module} speaks \
                 version 1: install the package of this module's version"
            ),
        ),
        (
            r#"{"protocol":1,"version":"9.9.9","types":["other"]}"#,
            "is of version 9.9.9 and does not know type \"hetzner\": install the package of this module's version"
                .to_owned(),
        ),
        (
            "usage: program",
            "is not acme-dns-providers: it says \"usage: program\", install the package of this module's version"
                .to_owned(),
        ),
        (
            "",
            "is not acme-dns-providers: it says \"\", install the package of this module's version".to_owned(),
        ),
    ] {
        let bed = Bed::new();
        let heard = bed.dir.path().join("heard");
        let bed = bed.with_script(&format!("echo '{says}'; cat > {}", heard.display()));
        let error = error_of(&hetzner(&bed));
        let path = bed.dir.path().join("program");
        assert_eq!(detail(&error), format!("\"{}\" {expected}", path.display()));
        assert!(error.is_permanent() && error.is_definite(), "{says}: nothing was done");
        assert_eq!(fs::read_to_string(heard).unwrap(), "", "{says}");
        assert_eq!(bed.log(), [""; 0], "a line of the protocol is none for the log");
    }
}

#[test]
fn a_program_that_fails_is_an_error_each() {
    let flood = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done";
    for (body, expected) in [
        ("exit 127".to_owned(), "it has ended with status 127"),
        ("echo broken >&2; exit 3".to_owned(), "it has ended with status 3; it said: broken"),
        (format!("{HELLO}; read line; kill -9 $$"), "it was ended by signal 9"),
        (
            format!("{HELLO}; read line; echo \"$line\" >&2; exit 1"),
            "it has ended with status 1; it said: {",
        ),
        (format!("{HELLO}; read line; sleep 100"), "it was not done in 2 s and was ended"),
        ("sleep 100".to_owned(), "it was not done in 2 s and was ended"),
        (format!("{HELLO}; read line; {flood}"), "it was not done in 2 s and was ended"),
        (format!("{HELLO}; read line"), "unexpected answer: "),
        (format!("{HELLO}; read line; echo '<html>'"), "unexpected answer: "),
        (format!("{HELLO}; read line; echo \"$line\""), "unexpected answer: "),
    ] {
        let bed = Bed::new().with_script(&body);
        let begun = Instant::now();
        let error = error_of(&hetzner(&bed).with_limit(Duration::from_secs(2)));
        assert!(begun.elapsed() < LIMIT, "{body}: {:?}", begun.elapsed());
        let text = detail(&error);
        assert!(text.starts_with(expected), "{body}: {text}");
        assert!(!error.is_definite(), "{body}: it may have done it");
        let all = text + &bed.log().join("\n");
        assert!(!all.contains("s3cr/t"), "{body}: {all}");
    }
}

#[test]
fn answers_of_providers_are_told_apart() {
    type Check = fn(&ProviderError) -> bool;
    let unauthorized: Check = |error| matches!(error, ProviderError::Unauthorized { .. });
    for (kind, done, is_it, is_definite) in [
        ("unauthorized", 0, unauthorized, true),
        ("forbidden", 0, unauthorized, true),
        ("not_found", 0, |error| matches!(error, ProviderError::NoZone { .. }), true),
        ("refused", 0, |error| matches!(error, ProviderError::Refused { .. }), true),
        ("refused", 1, |error| matches!(error, ProviderError::Unclear(_)), false),
    ] {
        let answer = format!(
            r#"echo '{{"error":{{"kind":"{kind}","text":"the token s3cr/t+token is s3cr%2Ft%2Btoken","done":{done}}}}}'"#
        );
        let bed = Bed::new().with_script(&format!("{HELLO}; read line; {answer}"));
        let error = error_of(&hetzner(&bed));
        assert!(is_it(&error), "{kind}: {error:?}");
        assert_eq!(error.is_definite(), is_definite, "{kind}");
        assert!(error.to_string().contains("the token *** is ***"), "{kind}: {error}");
    }
}

#[test]
fn a_program_that_is_not_there_is_not_run() {
    let bed = Bed::new().with_script("exit 0");
    let path = bed.dir.path().join("program");
    fs::remove_file(&path).unwrap();
    let error = error_of(&hetzner(&bed));
    assert!(error.is_permanent() && error.is_definite(), "{error}");
    assert_eq!(
        detail(&error),
        format!("stat() \"{}\" failed (2: No such file or directory)", path.display())
    );
}

/// A process that is not dumpable belongs to root, whoever runs it.
#[test]
fn the_memory_of_the_program_is_closed_to_its_own_user() {
    let root = fs::metadata("/proc/self").unwrap().uid();
    if root != 0 {
        return;
    }
    let user = "65534";
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(providers_program());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut hello).unwrap();
    assert!(hello.contains("\"protocol\":1"), "{hello}");
    let proc = Path::new("/proc").join(child.id().to_string());
    let status = fs::read_to_string(proc.join("status")).unwrap();
    assert!(status.contains("Uid:\t65534"), "{status}");
    assert_eq!(fs::metadata(proc.join("environ")).unwrap().uid(), root);
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    // Nobody asks it for anything.
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_dead_proxy_is_a_clear_error() {
    let closed = Port::reserve();
    let proxy = format!("http://user:proxypassw0rd@{}", closed.addr());
    let bed = Bed::new().with_environment(vec![("HTTPS_PROXY".to_owned(), proxy)]);
    let error = error_of(&hetzner(&bed));
    assert_eq!(
        detail(&error),
        "cannot reach https://api.hetzner.cloud: error sending request: client error (Connect): tunnel error: failed \
         to create underlying connection: tcp connect error: Connection refused (os error 111)"
    );
}

/// Has the real program ask a server that answers with a status.
fn answered(status: u16, text: &'static str) -> ProviderError {
    let answer = move |_: Request| {
        let reply = Reply::new(status, "text/plain", text);
        Box::pin(async move { reply }) as futures_util::future::BoxFuture<'static, Reply>
    };
    let server = HttpServer::start(Flavor::Plain, None, Arc::new(answer));
    let endpoint = format!("http://{}", server.addr());
    let bed = Bed::new();
    let provider = bed.provider(
        "ultradns",
        &[
            ("username", Made::Text("user")),
            ("password", Made::Secret("s3cr/t+password")),
            ("endpoint", Made::Text(&endpoint)),
        ],
    );
    error_of(&provider)
}

#[test]
fn refusals_of_a_real_client_are_told_apart() {
    let error = answered(403, "s3cr/t+password may not");
    assert!(matches!(error, ProviderError::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("*** may not"), "{error}");
    let error = answered(401, "no");
    assert!(matches!(error, ProviderError::Unauthorized { .. }), "{error:?}");
    let error = answered(422, "TTL is too small");
    assert!(matches!(error, ProviderError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("TTL is too small"), "{error}");
}
