//! The service: the process that alone has the secrets, the accounts and the state path.
//!
//! It begins as a copy of the manager, with the workers' user, and with the capabilities that the master
//! had it keep ([`privileges`]), so that nobody else of that user can look into it. When it hears that it
//! may, it takes over the state path of the version before, takes a user of its own for good, and starts
//! the thread that works. Its main thread waits for the end of the manager, which is its own end.
//!
//! With `master_process off` the service is a thread of nginx, which does the same.

use super::callback::guard;
use super::conf::{CoreConf, Ready};
use super::growth;
use super::host::NginxHost;
use super::identity::Identity;
use super::memory::SharedMemory;
use super::nginx::{now, set_title, tell_event};
use super::privileges::{self, Ids};
use super::public_area::Area;
use super::relay::{Relay, RelayMessage};
use super::reload;
use super::writer::Writer;
use acme_dns_core::config::SecretId;
use acme_dns_core::level::Level;
use acme_dns_service::engine::{LEASE, LockWait, Service, Settings};
use acme_dns_service::event::{Event, ProcessEvent, StateEvent};
use acme_dns_service::host::Host;
use acme_dns_service::store::{TakeOver, User, take_over};
use ngx::ffi::ngx_channel;
use secrecy::SecretString;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two starts, in seconds, below which no person has ended the service.
const QUICK: i64 = 60;

/// Number of quick ends in a row that is worth a line, and a pause.
const SUSPICIOUS: u64 = 3;

/// Pause before a service that has ended again and again begins. Orders have pauses of their own: this
/// one spares the machine.
const PAUSE: Duration = Duration::from_secs(1);

/// Pause before a process that cannot work exits, to be started anew.
const RETRY: Duration = Duration::from_secs(30);

/// Pause between looks at a state path that is to be taken over while another process works in it.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);

/// Longest time that the thread may take to give up what is under way.
const STOP_LIMIT: Duration = Duration::from_millis(700);

/// Runs the service in a process that was just forked from a helper.
pub(super) fn run(conf: &mut CoreConf, relay: Relay, parent: u32) -> ! {
    let relay = Arc::new(relay);
    let code = guard(1, || {
        follow(parent);
        privileges::close();
        // Until now it is that of the master.
        set_title(c"acme dns process, waiting");
        let Some(ready) = conf.ready() else { return 1 };
        keep_only(&[relay.descriptor(), reload::masters_end(), channel()]);
        let signals = take_signals();
        report_panics(&relay);
        // SAFETY: both are descriptors of this process; from now on what is written to standard error is
        // a line of the log.
        unsafe { libc::dup2(relay.descriptor(), libc::STDERR_FILENO) };
        if !begins(&relay) {
            return 0;
        }
        let host = host(ready, Some(Arc::clone(&relay)));
        let pause = pause(&ready.memory, &*host);
        if !pause.is_zero() && relay.wait(None, Some(pause)) {
            return 0;
        }
        set_title(c"acme dns process");
        let may_wait = |interval| !relay.wait(Some(signals), Some(interval));
        if !become_service(&ready.identity, &*host, may_wait) {
            return 0;
        }
        privileges::close();
        follow(parent);
        let settings = settings(conf, ready);
        conf.vault.forget();
        match Service::start(settings, host.clone()) {
            Ok(service) => {
                relay.wait(Some(signals), None);
                i32::from(!service.stop_within(STOP_LIMIT))
            }
            Err(error) => {
                host.tell(&no_thread(&error));
                relay.wait(Some(signals), Some(RETRY));
                1
            }
        }
    });
    // Not `exit()`: what nginx, OpenSSL and this module do there is the parent's business, and other
    // threads may be at work.
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) };
}

/// Service that is a thread of this process.
pub(super) struct ServiceThread(Service);

impl ServiceThread {
    /// Ends the thread; gives whether nothing of it is left.
    pub(super) fn stop(self) -> bool {
        self.0.stop_within(STOP_LIMIT)
    }
}

