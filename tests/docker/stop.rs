//! `docker stop` waits for requests, and for nothing else.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use servers::ZONE;
use servers::ports::Port;
use servers::process::wait_until;
use testbed::nginx::docker::Volume;

use crate::stage::{LIMIT, Stage};

/// Longer than a stop without requests takes on a busy machine.
const STOP: Duration = Duration::from_secs(20);

/// Seconds that Docker waits before it kills: longer, so that a kill is not taken for a stop.
const PATIENCE: &str = "60";

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn a_stop_is_quick() {
    let stage = Stage::new();
    let state = Volume::create();
    let container = stage.start(&state);
    stage.wait_for_certificate(&container, 443);
    let begin = Instant::now();
    container.command(&["stop", "--time", PATIENCE]);
    let time = begin.elapsed();
    eprintln!("docker stop: {:.2} s", time.as_secs_f64());
    assert!(time < STOP, "{time:?}");
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "0", "{}", container.logs());
}

#[test]
fn a_request_ends_before_the_container_does() {
    let port = Port::reserve();
    let upstream = TcpListener::bind(port.addr()).expect("the port is free");
    let stage = Stage::new();
    let state = Volume::create();
    let proxy_pass = format!("PROXY_PASS=http://{}", port.addr());
    let container = stage.start_with(&state, &["--env", &proxy_pass]);
    stage.wait_for_certificate(&container, 443);

    let mut visit = stage.client(&container, 443, ZONE).visitor().expect("good settings");
    let request = thread::spawn(move || visit().expect("an answer").answer);
    let (mut connection, _) = upstream.accept().expect("a request");
    let mut received = [0; 1024];
    assert!(connection.read(&mut received).expect("a request") > 0);
    thread::scope(|scope| {
        scope.spawn(|| container.command(&["stop", "--time", PATIENCE]));
        // Nobody new is served any more.
        let closed =
            wait_until(LIMIT, || stage.served(&container, 443, ZONE).is_none().then_some(()));
        assert!(closed.is_some(), "{}", container.logs());
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            .expect("the request has not been given up");
    });
    let answer = request.join().expect("the client");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "0", "{}", container.logs());
}
