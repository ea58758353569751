//! NGINX is reloaded by itself where its configuration reads certificate files, and only there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use servers::traffic::Hold;
use testbed::clients::tls::{Leaf, TlsClient};
use testbed::nginx::Nginx;

use crate::site::{LIMIT, Site};

const NAME: &str = "example.test";

/// Longer than the shortest time between two reloads, and an order.
pub(crate) const RELOAD: Duration = Duration::from_secs(120);

/// A site with a certificate that its authority wants to be renewed as soon as it may answer, and a
/// second server that reads the certificate from its files.
pub(crate) struct Reader {
    pub(crate) site: Site,
    port: Port,
    answer: Option<Hold>,
    first: Leaf,
}

impl Reader {
    pub(crate) fn start(prepare: impl FnOnce(&mut Site)) -> Self {
        let reader = Self::begin(prepare);
        let read = wait_until(LIMIT, || (reader.read()? == reader.first).then_some(()));
        assert!(read.is_some(), "{}", reader.site.nginx.log());
        reader
    }

    /// The same, without a look at the second server.
    fn begin(prepare: impl FnOnce(&mut Site)) -> Self {
        let mut site = Site::new();
        prepare(&mut site);
        site.issuer = "profile default;".to_owned();
        site.set_servers(&[NAME]);
        let answer = site.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
        site.start_nginx();
        let first = site.wait_for_certificate(NAME).leaf;
        let window = json!({"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"});
        site.bed.pebble.set_renewal_info(&first.pem(), &json!({ "suggestedWindow": window }));
        let mut reader = Self { site, port: Port::reserve(), answer: Some(answer), first };
        let files = reader.site.state().join("certs").join(NAME);
        reader.site.http.push_str(&format!(
            "server {{ listen {} ssl; ssl_certificate {files}/fullchain.pem; \
             ssl_certificate_key {files}/privkey.pem; return 200; }}",
            reader.port.addr(),
            files = files.display()
        ));
        reader.site.reload();
        reader
    }

    /// The certificate is renewed; gives the new one.
    pub(crate) fn renew(&mut self) -> Leaf {
        self.answer.take().expect("once").release();
        self.site.wait_for_other(NAME, &self.first.serial).leaf
    }

    /// Returns the certificate of the server that reads the files.
    fn read(&self) -> Option<Leaf> {
        TlsClient::new(self.port.addr()).sni(NAME).handshake().ok().map(|peer| peer.leaf)
    }

    /// Counts how often the master has loaded its configuration again.
    pub(crate) fn reloads(&self) -> usize {
        self.site.nginx.log().matches(": reconfiguring").count()
    }

    fn configuration(&self) -> PathBuf {
        self.site.nginx.dir().join("nginx.conf")
    }
}

/// The files are read anew, with one reload.
fn check(prepare: impl FnOnce(&mut Site)) {
    let mut reader = Reader::start(prepare);
    let before = reader.reloads();
    let helpers = reader.site.helpers();
    let second = reader.renew();
    let read = wait_until(RELOAD, || (reader.read()? == second).then_some(()));
    assert!(read.is_some(), "{}", reader.site.nginx.log());
    let line = reader.site.nginx.wait_for_log("reloading NGINX, which reads files of", LIMIT);
    assert!(line.contains("[notice]") && line.contains(NAME), "{line}");
    // The helper that has asked is gone, and with it its end of the channel.
    if !helpers.is_empty() {
        reader.site.wait_for_other_helper(&helpers);
    }
    assert_eq!(reader.reloads(), before + 1, "{}", reader.site.nginx.log());
    assert_eq!(reader.site.lines("error", 0), [""; 0]);
}

#[test]
fn a_master_that_is_root_is_reloaded_from_the_unprivileged_helper() {
    check(|_| {});
}

#[test]
fn a_daemon_is_reloaded() {
    check(|site| {
        site.nginx.daemon(true);
    });
}

#[test]
fn an_unprivileged_master_is_reloaded() {
    check(Site::run_as_nobody);
}

#[test]
fn a_single_process_is_reloaded() {
    let mut reader = Reader::begin(|site| {
        site.nginx.master_process(false);
    });
    // The servers are not looked at: in this mode nginx closes the sockets of before with a reload.
    let before = reader.reloads();
    reader.answer.take().expect("once").release();
    let reloaded = wait_until(RELOAD, || (reader.reloads() > before).then_some(()));
    assert!(reloaded.is_some(), "{}", reader.site.nginx.log());
    reader.site.nginx.wait_for_log("reloading NGINX, which reads files of", LIMIT);
}

#[test]
fn a_configuration_that_has_changed_is_not_put_into_force() {
    let mut reader = Reader::start(|_| {});
    let (before, path) = (reader.reloads(), reader.configuration());
    let text = fs::read_to_string(&path).expect("it is readable");
    fs::write(&path, format!("{text}\nhalf_a_directive")).expect("it is written");
    reader.renew();
    let line = reader.site.nginx.wait_for_log("NGINX reads, but it is not reloaded", RELOAD);
    assert!(line.contains("[error]") && line.contains("nginx.conf"), "{line}");
    assert_eq!((reader.reloads(), reader.read()), (before, Some(reader.first.clone())));
}

#[test]
fn nothing_is_reloaded_where_nothing_reads_files_or_where_it_is_off() {
    for (directive, reads) in [("", false), ("acme_dns_reload off;", true)] {
        let mut reader = Reader::start(|site| site.http = directive.to_owned());
        if !reads {
            reader.site.http = String::new();
            reader.site.reload();
        }
        let mark = reader.site.nginx.log_mark();
        reader.renew();
        // Told by the helper as soon as it works, long before.
        let log = reader.site.nginx.log_from(mark);
        assert!(!log.contains("NGINX is reloaded when files of"), "{directive}: {log}");
        assert!(!log.contains("reloading NGINX"), "{directive}: {log}");
    }
}

#[test]
fn a_configuration_says_what_it_wants_once() {
    let mut nginx = Nginx::new(testbed::nginx::build::NginxBuild::get());
    for (text, expected) in [
        ("acme_dns_reload sometimes;", "invalid parameter \"sometimes\" in "),
        (
            "acme_dns_reload on; acme_dns_reload off;",
            "\"acme_dns_reload\" directive is duplicate in ",
        ),
    ] {
        let (passed, output) = nginx.http(text).test();
        assert!(!passed && output.contains(expected), "{text}: {output}");
    }
}