/// Starts the service as a thread of this process.
pub(super) fn start_thread(conf: &mut CoreConf) -> Option<ServiceThread> {
    let ready = conf.ready()?;
    let host = host(ready, None);
    let (identity, its_host) = (ready.identity.clone(), host.clone());
    ready.memory.note_start(now().0, QUICK);
    let settings = settings(conf, ready);
    let blocked = BlockedSignals::new();
    let prepare = move || {
        // A stop does not wait for this thread for long.
        let may_wait = |interval| {
            thread::sleep(interval);
            true
        };
        become_service(&identity, &*its_host, may_wait);
    };
    let started = Service::start_after(settings, host, prepare);
    drop(blocked);
    match started {
        Ok(service) => Some(ServiceThread(service)),
        Err(error) => {
            tell_event(&no_thread(&error));
            None
        }
    }
}

fn host(ready: &Ready, relay: Option<Arc<Relay>>) -> Arc<NginxHost> {
    growth::catch_up(&ready.config, &ready.memory);
    growth::repair(&ready.config, &ready.memory);
    let area = Area::new(&ready.memory, &ready.config);
    area.note_start(now());
    Arc::new(NginxHost {
        memory: Arc::clone(&ready.memory),
        config: Arc::clone(&ready.config),
        writer: Mutex::new(Writer::new(&ready.memory)),
        area,
        requests: ready.requests.clone(),
        relay,
    })
}

fn settings(conf: &CoreConf, ready: &Ready) -> Settings {
    let is_restart = ready.memory.starts() > 1;
    Settings {
        config: Arc::clone(&ready.config),
        secrets: secrets(conf),
        loading: ready.loading,
        facts: Arc::clone(&ready.facts),
        imports: ready.imports.clone(),
        watch: ready.watch.clone(),
        certs_group: ready.certs_group,
        lease: LEASE,
        // A service that is started anew has nothing new to tell.
        is_news: ready.is_news && !is_restart,
        is_restart,
        // The first one has mended it.
        has_bad_pack: ready.has_bad_pack && !is_restart,
        unpacked: if is_restart { 0 } else { ready.unpacked },
    }
}

/// Gives the secrets of a configuration in their order.
pub(super) fn secrets(conf: &CoreConf) -> Vec<SecretString> {
    (0..).map_while(|id| conf.vault.secret(SecretId(id))).collect()
}

/// Waits until nginx has called the manager; `false`: this is not the child of the manager.
fn begins(relay: &Relay) -> bool {
    relay.wait(None, None);
    matches!(relay.receive(), RelayMessage::Line(..))
}

/// Gives the pause before a start that follows others too quickly.
fn pause(memory: &SharedMemory, host: &dyn Host) -> Duration {
    let streak = memory.note_start(now().0, QUICK);
    if streak < SUSPICIOUS {
        return Duration::ZERO;
    }
    // Who kills it a hundred times a second shall not fill the log.
    if streak == SUSPICIOUS || streak.is_power_of_two() {
        let within = Duration::from_secs(QUICK.unsigned_abs());
        host.tell(&Event::Process(ProcessEvent::Ending { times: streak, within }));
    }
    PAUSE
}

/// Takes over the state path and takes the user of the service. `may_wait` waits for so long, and tells
/// whether the service is still wanted; so does this function.
fn become_service(
    identity: &Identity,
    host: &dyn Host,
    may_wait: impl Fn(Duration) -> bool,
) -> bool {
    let Some(user) = identity.user else {
        let _as_it_is = privileges::take_user(None, &[]);
        return true;
    };
    let (begun, mut waiting) = (Instant::now(), LockWait::new(&identity.state_path));
    let ids = loop {
        let raised = privileges::raise_for_files();
        let wanted = User { uid: user.uid, gid: user.gid };
        let taken =
            raised.map(|()| take_over(&identity.state_path, wanted, identity.has_foreign_files));
        match taken {
            Ok(TakeOver::Busy) => {
                waiting.tell(begun.elapsed(), host);
                if !may_wait(BUSY_INTERVAL) {
                    return false;
                }
            }
            Ok(TakeOver::NotNeeded) => break user,
            Ok(TakeOver::Done { from, files }) => {
                tell_taken(identity, from, files, host);
                break user;
            }
            Ok(TakeOver::Refused(error)) => {
                break stay(identity, &error.to_string(), host);
            }
            Err(error) => break stay(identity, &error.to_string(), host),
        }
    };
    if let Err(error) = privileges::take_user(Some(ids), &identity.groups) {
        let (user, why) = (identity.name.clone(), error.to_string());
        host.tell(&Event::Process(ProcessEvent::NoUser { user, why }));
        while may_wait(RETRY) {}
        return false;
    }
    true
}

