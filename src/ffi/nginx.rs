//! What is used of nginx's API, with its obligations written down.

use acme_dns_core::config::Location;
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Loading;
use acme_dns_core::text::one_line;
use acme_dns_core::time::UnixTime;
use ngx::ffi::{
    NGX_LOG_DEBUG, NGX_LOG_DEBUG_CORE, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE,
    NGX_LOG_WARN, NGX_OK, ngx_array_create, ngx_array_push, ngx_array_t, ngx_close_connection,
    ngx_command_t, ngx_conf_full_name, ngx_conf_log_error, ngx_conf_parse, ngx_conf_t,
    ngx_connection_t, ngx_core_conf_t, ngx_core_module, ngx_cycle, ngx_cycle_t, ngx_event_t,
    ngx_int_t, ngx_log_error_core, ngx_log_stderr, ngx_log_t, ngx_module_t, ngx_msec_t, ngx_path_t,
    ngx_pcalloc, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_process, ngx_quiet_mode,
    ngx_setproctitle, ngx_str_t, ngx_terminate, ngx_test_config, ngx_uint_t,
};
use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
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

/// The kind of this process: one of nginx's `NGX_PROCESS_...`.
pub(super) fn process() -> u32 {
    // SAFETY: nginx writes this variable only before it starts the process's event loop.
    let process = unsafe { ngx_process };
    u32::try_from(process).unwrap_or(u32::MAX)
}

/// Whether this is `nginx -t`.
pub(super) fn is_test() -> bool {
    // SAFETY: written once, while the command line is read.
    let test = unsafe { ngx_test_config };
    test != 0
}

/// The current cycle. It is replaced by a reload in the master and in single process mode.
pub(super) fn cycle() -> *mut ngx_cycle_t {
    // SAFETY: nginx sets it before it loads any module, a word that is read at once.
    unsafe { ngx_cycle }
}

/// The modules of a cycle.
///
/// # Safety
/// The cycle is live, and its modules stay loaded for `'a`.
pub(super) unsafe fn modules<'a>(
    cycle: *const ngx_cycle_t,
) -> impl Iterator<Item = &'a ngx_module_t> {
    // SAFETY: by this function's contract.
    let mut next = unsafe { (*cycle).modules }.cast_const();
    std::iter::from_fn(move || {
        // SAFETY: the list ends with a null pointer, behind which is not looked.
        let module = unsafe { *next };
        // SAFETY: null, or a module that is loaded.
        let module = unsafe { module.as_ref() }?;
        // SAFETY: this was not the end.
        next = unsafe { next.add(1) };
        Some(module)
    })
}

/// What the machine's clock shows.
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

/// The settings of nginx's core module.
pub(super) struct CoreSettings<'a>(&'a mut ngx_core_conf_t);

impl CoreSettings<'_> {
    /// # Safety
    /// The cycle is live, its core module has been configured, and nothing else refers to its settings
    /// while the result is used.
    pub(super) unsafe fn of(cycle: *mut ngx_cycle_t) -> Option<Self> {
        // SAFETY: set by nginx before it reads any configuration.
        let index = unsafe { ngx_core_module.index };
        // SAFETY: by this function's contract.
        let contexts = unsafe { (*cycle).conf_ctx };
        if contexts.is_null() {
            return None;
        }
        // SAFETY: a cycle has a context for each module.
        let entry = unsafe { contexts.add(index) };
        // SAFETY: as above.
        let settings = unsafe { *entry }.cast::<ngx_core_conf_t>();
        // SAFETY: null, or the core module's; exclusive by this function's contract.
        unsafe { settings.as_mut() }.map(Self)
    }

    /// The workers' user, where the master is root.
    pub(super) fn user(&self) -> u32 {
        self.0.user
    }

    /// The workers' group, where the master is root.
    pub(super) fn group(&self) -> u32 {
        self.0.group
    }

    /// The name of the workers' user, where the master is root.
    pub(super) fn user_name(&self) -> String {
        if self.0.username.is_null() {
            return self.0.user.to_string();
        }
        // SAFETY: a string of nginx's that ends in NUL.
        unsafe { CStr::from_ptr(self.0.username) }.to_string_lossy().into_owned()
    }

    /// `master_process`
    pub(super) fn has_master(&self) -> bool {
        self.0.master != 0
    }

    /// Tells whether `env` passes a variable of the environment on to the processes of nginx.
    pub(super) fn passes_on(&self, variable: &str) -> bool {
        if self.0.env.elts.is_null() {
            return false;
        }
        let names = self.0.env.elts.cast::<ngx_str_t>();
        // SAFETY: nginx has an array of strings here, with so many elements.
        let names = unsafe { std::slice::from_raw_parts(names, self.0.env.nelts) };
        names.iter().any(|name| name.as_bytes() == variable.as_bytes())
    }

    /// Takes away that children keep CAP_NET_RAW, and with it the duty to see to that.
    pub(super) fn take_transparent(&mut self) -> bool {
        std::mem::take(&mut self.0.transparent) != 0
    }
}

