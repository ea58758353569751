//! `make matrix`: builds the module for every nginx that we support, loads it there, and has each
//! obtain a certificate.
//!
//! Arguments choose among them: `vendored` or the name of a Debian suite.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use servers::Testbed;
use servers::ZONE;
use servers::process::caught;
use testbed::clients::compression;
use testbed::nginx::build::{ALL, NginxBuild};
use testbed::nginx::example::Example;

/// Results of one nginx.
struct Row {
    version: String,
    module_bytes: Option<u64>,
    result: Result<Duration, String>,
}

fn main() -> ExitCode {
    let chosen: Vec<String> = env::args().skip(1).collect();
    let chosen = if chosen.is_empty() { ALL.map(str::to_owned).to_vec() } else { chosen };
    let bed = Testbed::start();
    let rows: Vec<Row> = chosen.iter().map(|from| try_one(&bed, from)).collect();

    println!("\n{:<10} {:>12} {:>20}  result", "nginx", "module, KiB", "certificate after, s");
    for row in &rows {
        let size = row.module_bytes.map_or("-".to_owned(), |bytes| (bytes / 1024).to_string());
        let time = row.result.as_ref().map(|t| format!("{:.2}", t.as_secs_f64()));
        let result = if row.result.is_ok() { "ok" } else { "failed" };
        println!("{:<10} {size:>12} {:>20}  {result}", row.version, time.unwrap_or("-".into()));
    }
    if rows.iter().all(|row| row.result.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_one(bed: &Testbed, from: &str) -> Row {
    println!("==> nginx of {from}");
    let row = match caught(|| NginxBuild::of(from)) {
        Err(error) => Row { version: from.to_owned(), module_bytes: None, result: Err(error) },
        Ok(build) => Row {
            version: build.version.clone(),
            module_bytes: fs::metadata(&build.module).ok().map(|meta| meta.len()),
            result: caught(|| issue(bed, &build)),
        },
    };
    match &row.result {
        Ok(time) => println!("    {}: certificate after {time:.2?}", row.version),
        Err(error) => println!("    {} failed: {error}", row.version),
    }
    row
}

fn issue(bed: &Testbed, build: &NginxBuild) -> Result<Duration, String> {
    // As it is, which may be without streams and mail; then with them.
    let mut example = Example::new(bed, build);
    let (_, time) = example.obtain(|_| true)?;
    for name in Example::names() {
        example.check_with_openssl(&name).map_err(|e| format!("openssl on {name}: {e}"))?;
    }
    drop(example);
    let mut example = Example::new(bed, build);
    example.add_stream_and_mail(build);
    let compresses = build.is_at_least(1, 29);
    if compresses {
        example.compress();
    }
    example.obtain(|_| true).map_err(|e| format!("with streams and mail: {e}"))?;
    if compresses && !compression::compresses(example.addr(), ZONE)? {
        return Err(format!("certificates are not compressed\n{}", example.log_tail(30)));
    }
    is_calm(&example)?;
    drop(example);
    let mut example = Example::new(bed, build);
    let last = example.add_many(build);
    example.obtain(|_| true).map_err(|e| format!("with many servers: {e}"))?;
    example.check_with_openssl(&last).map_err(|e| format!("openssl on {last}: {e}"))?;
    is_calm(&example)?;
    Ok(time)
}

fn is_calm(example: &Example) -> Result<(), String> {
    let log = example.nginx.log();
    let mut lines = log.lines();
    let bad = lines.find(|line| line.contains("[warn]") || line.contains("[error]"));
    bad.map_or(Ok(()), |line| Err(format!("it warns: {line}")))
}