/// Stays with the workers' user, because the state path cannot have another owner.
fn stay(identity: &Identity, why: &str, host: &dyn Host) -> Ids {
    host.tell(&Event::State(StateEvent::NotOwned {
        path: identity.state_path.clone(),
        user: identity.name.clone(),
        instead: identity.workers_name.clone(),
        why: why.to_owned(),
    }));
    identity.workers.or(identity.user).unwrap_or(Ids { uid: 0, gid: 0 })
}

fn tell_taken(identity: &Identity, from: u32, files: usize, host: &dyn Host) {
    let was_of_workers = identity.workers.is_some_and(|workers| workers.uid == from);
    let readable_by = was_of_workers.then(|| identity.workers_name.clone());
    host.tell(&Event::State(StateEvent::Owned {
        path: identity.state_path.clone(),
        user: identity.name.clone(),
        files,
        back: readable_by.clone().unwrap_or_else(|| from.to_string()),
        readable_by,
    }));
}

fn no_thread(error: &io::Error) -> Event {
    Event::Process(ProcessEvent::NoThread { why: error.to_string() })
}

/// Makes this process die with its parent.
fn follow(parent: u32) {
    // A thread of it cannot keep it alive: it has none, or was told to end long before.
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: a plain system call.
    if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
}

/// Gives nginx's channel to the master, by which a reload is asked for.
fn channel() -> i32 {
    // SAFETY: set by nginx before it starts a process.
    unsafe { ngx_channel }
}

/// Closes all descriptors but the standard ones and these: logs that are rotated, and what other modules
/// have open.
fn keep_only(kept: &[i32]) {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut from = u32::try_from(libc::STDERR_FILENO).unwrap_or_default() + 1;
    let limit = descriptor_limit();
    for next in kept.into_iter().filter(|kept| *kept > 2).chain([limit]) {
        if from < next {
            // A kernel without this call (before 5.9) leaves them open.
            // SAFETY: nothing of this process uses what is closed.
            unsafe { libc::syscall(libc::SYS_close_range, from, next - 1, 0) };
        }
        from = next.saturating_add(1);
    }
}

/// Gives the first number that no descriptor can have. Above it valgrind has its own.
fn descriptor_limit() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits are written there.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    u32::try_from(limit.rlim_max).unwrap_or(u32::MAX)
}

/// Frees the process of nginx's ways with signals. Only SIGTERM ends it, in good order: gives the
/// descriptor by which it is noticed. A terminal sends others to all processes; nginx sees to them.
fn take_signals() -> i32 {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
        libc::SIGALRM,
        libc::SIGIO,
        libc::SIGPIPE,
    ] {
        // SAFETY: a plain system call.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    for signal in [libc::SIGCHLD, libc::SIGSYS, libc::SIGTERM] {
        // SAFETY: a plain system call.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut set = MaybeUninit::uninit();
    // SAFETY: initializes the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialized.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM) };
    // SAFETY: as above; threads that are started later inherit it.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) }
}

/// Sends the message of a panic as one line.
fn report_panics(relay: &Arc<Relay>) {
    let relay = Arc::clone(relay);
    std::panic::set_hook(Box::new(move |panic| {
        relay.send(Level::Error, &format!("acme_dns: {panic}"));
    }));
}

/// While this lives, threads are started with all signals blocked: nginx handles them in its own.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut old = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initializes the set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: both are sets of the right size; the call initializes the second.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
        // SAFETY: initialized by the call, which cannot fail with a valid first argument.
        Self(unsafe { old.assume_init() })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set came from `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}
