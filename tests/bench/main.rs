//! `make bench`: how long certificates take, and what a handshake costs.
//!
//! Every figure is a line, `name value unit` or `name ratio low high`; lines with `#` explain. With
//! `--json FILE`, or `BENCH_JSON` in the environment, they are written to a file as well. The names
//! of parts as arguments leave the others out; `--quick` only shows that each works. Nothing is
//! asserted: a part fails only if something does not work at all, and the others still run.
//! docs/performance.md says how to read the figures.

mod client;
mod handshake;
mod idle;
mod issuance;
mod machine;
mod orders;
mod report;
mod resumption;
mod scale;
mod schedule;
mod server;
mod setup;
mod sni;
mod status;
mod swap;
mod turns;
mod versions;
mod watched;

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;
use setup::Setup;
use testbed::nginx::build::NginxBuild;

/// A part that can be measured by itself.
struct Part {
    name: &'static str,
    measure: fn(&Setup, &mut Report) -> Result<(), String>,
}

/// In the order in which they run.
const PARTS: [Part; 14] = [
    Part { name: "size", measure: machine::size },
    Part { name: "issuance", measure: issuance::measure },
    Part { name: "orders", measure: orders::measure },
    Part { name: "handshake", measure: handshake::measure },
    Part { name: "resumed", measure: resumption::measure_resumed },
    Part { name: "keepalive", measure: resumption::measure_kept },
    Part { name: "swap", measure: swap::measure },
    Part { name: "idle", measure: idle::measure },
    Part { name: "scale", measure: scale::measure },
    Part { name: "sni", measure: sni::measure },
    Part { name: "schedule", measure: schedule::measure },
    Part { name: "status", measure: status::measure },
    Part { name: "watched", measure: watched::measure },
    Part { name: "versions", measure: versions::measure },
];

fn main() -> ExitCode {
    // The testbed panics with a whole sentence; where in our sources is of no interest here.
    panic::set_hook(Box::new(|info| {
        eprintln!("bench: {}", info.payload_as_str().unwrap_or("it failed"));
    }));
    match Options::read(env::args().skip(1)).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let setup = Setup { build: NginxBuild::get(), quick: options.quick };
    let mut report = Report::default();
    machine::describe(&setup, &mut report);
    let mut failed = Vec::new();
    for part in PARTS.iter().filter(|part| options.has(part.name)) {
        // What has panicked has said why.
        let run = AssertUnwindSafe(|| (part.measure)(&setup, &mut report));
        if let Err(error) = panic::catch_unwind(run).unwrap_or_else(|_| Err("see above".into())) {
            eprintln!("bench: {}: {error}", part.name);
            failed.push(part.name);
        }
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    quick: bool,
    parts: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let json = env::var_os("BENCH_JSON").filter(|file| !file.is_empty());
        let mut options = Self { json: json.map(PathBuf::from), ..Self::default() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = Some(arguments.next().ok_or_else(usage)?.into()),
                "--quick" => options.quick = true,
                part if PARTS.iter().any(|known| known.name == part) => {
                    options.parts.push(argument);
                }
                _ => return Err(usage()),
            }
        }
        Ok(options)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|given| given == part)
    }
}

fn usage() -> String {
    let parts = PARTS.iter().map(|part| format!(" [{}]", part.name)).collect::<String>();
    format!("usage: bench [--json FILE] [--quick]{parts}")
}
