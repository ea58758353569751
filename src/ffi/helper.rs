//! The helper: nginx's cache manager process, and the service that it starts.
//!
//! nginx starts the manager because a path has a `manager`, runs it as the workers' user, respawns it, and
//! asks it to leave on reload and stop. Everybody who has that user can talk to it: it listens to nginx's
//! channel, whose other ends all workers hold. So it has nothing to steal. The service is a child of it
//! that is forked before the manager listens to anything, and that alone keeps the secrets
//! (`service_process`); the manager forgets them at once, and writes the lines of the service to the log.
//!
//! nginx's cache loader comes here too, and is not known from the manager before nginx calls
//! [`manager`], which only happens in the latter. Its child never hears that it may begin, and ends.
//!
//! In single process mode there is no helper, and the service is a thread beside the event loop.

use super::callback::{callback, guard};
use super::conf::{CoreConf, core_conf};
use super::cycle::Cycle;
use super::memory::SharedMemory;
use super::nginx::{ChannelEvent, Timer, add_channel_event, log, tell, terminate, update_time};
use super::privileges;
use super::relay::{Relay, RelayMessage};
use super::reload;
use super::service_process::{self, ServiceThread};
use acme_dns_service::event::NginxEvent;
use ngx::ffi::{ngx_event_t, ngx_msec_t, ngx_parent};
use std::ffi::c_void;
use std::io;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Longest time between two calls of `manager`; the service does not depend on it.
const MANAGER_INTERVAL: ngx_msec_t = 3600 * 1000;

/// Longest time until nginx calls `manager` in the process that is the manager.
const LOADER_AFTER: ngx_msec_t = 2000;

/// Pause before a manager without a service exits, to be started anew.
const RETRY_AFTER: ngx_msec_t = 30_000;

/// Pause before a manager exits whose service has ended before it began.
const EARLY_RETRY_AFTER: ngx_msec_t = 1000;

/// Time that workers give a service to begin before they say that there is none.
const MISSING_AFTER: ngx_msec_t = 10_000;

/// Longest time that a manager waits for the end of the service, which takes some tenths of a second.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Service of this helper process.
struct Child {
    pid: libc::pid_t,
    relay: Relay,
    state: ChildState,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum ChildState {
    /// Unknown so far whether this process is the manager.
    Waiting,
    /// Service that was told to begin.
    AtWork,
    /// Service of a process that turned out to be the loader.
    Unwanted,
}

/// The service of a manager.
static CHILD: Mutex<Option<Child>> = Mutex::new(None);

/// The service of a single process.
static THREAD: Mutex<Option<ServiceThread>> = Mutex::new(None);

/// The one timer of a manager, a loader or a worker.
static TIMER: Timer = Timer::new();

/// Divides a new helper process in two: the service, and this process with nothing to steal.
///
/// # Safety
/// Called in `init_process`: this process has one thread.
pub(super) unsafe fn divide(conf: &mut CoreConf) -> io::Result<()> {
    if conf.ready().is_none() {
        conf.vault.forget();
        return Ok(());
    }
    privileges::close();
    reload::prepare();
    let forked = Relay::pair().and_then(|(managers, services)| {
        let parent = std::process::id();
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(managers);
                service_process::run(conf, services, parent)
            }
            pid => Ok(Child { pid, relay: managers, state: ChildState::Waiting }),
        }
    });
    conf.vault.forget();
    SharedMemory::give_up_all();
    reload::forget();
    privileges::drop_all()?;
    follow_master();
    at_exit(stop_child);
    if let Err(error) = forked.and_then(watch) {
        tell(NginxEvent::ServiceNotStarted { why: error.to_string() });
        TIMER.start(retry, RETRY_AFTER);
    }
    Ok(())
}

/// Listens to a new service.
fn watch(child: Child) -> io::Result<()> {
    // nginx's own handler would fetch its exit status, and speak of an unknown process.
    // SAFETY: a plain system call; this process has no other children.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    add_channel_event(child.relay.descriptor(), readable)?;
    *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    TIMER.start(is_loader, LOADER_AFTER);
    Ok(())
}

callback! {
    /// Lets the service begin. nginx calls this in the manager, as soon as its event loop runs and from time to time.
    pub(super) fn manager(_data: *mut c_void) -> ngx_msec_t {
        if let Some(child) = &mut *CHILD.lock().unwrap_or_else(PoisonError::into_inner)
            && child.state == ChildState::Waiting
        {
            child.state = ChildState::AtWork;
            TIMER.stop();
            child.relay.send_go();
        }
        MANAGER_INTERVAL
    } ?= MANAGER_INTERVAL
}

