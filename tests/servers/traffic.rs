//! Traffic of the testbed's own HTTP servers: a log of it, and faults in it.
//!
//! The stand-in of Cloudflare's API and the proxy in front of the authority share this. A test
//! holds a [`Traffic`], says what is to go wrong ([`Traffic::inject`]), stops requests at a gate
//! ([`Traffic::hold`]) and reads what has happened.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

/// A request as it arrived, before anything was done to it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, after the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer with a body of the given type.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// Adds `Retry-After`, if there is one.
    #[must_use]
    pub fn retry_after(mut self, seconds: Option<u64>) -> Self {
        if let Some(seconds) = seconds {
            self.headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        self
    }
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The request.
    pub request: Request,
    /// The moment of its arrival.
    pub arrived: Instant,
    /// The moment at which the answer was handed out; `None` while there is none.
    pub finished: Option<Instant>,
    /// The status of the answer; `None` while, or because, there is none.
    pub status: Option<u16>,
    /// The answer; `None` while, or because, there is none.
    pub reply: Option<Reply>,
}

impl Logged {
    /// The body as text.
    #[must_use]
    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.request.body).into_owned()
    }

    /// The body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or_default()
    }

    /// The payload of a body that is a JWS; `Null` for POST-as-GET and for what is no JWS.
    #[must_use]
    pub fn jws_payload(&self) -> Value {
        self.jws_part("payload")
    }

    /// The protected header of a body that is a JWS.
    #[must_use]
    pub fn jws_header(&self) -> Value {
        self.jws_part("protected")
    }

    fn jws_part(&self, name: &str) -> Value {
        let json = self.json();
        let text = json[name].as_str().unwrap_or_default().replace('-', "+").replace('_', "/");
        let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
        let bytes = openssl::base64::decode_block(&padded).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

/// Which requests are meant. Everything that is set must fit.
#[derive(Clone, Debug, Default)]
pub struct Match {
    method: Option<Method>,
    path: Vec<String>,
    ends: Option<String>,
    query: Option<String>,
    body: Vec<String>,
}

impl Match {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this method, and a path that contains `path`.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        Self::any().method(method).path(path)
    }

    /// Only this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only paths that contain `text`.
    #[must_use]
    pub fn path(mut self, text: &str) -> Self {
        self.path.push(text.to_owned());
        self
    }

    /// Only paths that end in `text`.
    #[must_use]
    pub fn path_ends(mut self, text: &str) -> Self {
        self.ends = Some(text.to_owned());
        self
    }

    /// Only queries that contain `text`.
    #[must_use]
    pub fn query(mut self, text: &str) -> Self {
        self.query = Some(text.to_owned());
        self
    }

    /// Only bodies that contain `text`.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        self.body.push(text.to_owned());
        self
    }

    /// Returns whether a request is meant.
    #[must_use]
    pub fn fits(&self, request: &Request) -> bool {
        let body = String::from_utf8_lossy(&request.body);
        self.method.as_ref().is_none_or(|m| *m == request.method)
            && self.path.iter().all(|p| request.path.contains(p))
            && self.ends.as_ref().is_none_or(|e| request.path.ends_with(e))
            && self.query.as_ref().is_none_or(|q| request.query.contains(q))
            && self.body.iter().all(|b| body.contains(b))
    }
}

type Rewrite = Arc<dyn Fn(&mut Reply) + Send + Sync>;

/// Fate of a request.
#[derive(Clone)]
pub enum Action {
    /// Answered with a status and what such an answer of this kind of server looks like, without
    /// having been done.
    Status {
        /// The HTTP status.
        status: u16,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
    },
    /// Answered with an error of Cloudflare's API, without having been done.
    Error {
        /// The HTTP status.
        status: u16,
        /// Cloudflare's code.
        code: i64,
        /// Its text.
        message: String,
    },
    /// Answered with a problem document of ACME, without having been done.
    Problem {
        /// The HTTP status.
        status: u16,
        /// The last part of the type, such as `rateLimited`.
        kind: String,
        /// Its text.
        detail: String,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
    },
    /// Answered with this, without having been done.
    Reply(Reply),
    /// Never answered and never done; the connection stays open.
    Hang,
    /// The connection is closed instead of an answer, and nothing is done.
    Drop,
    /// It is done, and then the connection is closed instead of an answer.
    LostAnswer,
    /// Done and answered after a pause.
    Delay(Duration),
    /// Answered with 200 and a text that is not JSON, without having been done.
    Garbage,
    /// Done, and the answer changed.
    Rewrite(Rewrite),
}

