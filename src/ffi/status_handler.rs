//! The handler of `acme_dns_status`: a response about the certificates. What it says is made in `acme_dns_core::status`,
//! from the public area of shared memory; keys are never read. Who may ask is for nginx's own access directives, and
//! compression and `If-None-Match` for its filters.

use super::conf::core_conf;
use super::growth;
use super::nginx::{OK, now};
use super::public_area::Area;
use super::status_conf::Shown;
use super::status_request::{POLICY, StatusRequest, build, status};
use acme_dns_core::status::{Assembly, Form, Query, entity_tag};
use acme_dns_core::time::UnixTime;
use ngx::ffi::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED,
    NGX_HTTP_NOT_FOUND, NGX_HTTP_OK, NGX_HTTP_POST, ngx_http_client_body_handler_pt,
    ngx_http_discard_request_body, ngx_int_t,
};
use std::time::Duration;

impl StatusRequest<'_> {
    /// Responds; gives what nginx goes on with. `take_form` is called when the body of a form is there.
    pub(super) fn respond(
        mut self,
        shown: Shown,
        take_form: ngx_http_client_body_handler_pt,
    ) -> ngx_int_t {
        if shown.takes_requests && self.request.method & NGX_HTTP_POST as usize != 0 {
            return self.read_form(shown, take_form);
        }
        if self.request.method & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
            let allowed = if shown.takes_requests { "GET, HEAD, POST" } else { "GET, HEAD" };
            return match self.add_header("Allow", allowed) {
                Some(_) => status(NGX_HTTP_NOT_ALLOWED),
                None => status(NGX_HTTP_INTERNAL_SERVER_ERROR),
            };
        }
        // SAFETY: the request is live.
        let discarded = unsafe { ngx_http_discard_request_body(self.request) };
        if discarded != OK {
            return discarded;
        }
        let form = self.form(shown);
        let time = now();
        let Some((body, refresh)) = self.body(form, shown, time) else {
            return status(NGX_HTTP_NOT_FOUND);
        };
        let sent = self
            .set_headers(form, shown, &body, time)
            .and_then(|()| self.set_browser_headers(form, refresh))
            .and_then(|()| self.send(&body));
        sent.unwrap_or_else(|| status(NGX_HTTP_INTERNAL_SERVER_ERROR))
    }

    /// Makes the body, and gives the time after which it is asked for again. `None`: there is no such certificate.
    fn body(&self, form: Form, shown: Shown, now: UnixTime) -> Option<(String, Option<Duration>)> {
        let conf = core_conf(self.cycle)?;
        let ready = conf.ready()?;
        let requests = ready.requests.as_ref().filter(|_| shown.takes_requests);
        growth::catch_up(&ready.config, &ready.memory);
        let area = Area::new(&ready.memory, &ready.config).with_requests(requests.cloned());
        let build = build();
        let token = requests.map(|requests| |name: &str| requests.token(name, now));
        let tokens = token.as_ref().map(|token| token as &dyn Fn(&str) -> String);
        let assembly = Assembly { config: &ready.config, area: &area, build: &build, now, tokens };
        let query = Query::parse(self.arguments(), form.size());
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

    fn set_headers(&mut self, form: Form, shown: Shown, body: &str, time: UnixTime) -> Option<()> {
        let tag = self.add_header("ETag", &entity_tag(body, time))?;
        self.add_header("Cache-Control", "no-cache")?;
        self.add_header("X-Content-Type-Options", "nosniff")?;
        if shown.form.is_none() {
            self.add_header("Vary", "Accept")?;
        }
        self.request.headers_out.etag = tag;
        self.set_content(NGX_HTTP_OK, form.content_type(), body.len())
    }

    /// Sets what only a browser looks at: what the page may load, which is nothing but its own style, and when it is asked
    /// for again.
    pub(super) fn set_browser_headers(
        &mut self,
        form: Form,
        refresh: Option<Duration>,
    ) -> Option<()> {
        if form != Form::Html {
            return Some(());
        }
        self.add_header("Content-Security-Policy", &POLICY)?;
        // Without any, a browser would not say that a form is from here.
        self.add_header("Referrer-Policy", "same-origin")?;
        if let Some(refresh) = refresh {
            self.add_header("Refresh", &refresh.as_secs().to_string())?;
        }
        Some(())
    }
}
