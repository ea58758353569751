//! nginx's processes, log, clock, timers and strings: what is used of its API, with its obligations
//! written down. Its larger structures have files of their own: `cycle`, `parser`, `pool`, `module_ctx`; what
//! is used of OpenSSL is in `openssl`.

use super::callback::FromC;
use acme_dns_core::config::Location;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Loading;
use acme_dns_core::text::one_line;
use acme_dns_core::time::UnixTime;
use acme_dns_service::event::{Event, NginxEvent};
use ngx::ffi::{
    NGX_LOG_DEBUG, NGX_LOG_DEBUG_CORE, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE, NGX_LOG_WARN,
    NGX_OK, ngx_array_t, ngx_close_connection, ngx_connection_t, ngx_core_module, ngx_cycle,
    ngx_cycle_t, ngx_event_t, ngx_exiting, ngx_int_t, ngx_log_error_core, ngx_log_stderr,
    ngx_log_t, ngx_msec_t, ngx_process, ngx_quiet_mode, ngx_setproctitle, ngx_str_t, ngx_terminate,
    ngx_test_config, ngx_time_update, ngx_uint_t, ngx_worker,
};
use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// `NGX_CONF_OK`.
pub(super) const CONF_OK: *mut c_char = ptr::null_mut();

/// `NGX_CONF_ERROR`.
pub(super) const CONF_ERROR: *mut c_char = ptr::without_provenance_mut(usize::MAX);

/// `NGX_OK` as functions return it.
pub(super) const OK: ngx_int_t = NGX_OK as ngx_int_t;

/// `NGX_ERROR` as functions return it.
pub(super) const ERROR: ngx_int_t = ngx::ffi::NGX_ERROR as ngx_int_t;

/// Gives the kind of this process: one of nginx's `NGX_PROCESS_...`.
pub(super) fn process() -> u32 {
    // SAFETY: nginx writes this variable only before it starts the process's event loop.
    let process = unsafe { ngx_process };
    u32::try_from(process).unwrap_or(u32::MAX)
}

/// Tells whether this is `nginx -t`.
pub(super) fn is_test() -> bool {
    // SAFETY: written once, while the command line is read.
    let test = unsafe { ngx_test_config };
    test != 0
}

/// Tells whether this is the first worker.
pub(super) fn is_first_worker() -> bool {
    // SAFETY: set by nginx before a worker runs.
    let worker = unsafe { ngx_worker };
    worker == 0
}

/// Tells whether this process ends as soon as the last of its connections does.
pub(super) fn is_exiting() -> bool {
    // SAFETY: written by nginx's main thread, which this is.
    let exiting = unsafe { ngx_exiting };
    exiting != 0
}

/// Gives the current cycle. It is replaced by a reload in the master and in single process mode.
pub(super) fn current_cycle() -> *mut ngx_cycle_t {
    // SAFETY: nginx sets it before it loads any module, a word that is read at once.
    unsafe { ngx_cycle }
}

/// Gives the index of nginx's core module among all modules.
pub(super) fn core_module_index() -> usize {
    // SAFETY: set by nginx before it reads any configuration.
    unsafe { ngx_core_module.index }
}

