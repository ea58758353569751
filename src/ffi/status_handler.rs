//! The handler of `acme_dns_status`: a response about the certificates. What it says is made in `acme_dns_core::status`,
//! from the public area of shared memory; keys are never read. Who may ask is for nginx's own access directives, and
//! compression and `If-None-Match` for its filters.

use super::conf::core_conf;
use super::cycle::Cycle;
use super::nginx::{ERROR, OK, now, text};
use super::pool::NgxPool;
use super::public_area::Area;
use acme_dns_core::status::{Assembly, Build, Form, Query, entity_tag, html};
use acme_dns_core::time::UnixTime;
use ngx::ffi::{
    NGINX_VERSION, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_HTTP_OK, ngx_chain_t, ngx_create_temp_buf,
    ngx_http_core_loc_conf_t, ngx_http_discard_request_body, ngx_http_output_filter,
    ngx_http_request_t, ngx_http_send_header, ngx_int_t, ngx_list_push, ngx_str_t, ngx_table_elt_t,
};
use openssl::base64::encode_block;
use openssl::sha::sha256;
use std::cell::Cell;
use std::ptr;
use std::sync::LazyLock;
use std::time::Duration;

/// `Content-Security-Policy` of the page for browsers.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = encode_block(&sha256(html::STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// Configuration of this module for a location.
#[derive(Default)]
pub(super) struct StatusConf {
    /// Set if the location shows the status.
    pub(super) shown: Cell<Option<Shown>>,
}

/// Settings of a location that shows the status.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// The form; `None`: the one that the client prefers.
    form: Option<Form>,
}

impl Shown {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// The argument is no form.
    pub(super) fn parse(args: &[&str]) -> Result<Self, String> {
        let form = match args {
            [word, ..] => {
                Some(Form::parse(word).ok_or_else(|| format!("invalid parameter \"{word}\""))?)
            }
            [] => None,
        };
        Ok(Self { form })
    }
}

/// Request for the status.
pub(super) struct StatusRequest<'a> {
    request: &'a mut ngx_http_request_t,
    location: &'a ngx_http_core_loc_conf_t,
    cycle: Cycle<'a>,
}

impl<'a> StatusRequest<'a> {
    /// # Safety
    /// The request is live and that of a content handler, in this location of this cycle.
    pub(super) unsafe fn new(
        request: &'a mut ngx_http_request_t,
        location: &'a ngx_http_core_loc_conf_t,
        cycle: Cycle<'a>,
    ) -> Self {
        Self { request, location, cycle }
    }

