//! Requests at the status page: forms that ask for a renewal. Whether they count is said in
//! `acme_dns_core::status::control`, and what is done about them is decided by the service.

use super::conf::core_conf;
use super::growth;
use super::nginx::{OK, is_exiting, now};
use super::public_area::Area;
use super::status_conf::Shown;
use super::status_request::{POLICY, StatusRequest, build, status};
use acme_dns_core::status::control::{LONGEST_FORM, Provenance, RenewalForm, is_form};
use acme_dns_core::status::{Answer, AnswerKind, Assembly, Form, Query};
use ngx::ffi::{
    NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_SEE_OTHER, NGX_HTTP_SPECIAL_RESPONSE,
    ngx_http_client_body_handler_pt, ngx_http_discard_request_body,
    ngx_http_read_client_request_body, ngx_int_t,
};

impl StatusRequest<'_> {
    /// Gives the form of the response.
    pub(super) fn form(&self, shown: Shown) -> Form {
        shown.form.unwrap_or_else(|| Form::accepted(self.header("Accept").as_deref()))
    }

    /// Has nginx read the body of a request, if it can be a form of ours.
    pub(super) fn read_form(
        self,
        shown: Shown,
        take_form: ngx_http_client_body_handler_pt,
    ) -> ngx_int_t {
        let is_form = self.header("Content-Type").is_some_and(|kind| is_form(&kind));
        let length = usize::try_from(self.request.headers_in.content_length_n).unwrap_or_default();
        let refused = match (is_form, length) {
            (false, _) => Some(AnswerKind::NoForm),
            (true, length) if length > LONGEST_FORM => Some(AnswerKind::TooLong),
            _ => None,
        };
        if let Some(kind) = refused {
            // SAFETY: the request is live.
            let discarded = unsafe { ngx_http_discard_request_body(self.request) };
            return match discarded {
                OK => self.say(shown, &Answer::plain(kind)),
                failure => failure,
            };
        }
        self.request.set_request_body_in_file_only(0);
        // SAFETY: the request is live; nginx calls the handler once the body is there.
        let read = unsafe { ngx_http_read_client_request_body(self.request, take_form) };
        if read >= status(NGX_HTTP_SPECIAL_RESPONSE) { read } else { NGX_DONE as ngx_int_t }
    }

    /// Takes a form whose body is there; gives what nginx ends the request with.
    pub(super) fn take_form(self, shown: Shown) -> ngx_int_t {
        let answer = match self.request_body() {
            None => Answer::plain(AnswerKind::TooLong),
            Some(body) => self.hand_on(&body),
        };
        self.say(shown, &answer)
    }

    /// Copies the body of the request. `None`: it is longer than any form of ours.
    fn request_body(&self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        // SAFETY: null, or what nginx keeps of the body of a live request.
        let read = unsafe { self.request.request_body.as_ref() };
        let mut next = read.map_or(std::ptr::null_mut(), |read| read.bufs);
        // SAFETY: null, or a link of the chain.
        while let Some(link) = unsafe { next.as_ref() } {
            // SAFETY: each link has a buffer.
            let buffer = unsafe { &*link.buf };
            if buffer.in_file() != 0 {
                return None;
            }
            // SAFETY: both point into this buffer.
            let length = unsafe { buffer.last.offset_from(buffer.pos) };
            let length = usize::try_from(length).ok()?;
            if body.len() + length > LONGEST_FORM {
                return None;
            }
            if length > 0 {
                // SAFETY: so many bytes of the buffer were read.
                body.extend_from_slice(unsafe { std::slice::from_raw_parts(buffer.pos, length) });
            }
            next = link.next;
        }
        Some(body)
    }

    /// Hands a request on to the service, if it counts.
    fn hand_on(&self, body: &[u8]) -> Answer {
        let Some(form) = RenewalForm::parse(body) else { return Answer::plain(AnswerKind::NoForm) };
        let (host, origin) = (self.header("Host"), self.header("Origin"));
        let site = self.header("Sec-Fetch-Site");
        let provenance = Provenance {
            host: host.as_deref().unwrap_or_default(),
            origin: origin.as_deref(),
            site: site.as_deref(),
        };
        if !provenance.is_own() {
            return Answer::plain(AnswerKind::Foreign);
        }
        let now = now();
        let conf = core_conf(self.cycle);
        let ready = conf.as_ref().and_then(|conf| conf.ready());
        let Some((ready, requests)) = ready.and_then(|it| Some((it, it.requests.as_ref()?))) else {
            return Answer::plain(AnswerKind::Absent);
        };
        if !requests.accepts(&form.name, &form.token, now) {
            return Answer::plain(AnswerKind::Stale);
        }
        growth::catch_up(&ready.config, &ready.memory);
        let area = Area::new(&ready.memory, &ready.config).with_requests(Some(requests.clone()));
        let (config, build) = (&ready.config, build());
        let assembly = Assembly { config, area: &area, build: &build, now, tokens: None };
        let certificate = config.certificates.find(|certificate| certificate.name == form.name);
        let page = assembly.one(&form.name, &Query::parse("", 1));
        let (Some(id), Some(page)) = (certificate, page) else {
            return Answer::plain(AnswerKind::Unknown);
        };
        let Some(status) = page.certificates.first() else {
            return Answer::plain(AnswerKind::Unknown);
        };
        // The service that listens to this worker has ended, or ends.
        if is_exiting() {
            return Answer::plain(AnswerKind::Absent);
        }
        let answer = Answer::to(&page, status);
        if answer.kind == AnswerKind::Accepted {
            requests.ask(id);
        }
        answer
    }

    /// Responds with an answer: a browser that was heard is sent back to the page, which says so.
    fn say(mut self, shown: Shown, answer: &Answer) -> ngx_int_t {
        let form = self.form(shown);
        let said = match (&answer.certificate, answer.kind, form) {
            (Some(name), AnswerKind::Accepted, Form::Html) => self.send_back(name),
            _ => self.send_answer(form, answer),
        };
        said.unwrap_or_else(|| status(NGX_HTTP_INTERNAL_SERVER_ERROR))
    }

    fn send_back(&mut self, name: &str) -> Option<ngx_int_t> {
        let query = Query::parse(self.arguments(), Form::Html.size());
        let location = format!("?{}", query.link_after(name));
        self.add_header("Cache-Control", "no-store")?;
        self.request.headers_out.location = self.add_header("Location", &location)?;
        Some(status(NGX_HTTP_SEE_OTHER))
    }

    fn send_answer(&mut self, form: Form, answer: &Answer) -> Option<ngx_int_t> {
        let body = form.render_answer(answer);
        self.add_header("Cache-Control", "no-store")?;
        self.add_header("X-Content-Type-Options", "nosniff")?;
        if form == Form::Html {
            self.add_header("Content-Security-Policy", &POLICY)?;
        }
        if let Some(wait) = answer.retry_after {
            self.add_header("Retry-After", &wait.as_secs().max(1).to_string())?;
        }
        self.set_content(answer.status().into(), form.content_type(), body.len())?;
        self.send(&body)
    }
}