/// Gives the time of the machine's clock.
pub(super) fn now() -> UnixTime {
    UnixTime::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Tells the configuration that is being loaded from those before and after it.
pub(super) fn loading() -> Loading {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Loading(u64::try_from(since.as_nanos()).unwrap_or_default())
}

/// Tells whether this process is root.
pub(super) fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// Brings nginx's cached time up to date, where its event loop sleeps.
pub(super) fn update_time() {
    // SAFETY: nginx guards the update with a lock.
    unsafe { ngx_time_update() };
}

/// Type of a function that nginx calls when something happens.
pub(super) type EventHandler = unsafe extern "C" fn(*mut ngx_event_t);

unsafe extern "C" {
    // In ngx_channel.h, which the bindings leave out.
    fn ngx_add_channel_event(
        cycle: *mut ngx_cycle_t,
        descriptor: c_int,
        event: ngx_int_t,
        handler: Option<EventHandler>,
    ) -> ngx_int_t;
}

/// `NGX_READ_EVENT` of epoll, nginx's only way to wait for events on Linux.
const READ_EVENT: ngx_int_t = (libc::EPOLLIN | libc::EPOLLRDHUP) as ngx_int_t;

/// Has nginx call a handler whenever a descriptor can be read. The descriptor is nginx's from then on.
pub(super) fn add_channel_event(descriptor: c_int, handler: EventHandler) -> io::Result<()> {
    // SAFETY: the current cycle of this process is live, and its event loop prepared.
    match unsafe { ngx_add_channel_event(current_cycle(), descriptor, READ_EVENT, Some(handler)) } {
        OK => Ok(()),
        _ => Err(io::Error::other("NGINX has no free connection")),
    }
}

/// Event of a channel, as its handler gets it.
pub(super) struct ChannelEvent(*mut ngx_event_t);

impl FromC for ChannelEvent {
    type Raw = *mut ngx_event_t;

    unsafe fn from_c(raw: *mut ngx_event_t) -> Self {
        Self(raw)
    }
}

impl ChannelEvent {
    /// Ends what [`add_channel_event`] has begun, and closes the descriptor.
    pub(super) fn close(self) {
        // SAFETY: nginx gave the event to its handler; the data of a descriptor's event is its connection.
        let connection = unsafe { (*self.0).data }.cast::<ngx_connection_t>();
        // SAFETY: as above; the event is used up.
        unsafe { ngx_close_connection(connection) };
    }
}

/// Has this process of nginx exit as soon as its event loop is back.
pub(super) fn terminate() {
    // SAFETY: a word that nginx's signal handlers set too.
    unsafe { ngx_terminate = 1 };
}

/// Sets the title of this process, after `nginx: `.
pub(super) fn set_title(title: &CStr) {
    // SAFETY: nginx copies the string.
    unsafe { ngx_setproctitle(title.as_ptr().cast_mut()) };
}

/// Timer of the event loop, which does not keep a worker from exiting.
pub(super) struct Timer(UnsafeCell<Option<ngx_event_t>>);

// SAFETY: used in the main thread of a process of nginx only.
unsafe impl Sync for Timer {}

impl Timer {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Has a handler called once after so many milliseconds. A timer is started once in a process.
    pub(super) fn start(&'static self, handler: EventHandler, after: ngx_msec_t) {
        // SAFETY: the main thread of a process is the only one here.
        let place = unsafe { &mut *self.0.get() };
        // SAFETY: all zero bits are an event that is not active.
        let event = place.insert(unsafe { std::mem::zeroed::<ngx_event_t>() });
        event.handler = Some(handler);
        // SAFETY: the cycle is live for as long as it is current.
        event.log = unsafe { (*current_cycle()).log };
        event.set_cancelable(1);
        // SAFETY: the event is never moved, and a timer is not started twice.
        unsafe { ngx::ffi::ngx_add_timer(event, after) };
    }

    /// Stops it, if it runs.
    pub(super) fn stop(&self) {
        // SAFETY: as in `start`.
        if let Some(event) = unsafe { &mut *self.0.get() }
            && event.timer_set() == 1
        {
            // SAFETY: it was started, and is in nginx's tree.
            unsafe { ngx::ffi::ngx_del_timer(event) };
        }
    }
}

/// Reads an nginx string as text, `None` if it is not UTF-8.
///
/// # Safety
/// A non-empty string points to `len` readable bytes that outlive `'a`.
pub(super) unsafe fn text<'a>(string: ngx_str_t) -> Option<&'a str> {
    if string.len == 0 {
        return Some("");
    }
    // SAFETY: by this function's contract.
    let bytes = unsafe { std::slice::from_raw_parts(string.data, string.len) };
    std::str::from_utf8(bytes).ok()
}

/// Reads an nginx string as text, with a mark for what is not UTF-8.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn lossy_text<'a>(string: ngx_str_t) -> Cow<'a, str> {
    if string.len == 0 {
        return Cow::default();
    }
    // SAFETY: by this function's contract.
    let bytes = unsafe { std::slice::from_raw_parts(string.data, string.len) };
    String::from_utf8_lossy(bytes)
}

/// Reads the place that nginx has noted for a block.
///
/// # Safety
/// `file` is null or a string that ends in NUL.
pub(super) unsafe fn place(file: *const u8, line: ngx_uint_t) -> Location {
    if file.is_null() {
        return Location { file: String::new(), line };
    }
    // SAFETY: by this function's contract.
    let file = unsafe { CStr::from_ptr(file.cast()) };
    Location { file: file.to_string_lossy().into_owned(), line }
}

