//! Where the figures come from.

use std::fs;
use std::process::Command;
use std::thread;

use testbed::nginx_build::NginxBuild;
use testbed::package;
use testbed::process::run;

use crate::report::Report;

/// Says what is measured, and on what.
pub(crate) fn describe(build: &NginxBuild, report: &mut Report) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let pebble = run(Command::new(package::pebble()).arg("-version")).unwrap_or_default();
    let pebble = pebble.split_whitespace().last().unwrap_or("unknown");
    report.machine(&[
        ("cpu", model.map_or("unknown", |(_, model)| model).to_owned()),
        ("cores", thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("linux", kernel.trim().to_owned()),
        ("load", load.split_whitespace().next().unwrap_or("unknown").to_owned()),
        ("module", env!("CARGO_PKG_VERSION").to_owned()),
        ("nginx", build.version.clone()),
        ("openssl", openssl::version::version().to_owned()),
        ("pebble", pebble.to_owned()),
    ]);
    report
        .explain("other work on the machine makes times longer: of several runs believe the least");
}
