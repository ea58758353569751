//! From variables to what is served.

use std::fs;

use servers::Testbed;
use servers::bed::ZONE;
use servers::process::wait_until;
use testbed::clients::http3::Http3Client;
use testbed::clients::tls::TlsClient;

use super::{Image, application};
use crate::site::LIMIT;

/// Variables with which a certificate is obtained from the testbed.
fn of(bed: &Testbed, state_path: &str) -> Vec<(&'static str, String)> {
    let propagation = bed.propagation();
    let propagation = propagation.trim_start_matches("acme_dns_propagation ").trim();
    vec![
        ("ACME_DNS_DOMAINS", format!("{ZONE} *.{ZONE}\nother.{ZONE} -> http://192.0.2.1")),
        ("ACME_DNS_ACCEPT_TERMS", "yes".to_owned()),
        ("ACME_DNS_EMAIL", format!("you@{ZONE}")),
        ("ACME_DNS_DIRECTORY", bed.pebble.directory_url()),
        ("ACME_DNS_TRUSTED_CERTIFICATE", bed.pebble.ca_file().display().to_string()),
        ("ACME_DNS_PROVIDER_API", bed.cloudflare.api_url()),
        ("ACME_DNS_PROPAGATION", propagation.trim_end_matches(';').to_owned()),
        ("ACME_DNS_STATE_PATH", state_path.to_owned()),
        ("CF_API_TOKEN_FILE", bed.token_file().display().to_string()),
    ]
}