impl Action {
    /// Changes the answer with `change`.
    pub fn rewrite(change: impl Fn(&mut Reply) + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(change))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, .. }
            | Self::Error { status, .. }
            | Self::Problem { status, .. } => write!(f, "answer {status}"),
            Self::Reply(reply) => write!(f, "reply {}", reply.status),
            Self::Hang => f.write_str("hang"),
            Self::Drop => f.write_str("drop"),
            Self::LostAnswer => f.write_str("lose the answer"),
            Self::Delay(delay) => write!(f, "delay {delay:?}"),
            Self::Garbage => f.write_str("garbage"),
            Self::Rewrite(_) => f.write_str("rewrite"),
        }
    }
}

/// Something that goes wrong: an [`Action`] on the requests of a [`Match`].
#[derive(Clone, Debug)]
pub struct Fault {
    matcher: Match,
    action: Action,
    skip: usize,
    times: Option<usize>,
}

impl Fault {
    /// A fault that strikes once.
    #[must_use]
    pub fn new(matcher: Match, action: Action) -> Self {
        Self { matcher, action, skip: 0, times: Some(1) }
    }

    /// It strikes `times` requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// It strikes until [`Traffic::clear_faults`].
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// It spares the first `requests` that fit.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }
}

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    gates: Vec<Arc<Gate>>,
    log: Vec<Logged>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the request is done.
    Request,
    /// After it is done, before the answer.
    Answer,
}

struct Gate {
    matcher: Match,
    phase: Phase,
    /// Places in the log of the requests that wait or have waited here.
    arrived: Mutex<Vec<usize>>,
    open: watch::Sender<bool>,
}

