//! A client that is not ours gets a certificate from the same servers.
//!
//! What certbot's plugin and Cloudflare's own Python library under it expect of the API, the
//! stand-in has to do.

use servers::Testbed;
use testbed::clients::certbot;
use testbed::clients::tls::Leaf;

#[test]
fn certbot_obtains_apex_and_wildcard_through_the_stand_in() {
    let bed = Testbed::start();
    let url = bed.pebble.directory_url();
    let names = ["example.test", "*.example.test"];
    let chain = certbot::obtain(&bed, &url, bed.pebble.ca_file(), &names)
        .unwrap_or_else(|e| panic!("{e}\n{}", bed.cloudflare.traffic.summary()));
    let pem = std::fs::read(&chain).expect("certbot has written the certificate");
    let leaf = Leaf::from_pem(&pem).expect("the certificate is readable");
    assert_eq!(leaf.sans, ["*.example.test", "example.test"]);
    assert_eq!(bed.pebble.certificate_status(&leaf.serial).as_deref(), Some("Valid"));
    assert_eq!(bed.cloudflare.txt_records(), [], "certbot has cleaned up");
    assert_eq!(bed.dns.all_txt(), [], "and the stand-in has told PowerDNS");
}
