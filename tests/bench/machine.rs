//! The machine that the figures come from.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::report::Report;
use crate::setup::Setup;

/// Says what is measured, and on what.
pub(crate) fn describe(setup: &Setup, report: &mut Report) {
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
        ("nginx", setup.build.version.clone()),
        ("openssl", openssl::version::version().to_owned()),
    ]);
    if setup.quick {
        report.explain("a quick run: it shows that each part works, its figures mean little");
    }
    report
        .explain("other work on the machine makes times longer: of several runs believe the least");
}

/// The size of the module.
pub(crate) fn size(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let module = &setup.build.module;
    let meta =
        fs::metadata(module).map_err(|e| format!("cannot read {}: {e}", module.display()))?;
    report.value("module_size", meta.len() as f64, "bytes");
    Ok(())
}

/// Keeps the thread that has made it on the processor of a process, until it is dropped.
///
/// To wake a process on another processor costs more than a request, and how much more depends on
/// what that processor does; which of them the kernel chooses for a client changes all the time.
pub(crate) struct Beside(CpuSet);

impl Beside {
    /// `pid` is that of a process that is bound to a processor.
    pub(crate) fn process(pid: u32) -> Result<Self, String> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let change = || {
            let before = sched_getaffinity(None)?;
            sched_setaffinity(None, &sched_getaffinity(id)?)?;
            Ok::<_, Errno>(Self(before))
        };
        change().map_err(|e| format!("cannot run on the processor of process {pid}: {e}"))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It was possible before.
        let _ = sched_setaffinity(None, &self.0);
    }
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

/// Counts how often the threads of a process have gone to sleep by themselves, and so were woken.
pub(crate) fn wake_ups(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let numbers = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    });
    Some(numbers.sum())
}
