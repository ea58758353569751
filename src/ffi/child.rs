//! Programs that the service starts, as new processes: what only a process can do for itself, between its fork
//! and the program.
//!
//! This file needs nothing but the C library: the tests of the service have it too.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The last number of a signal.
const LAST_SIGNAL: i32 = 64;

/// The last descriptor that is looked at where the kernel cannot close them together.
const LAST_DESCRIPTOR: i32 = 1023;

/// Mask by which what programs make is for their user alone; nginx has cleared its own.
const UMASK: libc::mode_t = 0o077;

/// Has a command begin with none of this process's descriptors but the standard ones, with signals as every
/// program expects them, with files closed to others and without core dumps, which might hold its secrets; and
/// has it end with the thread that starts it.
pub(super) fn prepare(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: what is called between fork and exec takes no lock and no memory: system calls only.
    unsafe { command.pre_exec(move || begin(parent)) };
}

fn begin(parent: u32) -> io::Result<()> {
    // SAFETY: a plain system call, as are all below.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: as above.
    if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
        // It has ended before the request.
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    for signal in 1..=LAST_SIGNAL {
        // Some cannot be set, and need not.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
    close_descriptors();
    // SAFETY: as above.
    unsafe { libc::umask(UMASK) };
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits are read from there.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    Ok(())
}

fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: initializes the set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set is initialized.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Has the program begin without the descriptors of the service: it would hold the lock of the state path. Until
/// then one of them tells the parent of a failure.
fn close_descriptors() {
    let from = libc::STDERR_FILENO + 1;
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: changes flags of this process's own descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, flags) } == 0 {
        return;
    }
    // Before Linux 5.11.
    for descriptor in from..=LAST_DESCRIPTOR {
        // SAFETY: as above; most of these numbers are none of a descriptor.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