callback! {
    /// Ends the service of the cache loader: nginx has not called [`manager`] in this process.
    fn is_loader(_event: *mut ngx_event_t) {
        if let Some(child) = &mut *CHILD.lock().unwrap_or_else(PoisonError::into_inner) {
            child.state = ChildState::Unwanted;
            child.relay.end();
        }
    } ?= ()
}

callback! {
    /// Ends a manager without a service, to be started anew.
    fn retry(_event: *mut ngx_event_t) {
        terminate();
    } ?= ()
}

callback! {
    /// Writes the lines of the service to the log, and notices its end.
    fn readable(event: ChannelEvent) {
        let mut child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alive = child.as_ref().is_some_and(|child| write_lines(&child.relay));
        if is_alive {
            return;
        }
        let ended = child.take();
        drop(child);
        // It closes the descriptor.
        event.close();
        let Some(Child { pid, relay, state }) = ended else { return };
        relay.give_away();
        let how = fetch_status(pid);
        if state == ChildState::Unwanted {
            return;
        }
        tell(NginxEvent::ServiceExited { pid, how });
        if state == ChildState::AtWork {
            // The master starts both anew.
            terminate();
        } else {
            // It has not come so far as to count its starts, and pause.
            TIMER.stop();
            TIMER.start(retry, EARLY_RETRY_AFTER);
        }
    } ?= ()
}

/// Writes what is there to nginx's log; gives whether there may be more.
fn write_lines(relay: &Relay) -> bool {
    loop {
        match relay.receive() {
            RelayMessage::Line(level, line) => log(level, &line),
            RelayMessage::Nothing => return true,
            RelayMessage::End => return false,
        }
    }
}

/// Waits for the end of a child that has closed its socket; gives how it has ended.
fn fetch_status(pid: libc::pid_t) -> String {
    let mut status = 0;
    // SAFETY: the status is written there.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
        return io::Error::last_os_error().to_string();
    }
    match libc::WIFSIGNALED(status) {
        true => format!("on signal {}", libc::WTERMSIG(status)),
        false => format!("with code {}", libc::WEXITSTATUS(status)),
    }
}

/// Stops the service when the manager exits: in good order, with its last lines written.
extern "C" fn stop_child() {
    guard((), || {
        let child = CHILD.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Child { pid, relay, .. }) = child else { return };
        relay.end();
        let begun = Instant::now();
        while let Some(left) = STOP_LIMIT.checked_sub(begun.elapsed())
            && relay.wait(None, Some(left))
        {
            // The event loop, which does this, has ended.
            update_time();
            if !write_lines(&relay) {
                fetch_status(pid);
                return;
            }
        }
        // It dies with this process.
        tell(NginxEvent::ServiceKilled { pid });
    });
}

/// Makes this process exit with its master, even if the master is killed.
fn follow_master() {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    // SAFETY: set by nginx before the fork.
    let master = unsafe { ngx_parent };
    // SAFETY: a plain system call.
    if unsafe { libc::getppid() } != master {
        // It died before the request above.
        // SAFETY: a signal to this process.
        unsafe { libc::raise(libc::SIGTERM) };
    }
}

/// Has this worker log an error after a while if no service has begun, whatever the reason.
pub(super) fn expect_service() {
    TIMER.start(is_missing, MISSING_AFTER);
}

callback! {
    fn is_missing(_event: *mut ngx_event_t) {
        // SAFETY: a worker has one cycle as long as it lives.
        let conf = core_conf(unsafe { Cycle::current() });
        let ready = conf.as_ref().and_then(|conf| conf.ready());
        if ready.is_some_and(|ready| ready.memory.starts() == 0) {
            let after = Duration::from_millis(MISSING_AFTER as u64);
            tell(NginxEvent::NoService { after });
        }
    } ?= ()
}

/// Starts the thread of a single process, once.
pub(super) fn start_thread(conf: &mut CoreConf) {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.is_some() {
        return;
    }
    at_exit(stop_thread);
    *thread = service_process::start_thread(conf);
}

/// Starts the thread anew with the configuration in force, if it runs in this process.
pub(super) fn restart_thread(conf: &mut CoreConf) {
    let running = THREAD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(running) = running {
        running.stop();
        start_thread(conf);
    }
}

extern "C" fn stop_thread() {
    guard((), || {
        let running = THREAD.lock().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some_and(|running| !running.stop()) {
            // OpenSSL is at work in another thread, and would clean up under its hands.
            // SAFETY: ends the process; nginx has done all that it does before it leaves.
            unsafe { libc::_exit(0) };
        }
    });
}

/// Has a function called when this process exits: `exit()` calls no module.
fn at_exit(function: extern "C" fn()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a function of this object, which is never unloaded (build.rs).
        unsafe { libc::atexit(function) };
    });
}
