//! The HTTP/1.1 server under the stand-in of Cloudflare's API and the proxy of the authority.
//!
//! On hyper itself rather than a framework, because a fault may have to close the connection
//! instead of answering, and frameworks always answer.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_native_tls::TlsAcceptor;

use crate::ports::Port;
use crate::process::wait_until;
use crate::rt;
use crate::traffic::{Action, Phase, Reply, Request, Traffic};

/// Limit for the time that the port may still be in use.
const LIMIT: Duration = Duration::from_secs(60);

/// The answer to a request.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

/// Form of the errors that no handler has made.
#[derive(Clone, Copy, Debug)]
pub enum Flavor {
    /// The envelope of Cloudflare's API.
    Cloudflare,
    /// A problem document (RFC 7807).
    Acme,
    /// A page for people.
    Plain,
}

#[derive(Clone)]
struct Service {
    handler: Handler,
    traffic: Traffic,
    flavor: Flavor,
    /// A request that has arrived is done even if its client is gone, as by any real server.
    working: Arc<Mutex<JoinSet<()>>>,
}

/// A running server. It ends when it is dropped, with all that it works on.
pub struct HttpServer {
    port: Port,
    tls: Option<TlsAcceptor>,
    service: Service,
    accepting: Option<JoinHandle<()>>,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpServer({})", self.port.addr())
    }
}

impl HttpServer {
    /// Starts a server; `flavor` is that of the errors that a fault makes.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(flavor: Flavor, tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let service = Service { handler, traffic: Traffic::new(), flavor, working: Arc::default() };
        let mut server = Self { port: Port::reserve(), tls, service, accepting: None };
        server.listen();
        server
    }

    /// Starts a server that accepts whatever it is sent.
    #[must_use]
    pub fn accepting() -> Self {
        let handler: Handler =
            Arc::new(|_| Box::pin(async { Reply::new(200, "text/plain", "ok") }));
        Self::start(Flavor::Plain, None, handler)
    }

    /// The address that it listens at.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The log of what passes through it, and the faults in it.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.service.traffic.clone()
    }

    /// Listens again after [`stop`](Self::stop).
    ///
    /// # Panics
    /// If the port does not become free.
    pub fn listen(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let addr = self.port.addr();
        // What has just been closed is still open in a process that another thread is starting, until
        // that runs its program.
        let listener = wait_until(LIMIT, || rt::block_on(TcpListener::bind(addr)).ok());
        let listener = listener.unwrap_or_else(|| panic!("cannot listen on {addr}"));
        let accept = accept(listener, self.tls.clone(), self.service.clone());
        self.accepting = Some(rt::runtime().spawn(accept));
    }

    /// Closes the port and all connections.
    pub fn stop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Not before this is the port closed.
            let _ = rt::block_on(accepting);
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
        self.service.working().abort_all();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: Service) {
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(connection(stream, tls.clone(), service.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, service: Service) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, service).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, service).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, service: Service) {
    let handle = service_fn(|request| answer(service.clone(), request));
    // An error is a client that went away, or a fault that closes the connection.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handle)
        .await;
}

/// An error closes the connection without an answer.
async fn answer(
    service: Service,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, std::io::Error> {
    let closed = || std::io::Error::other("closed on purpose");
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let request = Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let (done, result) = oneshot::channel();
    let worker = service.clone();
    service.working().spawn(async move {
        let reply = worker.process(request).await;
        let _ = done.send(reply);
    });
    let reply = result.await.ok().flatten().ok_or_else(closed)?;
    let mut response = http::Response::new(Full::new(reply.body));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).map_err(std::io::Error::other)?;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

impl Service {
    fn working(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        while working.try_join_next().is_some() {}
        working
    }

    /// The answer; `None` closes the connection.
    async fn process(&self, request: Request) -> Option<Reply> {
        let (place, action) = self.traffic.arrive(&request);
        self.traffic.pass(Phase::Request, place, &request).await;
        let handle = || (self.handler)(request.clone());
        let reply = match action {
            None => Some(handle().await),
            Some(Action::Status { status, retry_after }) => {
                Some(self.flavor.status(status).retry_after(retry_after))
            }
            Some(Action::Error { status, code, message }) => {
                Some(cloudflare_error(status, code, &message))
            }
            Some(Action::Problem { status, kind, detail, retry_after }) => {
                Some(problem(status, &kind, &detail).retry_after(retry_after))
            }
            Some(Action::Reply(reply)) => Some(reply),
            Some(Action::Hang) => match std::future::pending::<Infallible>().await {},
            Some(Action::Drop) => None,
            Some(Action::LostAnswer) => {
                handle().await;
                None
            }
            Some(Action::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                Some(handle().await)
            }
            Some(Action::Garbage) => {
                Some(Reply::new(200, "application/json", "{\"success\": tru\u{0}<html>"))
            }
            Some(Action::Rewrite(change)) => {
                let mut reply = handle().await;
                change(&mut reply);
                Some(reply)
            }
        };
        self.traffic.pass(Phase::Answer, place, &request).await;
        self.traffic.finish(place, reply.as_ref());
        reply
    }
}

impl Flavor {
    fn status(self, status: u16) -> Reply {
        match (self, status) {
            (Self::Cloudflare, 429) => cloudflare_error(
                status,
                971,
                "Please wait and consider throttling your request speed",
            ),
            (Self::Acme, 429) => problem(status, "rateLimited", "too many requests"),
            (Self::Acme, 503) => problem(status, "rateLimited", "Service busy; retry later."),
            (Self::Acme, 400..=499) => problem(status, "malformed", "refused by the testbed"),
            // What a gateway in front of the service answers when that is not there.
            _ => Reply::new(
                status,
                "text/html; charset=UTF-8",
                format!("<html><head><title>{status}</title></head><body></body></html>"),
            ),
        }
    }
}

/// An answer of Cloudflare's API that is one error.
pub(crate) fn cloudflare_error(status: u16, code: i64, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({
            "success": false,
            "errors": [{"code": code, "message": message}],
            "messages": [],
            "result": null,
        }),
    )
}

fn problem(status: u16, kind: &str, detail: &str) -> Reply {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    let body = json!({"type": kind, "detail": detail, "status": status});
    Reply::new(status, "application/problem+json", body.to_string())
}