/// Has nginx start the process of a `manager`, without a directory that nginx would give to the workers'
/// user. It looks for managers when it starts processes, long after it has made directories.
///
/// # Safety
/// Called in `init_module`: the cycle is live, and its directories have been made.
pub(super) unsafe fn add_manager(
    cycle: *mut ngx_cycle_t,
    name: &str,
    manager: unsafe extern "C" fn(*mut c_void) -> ngx_msec_t,
) -> Option<()> {
    // SAFETY: by this function's contract.
    let cycle = unsafe { &mut *cycle };
    // SAFETY: the pool of a live cycle; nginx gives zeroed memory or null.
    let path = unsafe { ngx_pcalloc(cycle.pool, size_of::<ngx_path_t>()) }.cast::<ngx_path_t>();
    // SAFETY: all zero bits are a valid path.
    let fields = unsafe { path.as_mut() }?;
    // SAFETY: the pool of a live cycle.
    fields.name = unsafe { pool_string(cycle.pool, name) }?;
    fields.manager = Some(manager);
    // SAFETY: the array of the cycle's paths, which holds pointers.
    let entry = unsafe { ngx_array_push(&raw mut cycle.paths) }.cast::<*mut ngx_path_t>();
    if entry.is_null() {
        return None;
    }
    // SAFETY: room for one pointer.
    unsafe { entry.write(path) };
    Some(())
}

/// Function that nginx calls when something happens.
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

/// `NGX_READ_EVENT` of epoll, the one way to wait for events on Linux that nginx is built with.
const READ_EVENT: ngx_int_t = (libc::EPOLLIN | libc::EPOLLRDHUP) as ngx_int_t;

/// Has nginx call a handler whenever a descriptor can be read. nginx has it from then on.
pub(super) fn add_channel_event(descriptor: c_int, handler: EventHandler) -> io::Result<()> {
    // SAFETY: the current cycle of this process is live, and its event loop prepared.
    match unsafe { ngx_add_channel_event(cycle(), descriptor, READ_EVENT, Some(handler)) } {
        OK => Ok(()),
        _ => Err(io::Error::other("NGINX has no connection for it")),
    }
}

/// Ends what [`add_channel_event`] has begun, and closes the descriptor.
///
/// # Safety
/// `event` is what nginx gave to the handler.
pub(super) unsafe fn close_channel(event: *mut ngx_event_t) {
    // SAFETY: by this function's contract; the data of an event of a descriptor is its connection.
    let connection = unsafe { (*event).data }.cast::<ngx_connection_t>();
    // SAFETY: as above.
    unsafe { ngx_close_connection(connection) };
}

/// Has this process of nginx leave as soon as its event loop is back.
pub(super) fn terminate() {
    // SAFETY: a word that nginx's signal handlers set too.
    unsafe { ngx_terminate = 1 };
}

/// Shows what this process is, after `nginx: `.
pub(super) fn set_title(title: &CStr) {
    // SAFETY: nginx copies the string.
    unsafe { ngx_setproctitle(title.as_ptr().cast_mut()) };
}

/// A timer of the event loop, which does not keep a worker from leaving.
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
        event.log = unsafe { (*cycle()).log };
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

