//! nginx's parser (`ngx_conf_t`, `cf` in nginx's own code) while it calls the module: the words of the directive,
//! its place, and how a mistake is reported. Which directives there are is in `directives` and `server`.

use super::callback::{FromC, guard};
use super::cycle::Cycle;
use super::nginx::{CONF_ERROR, CONF_OK, OK, elements, log_to, text};
use super::pool::NgxPool;
use acme_dns_core::config::Location;
use ngx::ffi::{
    NGX_LOG_EMERG, NGX_LOG_WARN, ngx_command_t, ngx_conf_full_name, ngx_conf_log_error,
    ngx_conf_parse, ngx_conf_s, ngx_conf_t, ngx_str_t, ngx_uint_t,
};
use std::ffi::{c_char, c_void};
use std::ptr;

/// Parser at a directive, or at the end of a block.
pub(super) struct Parser(*mut ngx_conf_t);

impl FromC for Parser {
    type Raw = *mut ngx_conf_t;

    unsafe fn from_c(raw: *mut ngx_conf_t) -> Self {
        Self(raw)
    }
}

impl Parser {
    fn as_ref(&self) -> &ngx_conf_t {
        // SAFETY: nginx gives a live parser to the callback, which outlives this value.
        unsafe { &*self.0 }
    }

    pub(super) fn as_ptr(&self) -> *mut ngx_conf_t {
        self.0
    }

    /// Gives the cycle that is being configured.
    pub(super) fn cycle(&self) -> Cycle<'_> {
        // SAFETY: the cycle of a live parser is live.
        unsafe { Cycle::new(self.as_ref().cycle) }
    }

    /// Gives the pool of that cycle.
    pub(super) fn pool(&self) -> NgxPool<'_> {
        // SAFETY: the pool of a live parser is live.
        unsafe { NgxPool::new(self.as_ref().pool) }
    }

    /// Gives the context of the block that the directive stands in: `http`, a server of it, and so on.
    pub(super) fn ctx(&self) -> *mut c_void {
        self.as_ref().ctx
    }

    /// Has a directive read, of which `body` gets the name and the parameters; reports its mistake.
    pub(super) fn read(
        &self,
        body: impl FnOnce(&str, &[&str]) -> Result<(), DirectiveError>,
    ) -> *mut c_char {
        let words = self.words().map_err(DirectiveError::from);
        let result = words.and_then(|words| match words.as_slice() {
            [directive, args @ ..] => body(directive, args),
            [] => Ok(()),
        });
        match result {
            Ok(()) => CONF_OK,
            Err(DirectiveError::Here(message)) => self.fail(&message),
            Err(DirectiveError::Placed(message)) => self.fail_at(&message),
            Err(DirectiveError::Reported) => CONF_ERROR,
        }
    }

    /// Gives the words of the directive, its name first.
    ///
    /// # Errors
    /// A word is not UTF-8.
    fn words(&self) -> Result<Vec<&str>, String> {
        // SAFETY: the parser's arguments are an array of strings that live as long as the pool.
        let words = unsafe { elements::<ngx_str_t>(self.as_ref().args) };
        words
            .iter()
            // SAFETY: as above.
            .map(|word| unsafe { text(*word) }.ok_or_else(|| "invalid UTF-8".to_owned()))
            .collect()
    }

    /// Gives the place of the directive.
    pub(super) fn location(&self) -> Location {
        // SAFETY: a live parser has a file, or null outside of files.
        let Some(file) = (unsafe { self.as_ref().conf_file.as_ref() }) else {
            return Location::default();
        };
        // SAFETY: the name of an open file is a string of the pool.
        let name = unsafe { text(file.file.name) }.unwrap_or_default();
        Location { file: name.to_owned(), line: file.line }
    }

    /// Reports a mistake, with file and line; gives `NGX_CONF_ERROR`.
    fn fail(&self, message: &str) -> *mut c_char {
        self.report(NGX_LOG_EMERG, message);
        CONF_ERROR
    }

    /// Warns, with file and line.
    pub(super) fn warn(&self, message: &str) {
        self.report(NGX_LOG_WARN, message);
    }

    /// Reports a mistake with a message that names its place; gives `NGX_CONF_ERROR`.
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

    /// Resolves `path` as nginx does: relative to the directory of nginx.conf, or to the prefix.
    pub(super) fn full_name(&self, path: &str, base: PathBase) -> Option<String> {
        let mut name = self.pool().string(path)?;
        let conf_prefix = ngx_uint_t::from(base == PathBase::Configuration);
        // SAFETY: the cycle is the parser's, the name a string of its pool.
        if unsafe { ngx_conf_full_name(self.as_ref().cycle, &raw mut name, conf_prefix) } != OK {
            return None;
        }
        // SAFETY: nginx left a string of the pool there.
        unsafe { text(name) }.map(str::to_owned)
    }

    /// Reads a block: `read` is called at each directive in it.
    ///
    /// # Errors
    /// nginx or `read` has reported a mistake.
    pub(super) fn parse_block<F>(&self, mut read: F) -> Result<(), DirectiveError>
    where
        F: FnMut(&Self) -> *mut c_char,
    {
        unsafe extern "C" fn handler<F: FnMut(&Parser) -> *mut c_char>(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            data: *mut c_void,
        ) -> *mut c_char {
            guard(CONF_ERROR, || {
                // SAFETY: the closure below, which nothing else refers to while the block is parsed.
                let read = unsafe { &mut *data.cast::<F>() };
                read(&Parser(cf))
            })
        }
        // SAFETY: the parser is live, and nothing else refers to it here.
        let saved = unsafe { *self.0 };
        let handler_conf = (&raw mut read).cast();
        let block = ngx_conf_s { handler: Some(handler::<F>), handler_conf, ..saved };
        // SAFETY: as above.
        unsafe { self.0.write(block) };
        // SAFETY: without a file name nginx reads on in the current file up to the closing brace.
        let result = unsafe { ngx_conf_parse(self.0, ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { self.0.write(saved) };
        if result == CONF_OK { Ok(()) } else { Err(DirectiveError::Reported) }
    }
}

/// Directory that a relative path starts from.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum PathBase {
    /// The directory of nginx.conf, as for `ssl_certificate`.
    Configuration,
    /// The prefix, as for `proxy_cache_path`.
    Prefix,
}

/// Mistake in a directive.
pub(super) enum DirectiveError {
    /// At the directive: nginx adds file and line.
    Here(String),
    /// With file and line in the message.
    Placed(String),
    /// Reported already, by nginx or by a directive in a block.
    Reported,
}

impl From<String> for DirectiveError {
    fn from(message: String) -> Self {
        Self::Here(message)
    }
}

impl From<&str> for DirectiveError {
    fn from(message: &str) -> Self {
        Self::Here(message.to_owned())
    }
}

/// Refuses a directive that stands twice in a block.
pub(super) fn duplicate(directive: &str) -> DirectiveError {
    DirectiveError::Here(format!("\"{directive}\" directive is duplicate"))
}