    /// Responds; gives what nginx goes on with.
    pub(super) fn respond(mut self, shown: Shown) -> ngx_int_t {
        if self.request.method & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
            return match self.add_header("Allow", "GET, HEAD") {
                Some(_) => status(NGX_HTTP_NOT_ALLOWED),
                None => status(NGX_HTTP_INTERNAL_SERVER_ERROR),
            };
        }
        // SAFETY: the request is live.
        let discarded = unsafe { ngx_http_discard_request_body(self.request) };
        if discarded != OK {
            return discarded;
        }
        let form = shown.form.unwrap_or_else(|| Form::accepted(self.accept().as_deref()));
        let time = now();
        let Some((body, refresh)) = self.body(form, time) else {
            return status(NGX_HTTP_NOT_FOUND);
        };
        let sent = self
            .set_headers(form, shown, &body, time)
            .and_then(|()| self.set_browser_headers(form, refresh))
            .and_then(|()| self.send(&body));
        sent.unwrap_or_else(|| status(NGX_HTTP_INTERNAL_SERVER_ERROR))
    }

    /// Makes the body, and gives the time after which it is asked for again. `None`: there is no such certificate.
    fn body(&self, form: Form, now: UnixTime) -> Option<(String, Option<Duration>)> {
        let conf = core_conf(self.cycle)?;
        let ready = conf.ready()?;
        let area = Area::new(&ready.memory, &ready.config);
        let build = build();
        let assembly = Assembly { config: &ready.config, area: &area, build: &build, now };
        // SAFETY: a string of the request.
        let arguments = unsafe { text(self.request.args) }.unwrap_or_default();
        let query = Query::parse(arguments, form.size());
        let (body, page) = match self.name() {
            None => {
                let page = assembly.page(&query, form.order());
                (form.render(&page), page)
            }
            Some(name) => {
                let page = assembly.one(name, &query)?;
                (form.render_one(&page), page)
            }
        };
        Some((body, form.refresh(&page)))
    }

    /// Gives the name of the certificate that is asked for: the URI behind that of the location. `None`: all are.
    fn name(&self) -> Option<&str> {
        // SAFETY: a string of the request.
        let uri = unsafe { text(self.request.uri) }?;
        // SAFETY: a string of the configuration.
        let location = unsafe { text(self.location.name) }?;
        let rest = uri.strip_prefix(location)?;
        Some(rest.strip_prefix('/').unwrap_or(rest)).filter(|name| !name.is_empty())
    }

    fn accept(&self) -> Option<String> {
        let list = &self.request.headers_in.headers;
        let mut part = Some(&list.part);
        let mut values = Vec::new();
        while let Some(of) = part {
            for index in 0..of.nelts {
                // SAFETY: a part of the list has so many elements of this type.
                let header = unsafe { of.elts.cast::<ngx_table_elt_t>().add(index) };
                // SAFETY: as above.
                let header = unsafe { &*header };
                if header.key.as_bytes().eq_ignore_ascii_case(b"Accept") {
                    // SAFETY: a string of the request.
                    values.extend(unsafe { text(header.value) });
                }
            }
            // SAFETY: null, or the next part of the list.
            part = unsafe { of.next.as_ref() };
        }
        (!values.is_empty()).then(|| values.join(","))
    }

    fn pool(&self) -> NgxPool<'a> {
        // SAFETY: the pool of a live request.
        unsafe { NgxPool::new(self.request.pool) }
    }

    fn string(&self, text: &str) -> Option<ngx_str_t> {
        self.pool().string(text)
    }

    /// Adds a header to the response. `None`: out of memory.
    fn add_header(&mut self, name: &str, value: &str) -> Option<*mut ngx_table_elt_t> {
        let (key, value) = (self.string(name)?, self.string(value)?);
        // SAFETY: the list of a live request.
        let header = unsafe { ngx_list_push(&raw mut self.request.headers_out.headers) };
        let header = header.cast::<ngx_table_elt_t>();
        if header.is_null() {
            return None;
        }
        // Its fields differ between versions of nginx; all zero is what each of them begins with.
        // SAFETY: there is room for one element.
        unsafe { header.write_bytes(0, 1) };
        // SAFETY: it was just written.
        let element = unsafe { &mut *header };
        element.hash = 1;
        (element.key, element.value) = (key, value);
        Some(header)
    }

    fn set_headers(&mut self, form: Form, shown: Shown, body: &str, time: UnixTime) -> Option<()> {
        let kind = self.string(form.content_type())?;
        let tag = self.add_header("ETag", &entity_tag(body, time))?;
        self.add_header("Cache-Control", "no-cache")?;
        self.add_header("X-Content-Type-Options", "nosniff")?;
        if shown.form.is_none() {
            self.add_header("Vary", "Accept")?;
        }
        let length = i64::try_from(body.len()).ok()?;
        let headers = &mut self.request.headers_out;
        headers.status = NGX_HTTP_OK as usize;
        headers.content_length_n = length;
        headers.etag = tag;
        headers.content_type = kind;
        // nginx compares types without their parameters.
        let parameters = form.content_type().find(';');
        headers.content_type_len = parameters.unwrap_or(kind.len);
        headers.content_type_lowcase = ptr::null_mut();
        Some(())
    }

    /// Sets what only a browser looks at: what the page may load, which is nothing but its own style, and when it is asked
    /// for again.
    fn set_browser_headers(&mut self, form: Form, refresh: Option<Duration>) -> Option<()> {
        if form != Form::Html {
            return Some(());
        }
        self.add_header("Content-Security-Policy", &POLICY)?;
        self.add_header("Referrer-Policy", "no-referrer")?;
        if let Some(refresh) = refresh {
            self.add_header("Refresh", &refresh.as_secs().to_string())?;
        }
        Some(())
    }

    /// Sends header and body through nginx's filters. `None`: out of memory.
    fn send(&mut self, body: &str) -> Option<ngx_int_t> {
        // SAFETY: the request is live.
        let sent = unsafe { ngx_http_send_header(self.request) };
        if sent == ERROR || sent > OK || self.request.header_only() != 0 {
            return Some(sent);
        }
        // SAFETY: the pool of a live request.
        let buffer = unsafe { ngx_create_temp_buf(self.request.pool, body.len()) };
        // SAFETY: null, or a buffer of this pool.
        let part = unsafe { buffer.as_mut() }?;
        // SAFETY: there is room for the body.
        unsafe { ptr::copy_nonoverlapping(body.as_ptr(), part.pos, body.len()) };
        // SAFETY: as above.
        part.last = unsafe { part.pos.add(body.len()) };
        part.set_last_buf(u32::from(ptr::eq(self.request, self.request.main)));
        part.set_last_in_chain(1);
        let mut chain = ngx_chain_t { buf: buffer, next: ptr::null_mut() };
        // SAFETY: filters copy what they keep of the chain; the buffer is of the request's pool.
        Some(unsafe { ngx_http_output_filter(self.request, &raw mut chain) })
    }
}

/// Gives a status of HTTP as handlers return it.
fn status(status: u32) -> ngx_int_t {
    ngx_int_t::try_from(status).unwrap_or(ERROR)
}

fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nginx: NGINX_VERSION.to_string_lossy().into_owned(),
        openssl: openssl::version::version().to_owned(),
    }
}
