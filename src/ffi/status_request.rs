//! A request to a location with `acme_dns_status`, as nginx has it: its headers, its names, and the response.

use super::cycle::Cycle;
use super::nginx::{ERROR, OK, text};
use super::pool::NgxPool;
use acme_dns_core::status::{Build, html};
use ngx::ffi::{
    NGINX_VERSION, ngx_chain_t, ngx_create_temp_buf, ngx_http_core_loc_conf_t,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_send_header, ngx_int_t, ngx_list_push,
    ngx_str_t, ngx_table_elt_t,
};
use openssl::base64::encode_block;
use openssl::sha::sha256;
use std::ptr;
use std::sync::LazyLock;

/// `Content-Security-Policy` of the page for browsers.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = encode_block(&sha256(html::STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// Request for the status.
pub(super) struct StatusRequest<'a> {
    pub(super) request: &'a mut ngx_http_request_t,
    pub(super) location: &'a ngx_http_core_loc_conf_t,
    pub(super) cycle: Cycle<'a>,
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

    /// Gives the name of the certificate that is asked for: the URI behind that of the location. `None`: all are.
    pub(super) fn name(&self) -> Option<&str> {
        // SAFETY: a string of the request.
        let uri = unsafe { text(self.request.uri) }?;
        // SAFETY: a string of the configuration.
        let location = unsafe { text(self.location.name) }?;
        let rest = uri.strip_prefix(location)?;
        Some(rest.strip_prefix('/').unwrap_or(rest)).filter(|name| !name.is_empty())
    }

    /// Gives the arguments of the URL.
    pub(super) fn arguments(&self) -> &str {
        // SAFETY: a string of the request.
        unsafe { text(self.request.args) }.unwrap_or_default()
    }

    /// Gives a header of the request; several of one name are a list.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let list = &self.request.headers_in.headers;
        let mut part = Some(&list.part);
        let mut values = Vec::new();
        while let Some(of) = part {
            for index in 0..of.nelts {
                // SAFETY: a part of the list has so many elements of this type.
                let header = unsafe { of.elts.cast::<ngx_table_elt_t>().add(index) };
                // SAFETY: as above.
                let header = unsafe { &*header };
                if header.key.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
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

    pub(super) fn string(&self, text: &str) -> Option<ngx_str_t> {
        self.pool().string(text)
    }

    /// Adds a header to the response. `None`: out of memory.
    pub(super) fn add_header(&mut self, name: &str, value: &str) -> Option<*mut ngx_table_elt_t> {
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

    /// Sets the kind and the length of the response.
    pub(super) fn set_content(&mut self, status: u32, kind: &str, length: usize) -> Option<()> {
        let name = self.string(kind)?;
        let length = i64::try_from(length).ok()?;
        let headers = &mut self.request.headers_out;
        headers.status = status as usize;
        headers.content_length_n = length;
        headers.content_type = name;
        // nginx compares types without their parameters.
        headers.content_type_len = kind.find(';').unwrap_or(name.len);
        headers.content_type_lowcase = ptr::null_mut();
        Some(())
    }

    /// Sends header and body through nginx's filters. `None`: out of memory.
    pub(super) fn send(&mut self, body: &str) -> Option<ngx_int_t> {
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
pub(super) fn status(status: u32) -> ngx_int_t {
    ngx_int_t::try_from(status).unwrap_or(ERROR)
}

/// Gives the versions that are shown.
pub(super) fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nginx: NGINX_VERSION.to_string_lossy().into_owned(),
        openssl: openssl::version::version().to_owned(),
    }
}