/// Moves `value` to the heap, to be dropped with the pool.
///
/// # Safety
/// `pool` is a live pool.
pub(super) unsafe fn pool_box<T>(pool: *mut ngx_pool_t, value: T) -> *mut T {
    unsafe extern "C" fn drop_box<T>(data: *mut c_void) {
        super::catch::guard((), || {
            // SAFETY: `data` came from `Box::into_raw` below, and a cleanup handler runs once.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
        });
    }
    // SAFETY: the pool is live by this function's contract.
    let cleanup = unsafe { ngx_pool_cleanup_add(pool, 0) };
    // SAFETY: nginx gives a valid cleanup entry, or null when memory is exhausted.
    let Some(cleanup) = (unsafe { cleanup.as_mut() }) else { return ptr::null_mut() };
    let raw = Box::into_raw(Box::new(value));
    cleanup.handler = Some(drop_box::<T>);
    cleanup.data = raw.cast();
    raw
}

/// An nginx string as text, `None` if it is not UTF-8.
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

/// An nginx string as text, with a mark for what is not UTF-8.
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

/// The place that nginx has noted for a block.
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

/// A copy of `text` in the pool, with a final NUL that its length does not count.
///
/// # Safety
/// `pool` is a live pool.
pub(super) unsafe fn pool_string(pool: *mut ngx_pool_t, text: &str) -> Option<ngx_str_t> {
    // SAFETY: the pool is live by this function's contract.
    let data = unsafe { ngx_pnalloc(pool, text.len() + 1) }.cast::<u8>();
    if data.is_null() {
        return None;
    }
    // SAFETY: there is room for the text and one byte more.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), data, text.len()) };
    // SAFETY: as above.
    let end = unsafe { data.add(text.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    Some(ngx_str_t { len: text.len(), data })
}

/// An array of the pool that holds nothing.
///
/// # Safety
/// `pool` is a live pool.
pub(super) unsafe fn array_of_none<T>(pool: *mut ngx_pool_t) -> Option<*mut ngx_array_t> {
    // SAFETY: the pool is live by this function's contract.
    let array = unsafe { ngx_array_create(pool, 1, size_of::<T>()) };
    (!array.is_null()).then_some(array)
}

/// Something of another module, which may be in nginx, in a shared object, or not there at all.
pub(super) fn symbol<T>(name: &CStr) -> Option<NonNull<T>> {
    // SAFETY: the name ends in NUL; what is found is not touched here.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast())
}

/// The elements of an array.
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
    let log = unsafe { (*cycle()).log };
    // SAFETY: the log of a live cycle.
    unsafe { log_to(log, number(level), message) };
}

/// Writes a line that is worth it once in the life of a master, whatever is loaded again.
pub(super) fn log_once(level: Level, message: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_owned()) {
        log(level, message);
    }
}

/// Tells whether a line of this level is written to the error log of the cycle.
pub(super) fn is_logged(level: Level) -> bool {
    // SAFETY: the cycle is live for as long as it is current.
    let log = unsafe { (*cycle()).log };
    // SAFETY: the log of a live cycle.
    unsafe { is_logged_to(log, number(level)) }
}

/// A level as nginx has it.
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

/// Tells the person who tests the configuration something that is no mistake, as nginx says that it is good:
/// a log would show there only what is.
pub(super) fn tell_test(message: &str) {
    // SAFETY: a flag that nginx has set when it read its arguments.
    if unsafe { ngx_quiet_mode } != 0 {
        return;
    }
    let line = one_line(message);
    // SAFETY: "%*s" takes a length and that many bytes.
    unsafe { ngx_log_stderr(0, c"%*s".as_ptr(), line.len(), line.as_ptr()) };
}

/// nginx's parser at a directive.
pub(super) struct Conf(*mut ngx_conf_t);

impl Conf {
    /// # Safety
    /// `cf` is what nginx gave to a callback that is still running.
    pub(super) unsafe fn new(cf: *mut ngx_conf_t) -> Self {
        Self(cf)
    }

    fn as_ref(&self) -> &ngx_conf_t {
        // SAFETY: `Conf::new` was promised a live parser.
        unsafe { &*self.0 }
    }

    pub(super) fn as_ptr(&self) -> *mut ngx_conf_t {
        self.0
    }

    /// The cycle that is being configured.
    pub(super) fn cycle(&self) -> *mut ngx_cycle_t {
        self.as_ref().cycle
    }

