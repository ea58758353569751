//! `make soak`: nginx with many certificates of two minutes, under fire.
//!
//! `MINUTES` in the environment says for how long, `SEED` which random events; the seed of a run is
//! in its first line.

use std::env;
use std::panic;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testbed::measurements::soak::{self, Plan};

const MINUTES: u64 = 30;

fn main() -> ExitCode {
    // The testbed panics with a whole sentence; where in our sources is of no interest here.
    panic::set_hook(Box::new(|info| {
        eprintln!("soak: {}", info.payload_as_str().unwrap_or("it failed"));
    }));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let numbers = number("MINUTES").and_then(|minutes| Ok((minutes, number("SEED")?)));
    let (minutes, seed) = match numbers {
        Ok((minutes, seed)) => (minutes.unwrap_or(MINUTES), seed.unwrap_or(time.as_secs())),
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    let plan = Plan::long(Duration::from_secs(minutes * 60), seed);
    let verdict = soak::run(&plan, &|line| println!("{line}"));
    println!("\n{}", verdict.table);
    for complaint in &verdict.complaints {
        println!("soak: {complaint}");
    }
    if verdict.complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A number in the environment; an empty one counts as not there.
fn number(name: &str) -> Result<Option<u64>, String> {
    match env::var(name).unwrap_or_default().as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{name}={text} is no number")),
    }
}
