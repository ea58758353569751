//! The variables: what logs, headers and maps can know of a certificate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use servers::ports::Port;
use testbed::clients::tls::TlsClient;

use crate::lone::{Lone, Served, ours};
use crate::site::Site;

const NAME: &str = "example.test";

/// All that a server says over TLS, after a request.
fn ask(addr: SocketAddr, name: &str) -> String {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("a client");
    builder.set_verify(SslVerifyMode::NONE);
    let stream = TcpStream::connect(addr).expect("it listens");
    let settings = builder.build().configure().expect("settings").verify_hostname(false);
    let mut stream = settings.connect(name, stream).expect("a handshake");
    let request = format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    // A stream server does not care how it closes.
    let _closed = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn variables_tell_of_the_certificate_of_the_server() {
    const TEXT: &str = "\"$acme_dns_certificate_name $acme_dns_status $acme_dns_not_after\"";
    let mut site = Site::new();
    let (own, stream, plain) = (Port::reserve(), Port::reserve(), Port::reserve());
    site.http = format!(
        "server {{ listen {} ssl; server_name own.test; acme_dns {NAME}; return 200 {TEXT}; }}
         server {{ listen {} ssl; server_name missing.other.test; acme_dns on; return 200 {TEXT}; }}",
        own.addr(),
        plain.addr(),
    );
    site.nginx.main(format!(
        "stream {{ server {{ listen {} ssl; acme_dns {NAME}; return {TEXT}; }} }}",
        stream.addr()
    ));
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    let certificate = openssl::x509::X509::from_der(&leaf.der).expect("it is readable");
    let epoch = openssl::asn1::Asn1Time::from_unix(0).expect("a time");
    let end = epoch.diff(certificate.not_after()).expect("a difference");
    let answer = ask(own.addr(), "own.test");
    let end_text = answer.strip_prefix("example.test valid ").expect(&answer).to_owned();
    assert!(end_text.ends_with('Z') && end_text.len() == 20, "{end_text}");
    let days = i64::from(end.days);
    assert_eq!(acme_days(&end_text), days, "{end_text}");
    assert_eq!(ask(stream.addr(), NAME), answer);
    assert_eq!(ask(plain.addr(), "missing.other.test"), "missing.other.test none ");
}

/// The days from the epoch to a date of RFC 3339.
fn acme_days(text: &str) -> i64 {
    let date =
        openssl::asn1::Asn1Time::from_str(&text.replace(['-', ':', 'T'], "")).expect("a date");
    let epoch = openssl::asn1::Asn1Time::from_unix(0).expect("a time");
    i64::from(epoch.diff(&date).expect("a difference").days)
}

#[test]
fn a_certificate_can_be_taken_from_the_variables() {
    let mut site = Site::new();
    let (explicit, stream) = (Port::reserve(), Port::reserve());
    const FILES: &str = "ssl_certificate data:$acme_dns_certificate; \
        ssl_certificate_key data:$acme_dns_certificate_key;";
    site.http = format!(
        "server {{ listen {} ssl; server_name {NAME}; acme_dns on; {FILES} return 200; }}",
        explicit.addr()
    );
    site.nginx.main(format!(
        "stream {{ {FILES} server {{ listen {} ssl; server_name {NAME}; acme_dns on; return ok; }} }}",
        stream.addr()
    ));
    site.start_nginx();
    let client =
        |port: &Port| TlsClient::new(port.addr()).sni(NAME).roots(&site.bed.pebble.root_pem(0));
    let first = servers::process::wait_until(crate::site::LIMIT, || {
        client(&explicit).handshake().ok().map(|peer| peer.leaf)
    });
    let first = first.unwrap_or_else(|| panic!("{}", site.nginx.log()));
    assert_eq!(client(&stream).handshake().ok().map(|peer| peer.leaf), Some(first));
    assert_eq!(site.entries("certs"), [".versions", NAME]);
}

#[test]
fn a_certificate_of_variables_has_the_fallback_too() {
    const FILES: &str = "ssl_certificate data:${acme_dns_certificate}; \
        ssl_certificate_key data:$acme_dns_certificate_key;";
    let lone = Lone::start(&format!(
        "acme_dns on; {FILES}
         server {{ listen LISTEN ssl; server_name a.test; return 200; }}
         server {{ listen LISTEN ssl; server_name b.test; acme_dns_fallback reject; return 200; }}
         server {{ listen LISTEN ssl; server_name c.test; acme_dns off; CERT KEY return 200; }}",
    ));
    assert_eq!(lone.served("a.test"), ours(&["a.test"]));
    assert_eq!(lone.served("b.test"), Served::Nothing);
    assert_eq!(lone.served("c.test"), Served::Static);
}
