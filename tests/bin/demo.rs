//! `make demo`: a wildcard certificate inside NGINX, obtained before your eyes from a real ACME
//! authority and a real DNS server on this machine.
//!
//! Serves until Ctrl-C; the certificates live for minutes, so that one sees them renewed and
//! swapped too. With `ONCE=1` in the environment it has openssl check what is served, and ends with
//! status 0 or 1.

use std::env;
use std::io::{self, IsTerminal};
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use servers::Testbed;
use servers::ZONE;
use servers::process::wait_until;
use signal_hook::consts::{SIGINT, SIGTERM};
use testbed::clients::tls::{Leaf, PeerChain};
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;
use testbed::nginx::example::Example;

/// As long as anybody watches.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Validity of a certificate: renewed at half of it.
const VALIDITY: Duration = Duration::from_secs(90);

/// Pause between two looks at the served certificate.
const LOOK: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    // The testbed panics with a whole sentence; where in our sources is of no interest here.
    panic::set_hook(Box::new(|info| {
        eprintln!("demo: {}", info.payload_as_str().unwrap_or("it failed"));
    }));
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(e) = signal_hook::flag::register(signal, stop.clone()) {
            eprintln!("demo: cannot watch for signal {signal}: {e}");
            return ExitCode::FAILURE;
        }
    }
    match demo(&stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(stop: &AtomicBool) -> Result<(), String> {
    let stopped = || stop.load(Ordering::Relaxed);
    let once = env::var_os("ONCE").is_some_and(|value| !value.is_empty() && value != "0");
    let screen = Screen::new();

    screen.step("Building NGINX and the module");
    let build = NginxBuild::get();
    screen.step("Starting PowerDNS, a stand-in of Cloudflare's API, and Pebble, an ACME authority");
    let bed = Testbed::start_with(|mut options| {
        // The only profile: where there are several, Pebble chooses one at random.
        options.profiles.clear();
        options.profile("default", VALIDITY)
    });
    let mut example = Example::new(&bed, build);
    // The module's own steps; an nginx that is not built for it logs nothing of its own there.
    example.nginx.log_level("debug");
    screen.step(&format!("Starting NGINX {}, which now obtains a certificate", build.version));
    let mut log = Log { mark: 0, screen: &screen };
    let (chain, time) = example.obtain(|nginx| {
        log.show(nginx);
        !stopped()
    })?;
    log.show(&example.nginx);
    show_certificate(&screen, &example, &chain, time)?;

    if once {
        for name in Example::names() {
            example.check_with_openssl(&name).map_err(|e| format!("openssl on {name}: {e}"))?;
            screen.line(&format!("openssl s_client   {name}: trusted"));
        }
    } else {
        show_usage(&screen, &example);
        let mut renewals =
            Renewals { serial: chain.leaf.serial.clone(), last_look: Instant::now() };
        let _ = wait_until(FOREVER, || {
            log.show(&example.nginx);
            renewals.show(&screen, &example);
            (stopped() || !example.nginx.is_running()).then_some(())
        });
        // Ctrl-C in a terminal reaches nginx too.
        if !stopped() {
            return Err(format!("NGINX has ended:\n{}", example.log_tail(30)));
        }
    }
    screen.step("Stopping everything");
    Ok(())
}

fn show_certificate(
    screen: &Screen,
    example: &Example,
    chain: &PeerChain,
    time: Duration,
) -> Result<(), String> {
    let leaf = &chain.leaf;
    let date = |unix| {
        let time = Asn1Time::from_unix(unix).map_err(|e| format!("a date: {e}"))?;
        Ok::<_, String>(time.to_string())
    };
    screen.step(&format!("NGINX serves it, {:.2} s after its start", time.as_secs_f64()));
    screen.line(&format!("address            https://{}/", example.addr()));
    screen.line(&format!("names              {}", leaf.sans.join(", ")));
    screen.line(&format!("issuer             {}", leaf.issuer));
    screen.line(&format!("valid from         {}", date(leaf.not_before)?));
    screen.line(&format!("valid until        {}", date(leaf.not_after)?));
    Ok(())
}

fn show_usage(screen: &Screen, example: &Example) {
    let port = example.addr().port();
    let roots = example.roots_file().display();
    let seconds = VALIDITY.as_secs();
    screen.step(&format!(
        "Serving; the certificate is renewed within {seconds} s; Ctrl-C stops everything"
    ));
    screen.line(&format!(
        "curl --cacert {roots} --resolve www.{ZONE}:{port}:127.0.0.1 https://www.{ZONE}:{port}/"
    ));
}

/// Shows when nginx serves another certificate.
struct Renewals {
    serial: String,
    last_look: Instant,
}

impl Renewals {
    fn show(&mut self, screen: &Screen, example: &Example) {
        if self.last_look.elapsed() < LOOK {
            return;
        }
        self.last_look = Instant::now();
        // While the servers are being stopped, there is nothing to look at.
        let Ok(PeerChain { leaf: Leaf { serial, .. }, .. }) = example.trusted() else { return };
        if serial != self.serial {
            screen
                .step(&format!("NGINX serves the renewed certificate {serial}, without a reload"));
            self.serial = serial;
        }
    }
}

/// Shows the lines of nginx's error log as they come.
struct Log<'a> {
    mark: u64,
    screen: &'a Screen,
}

impl Log<'_> {
    fn show(&mut self, nginx: &Nginx) {
        let text = nginx.log_from(self.mark);
        // What has no end yet is still being written.
        let Some(end) = text.rfind('\n') else { return };
        self.mark += end as u64 + 1;
        let lines = text.get(..end).unwrap_or_default().lines();
        let lines = lines.filter(|line| !is_ours(line) && !is_detail(line));
        lines.for_each(|line| self.screen.log(&without_mark(line)));
    }
}

/// Lines about the handshakes of this program, which looks all the time.
fn is_ours(line: &str) -> bool {
    line.contains("SSL_do_handshake() failed") || line.contains("client closed connection")
}

/// Lines about each request and each state, which are too many to look at.
fn is_detail(line: &str) -> bool {
    let details = [" ms", "state of the ", "attempt with "];
    line.contains("[debug]") && details.iter().any(|detail| line.contains(detail))
}

/// Takes the mark of the attempt out of a line: there is one attempt at a time.
fn without_mark(line: &str) -> String {
    let (start, rest) = line.split_once("acme_dns: attempt ").unwrap_or((line, ""));
    match rest.split_once(": ") {
        Some((_, text)) => format!("{start}acme_dns: {text}"),
        None => line.to_owned(),
    }
}

struct Screen {
    colour: bool,
}

impl Screen {
    fn new() -> Self {
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: io::stdout().is_terminal() && !plain }
    }

    fn step(&self, text: &str) {
        self.print("1", &format!("==> {text}"));
    }

    fn line(&self, text: &str) {
        self.print("0", &format!("    {text}"));
    }

    /// Colours by the level, which nginx writes in brackets.
    fn log(&self, line: &str) {
        let colours = [("[notice]", "36"), ("[warn]", "33"), ("[info]", "2"), ("[debug]", "2")];
        let found = colours.iter().find(|(level, _)| line.contains(level));
        self.print(found.map_or("31", |(_, colour)| colour), &format!("    {line}"));
    }

    fn print(&self, style: &str, text: &str) {
        if self.colour {
            println!("\x1b[{style}m{text}\x1b[0m");
        } else {
            println!("{text}");
        }
    }
}
