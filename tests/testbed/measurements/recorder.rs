//! A proxy in front of Cloudflare's API that writes down what is asked and answered, without what is
//! private: `make live` records the real API, and a test puts the same requests to the stand-in.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING,
};
use serde_json::{Value, json};
use servers::http_server::{Flavor, Handler, HttpServer};
use servers::traffic::{Reply, Request};

use crate::measurements::scrub::Scrub;

/// Path of the API on its host and here.
const BASE: &str = "/client/v4";

/// Longer than the module waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Exchanges so far, in the form of the file.
#[derive(Default)]
struct Tape {
    scrub: Scrub,
    exchanges: Vec<Value>,
}

/// A running proxy. It ends when it is dropped.
pub struct Recorder {
    server: HttpServer,
    tape: Arc<Mutex<Tape>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts a proxy in front of an API, by its base URL.
    ///
    /// # Errors
    /// There can be no client.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(api: &str, scrub: Scrub) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| format!("no HTTP client: {e}"))?;
        let tape = Arc::new(Mutex::new(Tape { scrub, exchanges: Vec::new() }));
        let (api, writing) = (api.trim_end_matches('/').to_owned(), tape.clone());
        let handler: Handler = Arc::new(move |request| {
            let (client, api, tape) = (client.clone(), api.clone(), writing.clone());
            Box::pin(async move {
                let reply = forward(&client, &api, &request).await;
                let reply = reply.unwrap_or_else(|e| {
                    Reply::new(502, "text/plain", format!("the API does not answer: {e}"))
                });
                locked(&tape).write(&request, &reply);
                reply
            })
        });
        Ok(Self { server: HttpServer::start(Flavor::Cloudflare, None, handler), tape })
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}{BASE}", self.server.addr())
    }

    /// All exchanges so far, as [`crate::measurements::replay`] reads them.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Value> {
        locked(&self.tape).exchanges.clone()
    }
}

fn locked(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forward(
    client: &reqwest::Client,
    api: &str,
    request: &Request,
) -> Result<Reply, reqwest::Error> {
    let path = request.path.strip_prefix(BASE).unwrap_or(&request.path);
    let query = if request.query.is_empty() { "" } else { "?" };
    let url = format!("{api}{path}{query}{}", request.query);
    let mut headers = request.headers.clone();
    for name in [HOST, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let sent = client.request(request.method.clone(), url).headers(headers);
    let answer = sent.body(request.body.clone()).send().await?;
    let (status, mut headers) = (answer.status().as_u16(), answer.headers().clone());
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    Ok(Reply { status, headers, body: answer.bytes().await? })
}

impl Tape {
    fn write(&mut self, request: &Request, reply: &Reply) {
        let scrub = &mut self.scrub;
        let authorization = request.headers.get(AUTHORIZATION);
        let token = authorization.and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| scrub.label(value.trim_start_matches("Bearer ")));
        let query: Vec<[String; 2]> = url::form_urlencoded::parse(request.query.as_bytes())
            .map(|(key, value)| [key.into_owned(), scrub.text(&value)])
            .collect();
        let path = request.path.strip_prefix(BASE).unwrap_or(&request.path);
        let retry_after = reply.headers.get("retry-after").and_then(|value| value.to_str().ok());
        self.exchanges.push(json!({
            "method": request.method.as_str(),
            "path": scrub.text(path),
            "query": query,
            "token": token,
            "body": body(scrub, &request.body),
            "status": reply.status,
            "retry_after": retry_after,
            "answer": body(scrub, &reply.body),
        }));
    }
}

/// A body in JSON, or of one that is something else only what it is.
fn body(scrub: &mut Scrub, bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => scrub.json(&value),
        Err(_) => json!({ "not_json": bytes.len() }),
    }
}
