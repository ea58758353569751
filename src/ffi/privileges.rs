//! Users and capabilities of nginx's processes, on Linux. Which user the service takes is decided in `identity`.
//!
//! nginx gives up root by `setuid()` and makes its processes dumpable right after. From then on whoever has
//! the workers' user can trace a process that still has the secrets, until the module is called in it. So the
//! master, if it is root, has its children keep their permitted capabilities over `setuid()`
//! (`PR_SET_KEEPCAPS`): the kernel lets nobody trace a process that has capabilities that he has not. Each
//! child drops them as soon as the module is called in it, and with the same capabilities the service takes
//! a user of its own.
//!
//! `proxy_bind ... transparent` has nginx itself keep CAP_NET_RAW, for all of its children. The module does
//! that in its place ([`keep_for_children`]), for workers only.
//!
//! The calls are raw system calls: those of the C library would change all threads of a process, and with
//! `master_process off` the service is one thread of nginx.

use super::cycle::CoreSettings;
use super::nginx::is_root;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER: files of another user (capabilities(7)).
const FILES: u64 = 1 << 0 | 1 << 1 | 1 << 3;

/// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: each lets root read files of another user.
const READ_ALL: u64 = 1 << 1 | 1 << 2;

/// CAP_SETGID and CAP_SETUID.
const USERS: u64 = 1 << 6 | 1 << 7;

/// CAP_NET_RAW.
const NET_RAW: u64 = 1 << 13;

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;

/// A user that a process can take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Number of configurations that have a service: one, and during a reload two.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Set if workers are to have CAP_NET_RAW.
static TRANSPARENT: AtomicBool = AtomicBool::new(false);

/// Has children of this process keep their capabilities while it lives.
#[derive(Debug)]
pub(super) struct KeptCapabilities(());

/// Keeps capabilities for the children of a master with a service. `None` where nothing is to be
/// kept: the master is not root, or its children stay root.
pub(super) fn keep_for_children(settings: &mut CoreSettings<'_>) -> Option<KeptCapabilities> {
    if !is_root() || settings.user() == 0 {
        return None;
    }
    // nginx would drop what the service needs to take its user, and leave in the manager what workers have.
    TRANSPARENT.store(settings.take_transparent(), Ordering::Relaxed);
    IN_USE.fetch_add(1, Ordering::Relaxed);
    set_keep(true);
    Some(KeptCapabilities(()))
}

impl Drop for KeptCapabilities {
    fn drop(&mut self) {
        if IN_USE.fetch_sub(1, Ordering::Relaxed) == 1 {
            // A later worker of a configuration without a service would have all that root has.
            set_keep(false);
        }
    }
}

fn set_keep(keep: bool) {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) };
}

/// Drops in a worker what its master had it keep.
pub(super) fn drop_in_worker() -> io::Result<()> {
    let kept = if TRANSPARENT.load(Ordering::Relaxed) { NET_RAW } else { 0 };
    drop_all_but(kept)
}

/// Drops the capabilities of this process, where the master had it keep some.
pub(super) fn drop_all() -> io::Result<()> {
    drop_all_but(0)
}

fn drop_all_but(kept: u64) -> io::Result<()> {
    if IN_USE.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    set_keep(false);
    let kept = kept & permitted()?;
    set(kept, kept)
}

/// Looks at files of a user as that user, where this process is root and still may not read what others have
/// closed: a container may have dropped CAP_DAC_OVERRIDE. Where it may not change its user either, it looks as
/// it is.
pub(super) fn with_files_of<T>(user: Option<Ids>, action: impl FnOnce() -> T) -> T {
    let may_read_all = || permitted().is_ok_and(|permitted| permitted & READ_ALL != 0);
    let Some(Ids { uid, gid }) = user.filter(|_| is_root() && !may_read_all()) else {
        return action();
    };
    // SAFETY: a plain system call.
    let was_dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    set_file_ids(uid, gid);
    let result = action();
    set_file_ids(0, 0);
    // The kernel has cleared it.
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(was_dumpable == 1)) };
    result
}

/// Sets who this thread is for file systems alone. The calls give the number before, and no error.
fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: a plain system call.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
    // SAFETY: a plain system call.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
}

/// Closes this process to tracers and core dumps.
pub(super) fn close() {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0_u64, 0, 0, 0) };
}

/// Raises the rights to change owners of files, for a thread that may have them; they last until it takes a user.
pub(super) fn raise_for_files() -> io::Result<()> {
    let permitted = permitted()?;
    set(permitted & (FILES | USERS), permitted)
}

/// Makes this thread one of another user, with these groups besides the user's own, for good: without any
/// capability, and without programs that would give it some.
pub(super) fn take_user(ids: Option<Ids>, groups: &[u32]) -> io::Result<()> {
    if let Some(Ids { uid, gid }) = ids {
        let permitted = permitted()?;
        set(permitted & USERS, permitted)?;
        // SAFETY: as many groups are read from there.
        check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
        // SAFETY: a plain system call.
        check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
        // SAFETY: a plain system call.
        check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        set(0, 0)?;
    }
    // SAFETY: a plain system call.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0, 0, 0) }.into())
}

#[repr(C)]
struct CapHeader {
    version: u32,
    thread: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Reads the capabilities that this thread may have.
fn permitted() -> io::Result<u64> {
    let mut header = CapHeader { version: VERSION, thread: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: this version has two sets of words, which are written.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(result)?;
    let [low, high] = data;
    Ok(u64::from(low.permitted) | u64::from(high.permitted) << 32)
}

fn set(effective: u64, permitted: u64) -> io::Result<()> {
    let mut header = CapHeader { version: VERSION, thread: 0 };
    let words = |shift: u32| CapData {
        effective: u32::try_from(effective >> shift & 0xffff_ffff).unwrap_or_default(),
        permitted: u32::try_from(permitted >> shift & 0xffff_ffff).unwrap_or_default(),
        inheritable: 0,
    };
    let data = [words(0), words(32)];
    // SAFETY: this version has two sets of words, which are read.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
