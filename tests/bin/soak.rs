//! `make soak`: nginx with many certificates of two minutes, under fire.
//!
//! `MINUTES` in the environment says for how long, `SEED` which random events; the seed of a run is
//! in its first line. `NAMES` makes it that of one server for so many names, with certificates of ten minutes, whose
//! watched file changes all the time.

use std::env;
use std::panic;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testbed::measurements::soak::{self, Plan, many};

const MINUTES: u64 = 30;

/// Of a soak with many names: the validity of each certificate, and the lines that change in a minute.
const VALIDITY: Duration = Duration::from_secs(600);
const CHANGES: usize = 100;

fn main() -> ExitCode {
    // The testbed panics with a whole sentence; where in our sources is of no interest here.
    panic::set_hook(Box::new(|info| {
        eprintln!("soak: {}", info.payload_as_str().unwrap_or("it failed"));
    }));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let numbers =
        ["MINUTES", "SEED", "NAMES"].map(number).into_iter().collect::<Result<Vec<_>, _>>();
    let (minutes, seed, names) = match numbers.as_deref() {
        Ok([minutes, seed, names]) => (minutes.unwrap_or(MINUTES), *seed, *names),
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (duration, seed) = (Duration::from_secs(minutes * 60), seed.unwrap_or(time.as_secs()));
    let say = |line: &str| println!("{line}");
    let verdict = match names {
        Some(names) => many::run(&many(duration, names, seed), &say),
        None => soak::run(&Plan::long(duration, seed), &say),
    };
    println!("\n{}", verdict.table);
    for complaint in &verdict.complaints {
        println!("soak: {complaint}");
    }
    if verdict.complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The plan of a soak with many names.
fn many(duration: Duration, names: u64, seed: u64) -> many::Plan {
    let names = usize::try_from(names).unwrap_or(usize::MAX);
    many::Plan { duration, names, validity: VALIDITY, changes: CHANGES, seed }
}

/// A number in the environment; an empty one counts as not there.
fn number(name: &str) -> Result<Option<u64>, String> {
    match env::var(name).unwrap_or_default().as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{name}={text} is no number")),
    }
}