    /// The pool of that cycle.
    pub(super) fn pool(&self) -> *mut ngx_pool_t {
        self.as_ref().pool
    }

    /// The words of the directive, its name first.
    ///
    /// # Errors
    /// A word is not UTF-8.
    pub(super) fn words(&self) -> Result<Vec<&str>, String> {
        // SAFETY: the parser's arguments are an array of strings that live as long as the pool.
        let words = unsafe { elements::<ngx_str_t>(self.as_ref().args) };
        words
            .iter()
            // SAFETY: as above.
            .map(|word| unsafe { text(*word) }.ok_or_else(|| "invalid UTF-8".to_owned()))
            .collect()
    }

    /// Where the directive stands.
    pub(super) fn location(&self) -> Location {
        // SAFETY: a live parser has a file, or null outside of files.
        let Some(file) = (unsafe { self.as_ref().conf_file.as_ref() }) else {
            return Location::default();
        };
        // SAFETY: the name of an open file is a string of the pool.
        let name = unsafe { text(file.file.name) }.unwrap_or_default();
        Location { file: name.to_owned(), line: file.line }
    }

    /// Reports what is wrong, with file and line; gives `NGX_CONF_ERROR`.
    pub(super) fn fail(&self, message: &str) -> *mut c_char {
        self.report(NGX_LOG_EMERG, message);
        CONF_ERROR
    }

    /// Warns, with file and line.
    pub(super) fn warn(&self, message: &str) {
        self.report(NGX_LOG_WARN, message);
    }

    /// Reports what is wrong with a message that names its place; gives `NGX_CONF_ERROR`.
    pub(super) fn fail_at(&self, message: &str) -> *mut c_char {
        // SAFETY: the log of a live parser.
        unsafe { log_to(self.as_ref().log, NGX_LOG_EMERG, message) };
        CONF_ERROR
    }

    /// Warns with a message that names its place.
    pub(super) fn warn_at(&self, message: &str) {
        // SAFETY: the log of a live parser.
        unsafe { log_to(self.as_ref().log, NGX_LOG_WARN, message) };
    }

    fn report(&self, level: u32, message: &str) {
        let format = c"%*s".as_ptr();
        let (length, data) = (message.len(), message.as_ptr());
        // SAFETY: "%*s" takes a length and that many bytes.
        unsafe { ngx_conf_log_error(level as ngx_uint_t, self.0, 0, format, length, data) };
    }

    /// `path` as nginx resolves it: relative to the directory of nginx.conf, or to the prefix.
    pub(super) fn full_name(&self, path: &str, base: PathBase) -> Option<String> {
        // SAFETY: the parser's pool is live.
        let mut name = unsafe { pool_string(self.pool(), path) }?;
        let conf_prefix = ngx_uint_t::from(base == PathBase::Configuration);
        // SAFETY: the cycle is the parser's, the name a string of its pool.
        if unsafe { ngx_conf_full_name(self.cycle(), &raw mut name, conf_prefix) } != OK {
            return None;
        }
        // SAFETY: nginx left a string of the pool there.
        unsafe { text(name) }.map(str::to_owned)
    }

    /// Reads a block: each directive in it is given to `handler`, with `data`.
    ///
    /// # Safety
    /// `data` is what `handler` expects, and lives for the call.
    pub(super) unsafe fn parse_block(
        &self,
        handler: BlockHandler,
        data: *mut c_void,
    ) -> *mut c_char {
        // SAFETY: `Conf::new` was promised a live parser, and nothing else refers to it here.
        let saved = unsafe { *self.0 };
        let block = ngx::ffi::ngx_conf_s { handler: Some(handler), handler_conf: data, ..saved };
        // SAFETY: as above.
        unsafe { self.0.write(block) };
        // SAFETY: without a file name nginx reads on in the current file up to the closing brace.
        let result = unsafe { ngx_conf_parse(self.0, ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { self.0.write(saved) };
        result
    }
}

/// What nginx calls for each directive of a block.
pub(super) type BlockHandler =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// What a relative path is relative to.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum PathBase {
    /// The directory of nginx.conf, as for `ssl_certificate`.
    Configuration,
    /// The prefix, as for `proxy_cache_path`.
    Prefix,
}
