//! Requests to the master to load its configuration again. When one is made is for the service to decide.
//!
//! It takes a signal to the master, but the service has a user of its own, and the master is mostly
//! root. What helps is the channel between the two: nginx has the kernel send a signal to the
//! master when something arrives there (`FIOASYNC`, `F_SETOWN`), with the master's own rights. The manager
//! has the master's end of the channel while it starts; the service keeps that, and has `SIGHUP` sent in
//! place of `SIGIO` for one message, which it takes out again itself.

use super::nginx::process;
use ngx::ffi::{NGX_PROCESS_HELPER, ngx_channel, ngx_parent, ngx_process_slot, ngx_processes};
use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// The master's end of this process's channel; -1 if there is none.
static MASTERS_END: AtomicI32 = AtomicI32::new(-1);

/// Keeps the master's end of the channel. Called while the helper starts: nginx closes it next.
pub(super) fn prepare() {
    // SAFETY: set by nginx before the fork.
    let slot = usize::try_from(unsafe { ngx_process_slot }).unwrap_or(usize::MAX);
    let all = &raw const ngx_processes;
    // SAFETY: a table of nginx's, which only the main thread changes, and this is that thread.
    let Some(own) = (unsafe { (*all).get(slot) }) else { return };
    let [masters, _] = own.channel;
    // SAFETY: a plain system call on a descriptor of this process.
    let copy = unsafe { libc::fcntl(masters, libc::F_DUPFD_CLOEXEC, 0) };
    MASTERS_END.store(copy, Ordering::Relaxed);
}

/// Gives the master's end of the channel; -1 if there is none.
pub(super) fn masters_end() -> c_int {
    MASTERS_END.load(Ordering::Relaxed)
}

/// Gives the master's end up.
pub(super) fn forget() {
    let masters = MASTERS_END.swap(-1, Ordering::Relaxed);
    if masters >= 0 {
        // SAFETY: a copy of this process's own, which nothing uses any more.
        unsafe { libc::close(masters) };
    }
}

/// Asks for a reload.
pub(super) fn request() -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot signal the NGINX master ({error})");
    let is_helper = process() == NGX_PROCESS_HELPER;
    // In single process mode this process is the one that reloads. Not `getppid()`: where the master has
    // died, that is the first process of the system.
    // SAFETY: set by nginx before the fork, as is the next.
    let master = if is_helper { unsafe { ngx_parent } } else { std::process::id().cast_signed() };
    // SAFETY: a plain system call.
    if unsafe { libc::kill(master, libc::SIGHUP) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM) if is_helper => signal_by_channel().map_err(failed),
        _ => Err(failed(error)),
    }
}

fn signal_by_channel() -> io::Result<()> {
    let masters = masters_end();
    // SAFETY: set by nginx before the thread of this process was started.
    let own = unsafe { ngx_channel };
    let armed = SighupOnArrival::new(masters)?;
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: one byte is read from there.
    let sent = unsafe { libc::send(own, c"R".as_ptr().cast(), 1, flags) };
    let result = if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // At once: the signal was sent with the message, and the end of this process would send it again.
    drop(armed);
    let mut message = [0_u8; 1];
    // SAFETY: there is room for one byte. If the master was quicker, it has read a message that it does
    // not know, and ignored it.
    unsafe { libc::recv(masters, message.as_mut_ptr().cast(), message.len(), libc::MSG_DONTWAIT) };
    result
}

/// While this lives, what arrives at the descriptor sends `SIGHUP` to its owner.
struct SighupOnArrival(c_int);

impl SighupOnArrival {
    fn new(descriptor: c_int) -> io::Result<Self> {
        set_signal(descriptor, libc::SIGHUP)?;
        Ok(Self(descriptor))
    }
}

impl Drop for SighupOnArrival {
    fn drop(&mut self) {
        // What could be set can be set back.
        let _infallible = set_signal(self.0, 0);
    }
}

/// Sets the signal for what arrives at a descriptor; 0 stands for `SIGIO`.
fn set_signal(descriptor: c_int, signal: c_int) -> io::Result<()> {
    // SAFETY: a plain system call; a wrong descriptor is an error.
    match unsafe { libc::fcntl(descriptor, F_SETSIG, signal) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Of Linux (`fcntl(2)`); the crate libc does not have it for all of its targets.
const F_SETSIG: c_int = 10;
