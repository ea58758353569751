//! The program `acme-dns-providers`: changes TXT records at many DNS providers, by the crate `dns-update`.
//!
//! The service of `ngx_http_acme_dns_module` starts it for each request. It is a program of its own so that the
//! module does not grow by a library that only some need, and so that a panic, a leak or a hang of that library
//! is the end of one request and of nothing else.
//! [`acme_dns_core::providers_protocol`] has the lines that they exchange.
#![forbid(unsafe_code)]

mod failure;
mod reach;
mod settings;
mod task;
mod types;

use acme_dns_core::providers_protocol::{Answer, Failure, FailureKind, Hello, Request, VERSION};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde::Serialize;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;
use types::TYPES;
use zeroize::Zeroizing;

/// Longest request that is read, in octets.
const MAX_REQUEST: u64 = 1 << 20;

fn main() -> ExitCode {
    match close_memory().and_then(|()| serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("acme-dns-providers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Closes this process's memory to its own user, and has it leave no core dump: it will hold secrets.
fn close_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Says what this program is, and does one request. Whoever does not like what it says sends none.
fn serve() -> io::Result<()> {
    say(&Hello {
        protocol: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        types: TYPES.iter().map(|kind| kind.name.to_owned()).collect(),
    })?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_REQUEST).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => task::run(request),
        // The error may quote the request.
        Err(_) => Answer::Error(Failure {
            kind: FailureKind::Other,
            text: "the request cannot be read".to_owned(),
            done: 0,
        }),
    };
    say(&answer)
}

fn say(line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
