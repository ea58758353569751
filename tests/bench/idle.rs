//! Work of nginx when nobody wants anything: with the module and one certificate, and without it.

use std::thread;
use std::time::{Duration, Instant};

use crate::machine::{cpu_time, wake_ups};
use crate::report::Report;
use crate::server::{Certificate, Source};
use crate::setup::Setup;

/// Time that it is watched.
const TIME: Duration = Duration::from_secs(60);

/// Sleep of the helper after which all that a start has begun is over.
const QUIET: Duration = Duration::from_secs(5);

/// Longer than it takes until then.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures the processor time and the wake-ups of each process.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let certificate = Certificate::obtain(setup.build, "ecdsa:256")?;
    let ours = certificate.serve(Source::Module, "")?;
    let stock = certificate.serve(Source::File, "")?;
    let helper = ours.nginx.wait_for_helper();
    wait_until_quiet(helper)?;
    let time = setup.time(TIME);
    report.explain(&format!(
        "idle: CPU time and wake-ups within {} s, of the helper and the worker of an nginx with \
         one certificate of ours, and of the worker of an nginx without the module",
        time.as_secs(),
    ));
    let processes = [("helper", helper), ("worker", ours.worker), ("stock_worker", stock.worker)];
    let look = || processes.iter().map(|(_, pid)| seen(*pid)).collect::<Result<Vec<_>, _>>();
    let before = look()?;
    thread::sleep(time);
    let after = look()?;
    for (((name, _), before), after) in processes.iter().zip(before).zip(after) {
        let worked = (after.0 - before.0).as_secs_f64() * 1000.0;
        report.value(&format!("idle_{name}_cpu"), worked, "ms");
        report.value(&format!("idle_{name}_wakeups"), (after.1 - before.1) as f64, "wake-ups");
    }
    Ok(())
}

fn seen(pid: u32) -> Result<(Duration, u64), String> {
    cpu_time(pid).zip(wake_ups(pid)).ok_or_else(|| format!("process {pid} has ended"))
}

fn wait_until_quiet(pid: u32) -> Result<(), String> {
    let begin = Instant::now();
    let mut last = seen(pid)?;
    while begin.elapsed() < LIMIT {
        thread::sleep(QUIET);
        let now = seen(pid)?;
        if now == last {
            break;
        }
        last = now;
    }
    // Who never sleeps that long is measured as well.
    Ok(())
}
