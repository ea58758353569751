//! The CA and the API are reached through an HTTP proxy that the environment names.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::site::Site;

/// A proxy that tells where it was asked to connect to. It ends with the test.
fn proxy() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (told, asked) = channel();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let told = told.clone();
            // An error is a client that went away.
            thread::spawn(move || serve(client, &told));
        }
    });
    (port, asked)
}

/// One connection: CONNECT for TLS, or one request whose line has the whole URL.
fn serve(mut client: TcpStream, told: &Sender<String>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default();
    let _ = told.send(format!("{} {target}", text.split(' ').next().unwrap_or_default()));
    let host = target.strip_prefix("http://").unwrap_or(target);
    let mut server = TcpStream::connect(host.split('/').next().unwrap_or_default())?;
    if text.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        // A server wants the path alone, and is to end the connection.
        let path = &host[host.find('/').unwrap_or(host.len())..];
        let request =
            text.replacen(target, path, 1).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(request.as_bytes())?;
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut server, &mut client)?;
    Ok(())
}

#[test]
fn proxy_of_the_environment_is_used_where_nginx_keeps_its_variables() {
    let (port, asked) = proxy();
    let url = format!("http://127.0.0.1:{port}");
    let mut site = Site::new();
    site.set_servers(&["example.test"]);
    for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
        site.nginx.env(name, &url);
    }
    site.nginx.main("env HTTPS_PROXY; env HTTP_PROXY;");
    site.start_nginx();
    site.wait_for_certificate("example.test");
    let asked: Vec<String> = asked.try_iter().collect();
    let connect = format!("CONNECT {}", site.proxy.addr());
    assert!(asked.contains(&connect), "{connect}: {asked:?}");
    let api = site.bed.cloudflare.api_url();
    assert!(asked.iter().any(|target| target.contains(&api)), "{api}: {asked:?}");
}

#[test]
fn proxy_that_nginx_does_not_pass_on_is_warned_of() {
    let mut site = Site::new();
    site.set_servers(&["example.test"]);
    site.configure();
    let warning = |site: &Site| {
        let (is_good, said) = site.nginx.test();
        assert!(is_good, "{said}");
        said.lines().find(|line| line.contains("proxy")).map(str::to_owned)
    };
    assert_eq!(warning(&site), None);
    site.nginx.env("HTTP_PROXY", "http://127.0.0.1:1").env("https_proxy", "");
    assert_eq!(warning(&site), None, "neither is used for TLS");
    site.nginx.env("all_proxy", "http://127.0.0.1:1").env("NO_PROXY", "127.0.0.1");
    let said = warning(&site).expect("a warning");
    assert!(
        said.contains("[warn]") && said.contains("add \"env all_proxy;\" at the top"),
        "{said}"
    );
    site.nginx.main("env all_proxy;");
    assert_eq!(warning(&site), None);
    site.nginx.env("HTTPS_PROXY", "http://127.0.0.1:1");
    assert_eq!(warning(&site), None, "one of them is enough");
}
