//! Where the figures come from.

use std::fs;
use std::thread;
use std::time::Duration;

use testbed::nginx_build::NginxBuild;

use crate::report::Report;

/// Says what is measured, and on what.
pub(crate) fn describe(build: &NginxBuild, report: &mut Report) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    report.machine(&[
        ("cpu", model.map_or("unknown", |(_, model)| model).to_owned()),
        ("cores", thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("linux", kernel.trim().to_owned()),
        ("load", load.split_whitespace().next().unwrap_or("unknown").to_owned()),
        ("module", env!("CARGO_PKG_VERSION").to_owned()),
        ("nginx", build.version.clone()),
        ("openssl", openssl::version::version().to_owned()),
    ]);
    report
        .explain("other work on the machine makes times longer: of several runs believe the least");
}

/// The time that all threads of a process have worked. The kernel counts it when a thread goes to
/// sleep.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    Some(times.sum())
}