/// Finds a symbol of another module, which may be in nginx, in a shared object, or missing.
pub(super) fn symbol<T>(name: &CStr) -> Option<NonNull<T>> {
    // SAFETY: the name ends in NUL; what is found is not touched here.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast())
}

/// Gives the elements of an array.
///
/// # Safety
/// The array is null or holds elements of type `T`, and outlives `'a` unchanged.
pub(super) unsafe fn elements<'a, T>(array: *const ngx_array_t) -> &'a [T] {
    // SAFETY: by this function's contract.
    match unsafe { array.as_ref() } {
        // SAFETY: by this function's contract.
        Some(array) => unsafe { array.as_slice() },
        None => &[],
    }
}

/// Writes a line to the error log of the cycle.
pub(super) fn log(level: Level, message: &str) {
    // SAFETY: the cycle is live for as long as it is current.
    let log = unsafe { (*current_cycle()).log };
    // SAFETY: the log of a live cycle.
    unsafe { log_to(log, number(level), message) };
}

/// Writes an event of a process of nginx to the error log of the cycle.
pub(super) fn tell(event: NginxEvent) {
    tell_event(&Event::Nginx(event));
}

/// Writes an event to the error log of the cycle.
pub(super) fn tell_event(event: &Event) {
    log(event.level(), &format!("acme_dns: {event}"));
}

/// Writes an event once in the life of a master, however often the configuration is loaded.
pub(super) fn tell_once(event: NginxEvent) {
    static TOLD: Mutex<Vec<NginxEvent>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.contains(&event) {
        told.push(event.clone());
        tell(event);
    }
}

/// Tells whether a line of this level is written to the error log of the cycle.
pub(super) fn is_logged(level: Level) -> bool {
    // SAFETY: the cycle is live for as long as it is current.
    let log = unsafe { (*current_cycle()).log };
    // SAFETY: the log of a live cycle.
    unsafe { is_logged_to(log, number(level)) }
}

/// Gives nginx's number of a level.
fn number(level: Level) -> u32 {
    match level {
        Level::Error => NGX_LOG_ERR,
        Level::Warn => NGX_LOG_WARN,
        Level::Notice => NGX_LOG_NOTICE,
        Level::Info => NGX_LOG_INFO,
        Level::Debug => NGX_LOG_DEBUG,
    }
}

/// Tells whether a log takes lines of a level.
///
/// # Safety
/// `log` is a live log.
unsafe fn is_logged_to(log: *mut ngx_log_t, level: u32) -> bool {
    // SAFETY: by this function's contract.
    let log_level = unsafe { (*log).log_level };
    // Debug lines have levels of their own in nginx, enabled by `error_log ... debug`.
    match level {
        NGX_LOG_DEBUG => log_level & NGX_LOG_DEBUG_CORE as usize != 0,
        level => log_level >= level as usize,
    }
}

/// Writes a line to a log.
///
/// # Safety
/// `log` is a live log.
pub(super) unsafe fn log_to(log: *mut ngx_log_t, level: u32, message: &str) {
    // SAFETY: by this function's contract.
    if unsafe { is_logged_to(log, level) } {
        // A server's answer may be quoted in a message: it must not forge a line of the log.
        let line = one_line(message);
        let format = c"%*s".as_ptr();
        // SAFETY: "%*s" takes a length and that many bytes.
        unsafe {
            ngx_log_error_core(level as ngx_uint_t, log, 0, format, line.len(), line.as_ptr())
        };
    }
}

/// Writes a line to standard error under `nginx -t` that is not about a mistake, as nginx itself does for "test is
/// successful": its log shows only mistakes then.
pub(super) fn tell_test(message: &str) {
    // SAFETY: a flag that nginx has set when it read its arguments.
    if unsafe { ngx_quiet_mode } != 0 {
        return;
    }
    let line = one_line(message);
    // SAFETY: "%*s" takes a length and that many bytes.
    unsafe { ngx_log_stderr(0, c"%*s".as_ptr(), line.len(), line.as_ptr()) };
}
