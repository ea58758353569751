//! A wildcard of one server is the certificate of the servers below it.

use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault};

use crate::site::Site;

const BELOW: [&str; 5] = ["a", "b", "c", "d", "e"];

fn names() -> Vec<String> {
    BELOW.iter().map(|label| format!("{label}.example.test")).collect()
}

#[test]
fn one_order_is_enough_and_who_shares_is_told() {
    let mut site = Site::new();
    let names = names();
    let below = || names.iter().map(String::as_str);
    site.set_servers(&below().chain(["*.example.test"]).collect::<Vec<_>>());
    site.configure();
    let line = "certificate \"_.example.test\" is also that of \"a.example.test\", \
                \"b.example.test\", \"c.example.test\", \"d.example.test\", \"e.example.test\", which \
                its wildcard covers";
    let (passed, output) = site.nginx.test();
    assert!(passed && output.contains(line), "{output}");
    site.nginx.start();
    let log = site.nginx.log();
    let first = log.lines().find(|line| line.contains("acme_dns:"));
    assert!(first.is_some_and(|first| first.contains(line)), "{log}");
    let shared = site.wait_for_certificate("x.example.test").leaf;
    for name in below() {
        assert_eq!(site.wait_for_certificate(name).leaf, shared, "{name}");
    }
    site.wait_until_clean();
    assert_eq!(site.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    assert_eq!(site.entries("certs"), [".versions", "_.example.test"]);

    // The wildcard's server goes, while the CA is away.
    let action = Action::Status { status: 503, retry_after: None };
    site.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), action).always());
    site.set_servers(&below().collect::<Vec<_>>());
    site.reload();
    for name in below() {
        assert_eq!(site.served(name), shared, "{name} after a reload");
    }
    site.nginx.quit();
    site.nginx.start();
    for name in below() {
        assert_eq!(site.served(name), shared, "{name} after a restart");
    }
}

#[test]
fn a_server_that_has_a_certificate_of_its_own_keeps_it() {
    let mut site = Site::start(&["a.example.test"]);
    let own = site.wait_for_certificate("a.example.test").leaf;
    site.wait_until_clean();
    let reads = site.state().join("certs/b.example.test/fullchain.pem");
    site.http = format!("root {};", reads.display());
    site.set_servers(&["a.example.test", "b.example.test", "c.example.test", "*.example.test"]);
    site.configure();
    let (_, output) = site.nginx.test();
    let line = "\"_.example.test\" is also that of \"c.example.test\", which its wildcard covers";
    assert!(output.contains(line), "{output}");
    site.http = String::new();
    site.reload();
    let wildcard = site.wait_for_certificate("c.example.test").leaf;
    assert_eq!(site.wait_for_certificate("b.example.test").leaf, wildcard);
    assert_eq!(site.served("a.example.test"), own);
}