#[test]
fn a_certificate_is_obtained_and_served_and_the_health_check_says_so() {
    let bed = Testbed::start();
    let mut image = Image::new();
    let mut variables = of(&bed, &image.state_path());
    let generate = |image: &Image, variables: &[(&'static str, String)]| {
        let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(image.generate(&variables), Ok(String::new()));
    };
    let pid_file = image.nginx.dir().join("nginx.pid");
    let error = image.health().expect_err("nginx does not run");
    assert!(error.starts_with("NGINX does not run: there is no "), "{error}");

    // Nothing can be obtained, and the application is not there.
    let good =
        std::mem::replace(&mut variables[8].1, format!("{}/secret", image.nginx.dir().display()));
    variables.push(("PROXY_PASS", "http://app.invalid:8080".to_owned()));
    generate(&image, &variables);
    image.nginx.start();
    let expected = format!("there is no certificate for {ZONE} yet: see the log\n");
    assert_eq!(image.health(), Err(expected));

    // Another environment means another container, with the same volume.
    image.nginx.stop();
    variables[8].1 = good;
    let application = application();
    variables[9].1 = format!("http://localhost:{application}/base/");
    variables[0].1 =
        variables[0].1.replace("192.0.2.1", &format!("localhost:{application}/second"));
    for (name, value) in [
        ("ACME_DNS_HTTP3", "yes"),
        ("ACME_DNS_HSTS", "yes"),
        ("ACME_DNS_REAL_IP_FROM", "127.0.0.0/8"),
        ("ACME_DNS_MAX_BODY_SIZE", "1k"),
    ] {
        variables.push((name, value.to_owned()));
    }
    generate(&image, &variables);
    image.nginx.start();
    let healthy = wait_until(LIMIT, || image.health().ok());
    assert!(healthy.is_some(), "{:?}\n{}", image.health(), image.nginx.log());

    let roots = bed.pebble.root_pem(0);
    for name in [ZONE, "any.example.test", "other.example.test"] {
        let client = TlsClient::new(image.https.addr()).sni(name).roots(&roots);
        client.handshake().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let moved = image.curl(&roots, "http://any.example.test:HTTP/a?b=c", &[]);
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(moved.contains("Location: https://any.example.test/a?b=c\r\n"), "{moved}");
    let visitor = ["-H", "X-Forwarded-For: 203.0.113.7"];
    let sent = image.curl(&roots, "https://any.example.test:HTTPS/a%20b/?c=d", &visitor);
    for part in [
        "HTTP/2 200",
        "GET /base/a%20b/?c=d HTTP/1.1\r\n",
        "Host: any.example.test\r\n",
        "X-Real-IP: 203.0.113.7\r\n",
        "X-Forwarded-For: 203.0.113.7, 203.0.113.7\r\n",
        "alt-svc: h3=\":443\"; ma=86400\r\n",
        "strict-transport-security: max-age=31536000\r\n",
        "X-Forwarded-Host: any.example.test\r\n",
        "X-Forwarded-Proto: https\r\n",
    ] {
        assert!(sent.contains(part), "{part}:\n{sent}{}", image.nginx.log());
    }
    let http3 = |name: &str| {
        let mut client = Http3Client::new(image.https.addr(), name, Some(&roots));
        client.connect().map(|connection| connection.peer().leaf.sans.clone())
    };
    let served = http3(ZONE).unwrap_or_else(|e| panic!("{e}\n{}", image.nginx.log()));
    assert_eq!(served, [format!("*.{ZONE}"), ZONE.to_owned()]);
    assert!(http3("evil.example").is_err(), "HTTP/3 gives nobody a certificate either");
    let second = image.curl(&roots, "https://other.example.test:HTTPS/x", &[]);
    assert!(second.contains("GET /second/x HTTP/1.1\r\n"), "{second}");
    let body = ["--data", &"x".repeat(1025)];
    let refused = image.curl(&roots, "https://example.test:HTTPS/", &body);
    assert!(refused.starts_with("HTTP/2 413"), "{refused}");

    // Who asks by address, or for a name that nobody has, is told nothing.
    for host in ["127.0.0.1", "evil.example"] {
        let answer = image.curl(&roots, &format!("http://{host}:HTTP/"), &[]);
        assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("Location:"), "{answer}");
        let client = TlsClient::new(image.https.addr()).sni(host).roots(&roots);
        assert!(client.handshake().is_err(), "{host} is given a certificate");
    }
    let other = ["-H", "Host: evil.example"];
    let answer = image.curl(&roots, "https://example.test:HTTPS/", &other);
    assert!(answer.starts_with("HTTP/2 421"), "{answer}");
    let upgrade = ["--http1.1", "-H", "Upgrade: websocket", "-H", "Connection: upgrade"];
    let sent = image.curl(&roots, "https://example.test:HTTPS/", &upgrade);
    assert!(sent.contains("Upgrade: websocket\r\nConnection: upgrade\r\n"), "{sent}");
    let log = image.nginx.log();
    assert!(!log.contains(bed.token()) && !image.text().contains(bed.token()), "{log}");

    check_what_the_container_can_do(&image, &roots);

    // A name that NGINX does not know yet.
    let more = format!("{ZONE} *.{ZONE} more.example.org");
    image.file(
        "conf.d/acme_dns.conf",
        &image.text().replace(&format!("{ZONE} *.{ZONE};"), &format!("{more};")),
    );
    let error = image.health().expect_err("there is no certificate for it");
    let expected = format!("the certificate for {ZONE} does not hold more.example.org, ");
    assert!(error.starts_with(&expected), "{error}");

    image.nginx.stop();
    fs::write(&pid_file, "999999999\n").expect("it can be written");
    let error = image.health().expect_err("nginx does not run");
    assert!(error.contains("names the process 999999999, which is not NGINX"), "{error}");
}

/// Who is in the container is told all of it, and has certificates renewed.
fn check_what_the_container_can_do(image: &Image, roots: &str) {
    let status = || image.curl(roots, &format!("http://127.0.0.1:{}/", image.status.number()), &[]);
    let shown = status();
    assert!(shown.starts_with("HTTP/1.1 200 ") && shown.contains("\"valid\":1"), "{shown}");
    for (arguments, expected) in [
        (vec![], Err("usage: acme-dns-renew [-c FILE] NAME... | --all\n")),
        (vec!["../x"], Err("acme-dns-renew: \"../x\" is not the name of a certificate\n")),
        (vec![ZONE], Ok(format!("\"actions/renew-{ZONE}\" is done"))),
        (vec!["--all"], Ok("\"actions/renew\" is done".to_owned())),
    ] {
        let output = image.renew(&arguments);
        match expected {
            Err(error) => assert_eq!(String::from_utf8_lossy(&output.stderr), error),
            Ok(line) => {
                assert!(output.status.success(), "{output:?}");
                image.nginx.wait_for_log(&line, LIMIT);
            }
        }
    }
}