/// The log and the faults of one server; clones mean the same server.
#[derive(Clone)]
pub struct Traffic {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traffic({} requests)", self.state().log.len())
    }
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// Adds a fault. Of several that fit a request, the one added first strikes.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes all faults away; requests that hang already go on hanging.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Stops requests before they are done, until the gate is released or dropped.
    #[must_use]
    pub fn hold(&self, matcher: Match) -> Hold {
        self.gate(matcher, Phase::Request)
    }

    /// Stops requests after they are done and before the answer.
    #[must_use]
    pub fn hold_answer(&self, matcher: Match) -> Hold {
        self.gate(matcher, Phase::Answer)
    }

    /// All requests since the start or the last [`clear_log`](Self::clear_log), as they arrived.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// The requests that fit.
    #[must_use]
    pub fn requests(&self, matcher: &Match) -> Vec<Logged> {
        self.state().log.iter().filter(|entry| matcher.fits(&entry.request)).cloned().collect()
    }

    /// The number of requests that fit.
    #[must_use]
    pub fn count(&self, matcher: &Match) -> usize {
        self.requests(matcher).len()
    }

    /// Forgets the requests so far. Not while a gate holds one.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// Waits for a request that fits, arrived at any time since the log begins.
    ///
    /// # Panics
    /// After `timeout`, with the log.
    pub fn wait_for_request(&self, matcher: &Match, timeout: Duration) -> Logged {
        self.wait_for_requests(matcher, 1, timeout).swap_remove(0)
    }

    /// Waits for `count` requests that fit.
    ///
    /// # Panics
    /// After `timeout`, with the log.
    pub fn wait_for_requests(
        &self,
        matcher: &Match,
        count: usize,
        timeout: Duration,
    ) -> Vec<Logged> {
        self.wait(timeout, &format!("{count} of {matcher:?}"), |state| {
            let fit = state.log.iter().filter(|entry| matcher.fits(&entry.request));
            let found: Vec<Logged> = fit.cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The log in lines, for messages of failed tests.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(&self.state().log)
    }

    fn gate(&self, matcher: Match, phase: Phase) -> Hold {
        let (open, _) = watch::channel(false);
        let gate = Arc::new(Gate { matcher, phase, arrived: Mutex::default(), open });
        self.state().gates.push(gate.clone());
        Hold { traffic: self.clone(), gate }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(
        &self,
        timeout: Duration,
        what: &str,
        mut ready: impl FnMut(&State) -> Option<T>,
    ) -> T {
        let end = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(value) = ready(&state) {
                return value;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let log = summary(&state.log);
                drop(state);
                panic!("waited {timeout:?} for {what}; there was:\n{log}");
            }
            state =
                self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes a request and says what is to happen to it.
    pub(crate) fn arrive(&self, request: &Request) -> (usize, Option<Action>) {
        let mut state = self.state();
        let entry = Logged {
            request: request.clone(),
            arrived: Instant::now(),
            finished: None,
            status: None,
            reply: None,
        };
        state.log.push(entry);
        let place = state.log.len() - 1;
        let mut action = None;
        for fault in &mut state.faults {
            if fault.times == Some(0) || !fault.matcher.fits(request) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times = fault.times.map(|times| times - 1);
            action = Some(fault.action.clone());
            break;
        }
        self.shared.1.notify_all();
        (place, action)
    }

    /// Waits at all gates of a phase that a request meets.
    pub(crate) async fn pass(&self, phase: Phase, place: usize, request: &Request) {
        let gates: Vec<Arc<Gate>> = {
            let state = self.state();
            let meets = |gate: &&Arc<Gate>| gate.phase == phase && gate.matcher.fits(request);
            state.gates.iter().filter(meets).cloned().collect()
        };
        for gate in gates {
            let mut open = gate.open.subscribe();
            {
                // Under the lock, so that no waiting test misses the notification.
                let _state = self.state();
                gate.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(place);
                self.shared.1.notify_all();
            }
            let _ = open.wait_for(|open| *open).await;
        }
    }

    pub(crate) fn finish(&self, place: usize, reply: Option<&Reply>) {
        let mut state = self.state();
        if let Some(entry) = state.log.get_mut(place) {
            entry.finished = Some(Instant::now());
            entry.status = reply.map(|reply| reply.status);
            entry.reply = reply.cloned();
        }
        self.shared.1.notify_all();
    }
}

fn summary(log: &[Logged]) -> String {
    let line = |entry: &Logged| {
        let Request { method, path, query, .. } = &entry.request;
        let status = entry.status.map_or_else(|| "no answer".to_owned(), |s| s.to_string());
        format!("  {method} {path}?{query}: {status}\n")
    };
    log.iter().map(line).collect()
}

/// A gate at which requests wait; dropping it lets them go on.
pub struct Hold {
    traffic: Traffic,
    gate: Arc<Gate>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({:?})", self.gate.matcher)
    }
}

impl Hold {
    /// Waits until a request stands at the gate.
    ///
    /// # Panics
    /// After `timeout`, with the log.
    pub fn wait(&self, timeout: Duration) -> Logged {
        let what = format!("a request at the gate {:?}", self.gate.matcher);
        self.traffic.wait(timeout, &what, |state| {
            let place = *self.places().first()?;
            state.log.get(place).cloned()
        })
    }

    /// Counts the requests that have come to the gate so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.places().len()
    }

    /// Lets all go on, and later ones pass.
    pub fn release(self) {}

    fn places(&self) -> MutexGuard<'_, Vec<usize>> {
        self.gate.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.traffic.state().gates.retain(|gate| !Arc::ptr_eq(gate, &self.gate));
        self.gate.open.send_replace(true);
    }
}
