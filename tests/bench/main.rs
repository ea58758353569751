//! `make bench`: how long certificates take, and what a handshake costs.
//!
//! Every figure is a line, `name value unit` or `name median low high`; lines with `#` explain. With
//! `--json FILE`, or `BENCH_JSON` in the environment, they are written to a file as well. The names
//! of parts as arguments leave the others out. Nothing is asserted: it fails only if something does
//! not work at all.

mod client;
mod handshake;
mod issuance;
mod machine;
mod report;
mod scale;

use std::env;
use std::fs;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;
use testbed::nginx_build::NginxBuild;

const PARTS: [&str; 4] = ["size", "issuance", "handshake", "scale"];

const USAGE: &str = "usage: bench [--json FILE] [size] [issuance] [handshake] [scale]";

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
    let build = NginxBuild::get();
    let mut report = Report::default();
    machine::describe(build, &mut report);
    if options.has("size") {
        let size = fs::metadata(&build.module)
            .map_err(|e| format!("cannot read {}: {e}", build.module.display()))?
            .len();
        report.value("module_size", size as f64, "bytes");
    }
    if options.has("issuance") {
        issuance::measure(build, &mut report)?;
    }
    if options.has("handshake") {
        handshake::measure(build, &mut report)?;
    }
    if options.has("scale") {
        scale::measure(build, &mut report)?;
    }
    match &options.json {
        Some(path) => fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|e| format!("cannot write {}: {e}", path.display())),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    parts: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let json = env::var_os("BENCH_JSON").filter(|file| !file.is_empty());
        let mut options = Self { json: json.map(PathBuf::from), parts: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = Some(arguments.next().ok_or(USAGE)?.into()),
                part if PARTS.contains(&part) => options.parts.push(argument),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|given| given == part)
    }
}
