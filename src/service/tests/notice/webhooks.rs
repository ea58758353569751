//! URLs that are told.

use crate::bed::{Bed, NAME};
use acme_dns_core::level::Level;
use servers::http_server::HttpServer;
use servers::traffic::{Action, Fault, Logged, Match};
use std::fs;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn server() -> (HttpServer, String) {
    let server = HttpServer::accepting();
    let url = format!("http://{}/hooks/", server.addr());
    (server, url)
}

fn header<'a>(logged: &'a Logged, name: &str) -> &'a str {
    logged.request.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_notice_is_posted_and_signed_for_openssl() {
    let (server, url) = server();
    let mut bed = Bed::new();
    bed.webhook(
        &url,
        &[
            &["secret_file", "s3cr3t of hmac"],
            &["path_file", "T0/B0/path"],
            &["authorization_file", "Bearer t0ken"],
            &["header", "X-Own", "a b"],
        ],
    );
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    let logged = server.traffic().wait_for_request(&Match::any(), LIMIT);
    assert_eq!(logged.request.path, "/hooks/T0/B0/path");
    assert_eq!(header(&logged, "authorization"), "Bearer t0ken");
    assert_eq!(header(&logged, "x-own"), "a b");
    assert_eq!(header(&logged, "content-type"), "application/json");
    assert_eq!(header(&logged, "x-acme-dns-event"), "issued");
    let json = logged.json();
    assert_eq!(
        (json["event"].as_str(), json["certificate"].as_str()),
        (Some("issued"), Some(NAME))
    );
    assert_eq!(json["id"], header(&logged, "x-acme-dns-delivery"));
    // As docs/hooks.md tells a receiver to do it.
    let signed = format!("{}.{}", header(&logged, "x-acme-dns-timestamp"), logged.body());
    fs::write(bed.path("signed"), signed).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-hmac", "s3cr3t of hmac", "-r"]).arg(bed.path("signed"));
    let output = String::from_utf8(openssl.output().unwrap().stdout).unwrap();
    let expected = format!("sha256={}", output.split(' ').next().unwrap());
    assert_eq!(header(&logged, "x-acme-dns-signature"), expected);
}

#[test]
fn a_notice_is_posted_again_until_it_arrives() {
    let rows: [(Action, &str); 5] = [
        (Action::Status { status: 503, retry_after: None }, "HTTP status 503"),
        (Action::Status { status: 404, retry_after: None }, "404 Not Found, check the URL"),
        (Action::Status { status: 302, retry_after: None }, "redirects are not followed"),
        (Action::Drop, "the request failed"),
        (Action::LostAnswer, "the request failed"),
    ];
    for (action, expected) in rows {
        let (server, url) = server();
        let mut bed = Bed::new();
        bed.webhook(&url, &[&["path_file", "s3cr3t-path"]]);
        server.traffic().inject(Fault::new(Match::any(), action).times(2));
        let desk = bed.start();
        bed.save(90);
        desk.tell_issued();
        bed.wait_for_log(expected);
        bed.wait_for_log("was told of \"issued\"");
        let posted = server.traffic().log();
        assert_eq!(posted.len(), 3, "{expected}");
        let ids: Vec<&str> =
            posted.iter().map(|logged| header(logged, "x-acme-dns-delivery")).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
        assert!(!bed.log().concat().contains("s3cr3t"), "{:?}", bed.log());
    }
}

#[test]
fn each_format_is_posted_as_its_receiver_reads_it() {
    for (format, part, content_type) in [
        ("slack", "{\"text\":\"[", "application/json"),
        ("ntfy", "certificate \"a.example\" was not obtained", "text/plain; charset=utf-8"),
        ("gotify", "\"title\":\"a.example: failed\"", "application/json"),
        ("alertmanager", "\"alertname\":\"AcmeDnsCertificate\"", "application/json"),
    ] {
        let (server, url) = server();
        let mut bed = Bed::new();
        bed.webhook(&url, &[&["format", format], &["events", "failed"]]);
        let desk = bed.start();
        desk.tell_failed(Level::Warn);
        let logged = server.traffic().wait_for_request(&Match::any(), LIMIT);
        assert!(logged.body().contains(part), "{format}: {}", logged.body());
        assert_eq!(header(&logged, "content-type"), content_type, "{format}");
        assert_eq!(header(&logged, "title").is_empty(), format != "ntfy");
    }
}

#[test]
fn a_receiver_that_is_down_is_told_over_a_restart() {
    let (mut server, url) = server();
    server.stop();
    let mut bed = Bed::new();
    bed.webhook(&url, &[]);
    let desk = bed.start();
    bed.save(90);
    desk.tell_issued();
    bed.wait_for_log("cannot connect");
    drop(desk);
    server.listen();
    let _desk = bed.start();
    let logged = server.traffic().wait_for_request(&Match::any(), LIMIT);
    assert_eq!(logged.json()["event"], "issued");
}
