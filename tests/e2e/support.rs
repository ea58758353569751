//! Helpers of several modules.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use openssl::x509::X509;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs a future of a client in a test.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts")).block_on(future)
}

/// Sends a request to a host with OpenSSL's own client; gives what it shows of handshake and answer.
pub(crate) fn s_client(addr: SocketAddr, host: &str, args: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &addr.to_string()]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl runs");
    // TLS 1.3 sends tickets behind the handshake.
    let mut stdin = child.stdin.take().expect("a pipe");
    // A client that was refused has gone.
    let _gone = write!(stdin, "GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("{}\n{errors}", String::from_utf8_lossy(&output.stdout))
}

/// Returns whether a handshake that [`s_client`] shows has resumed a session.
pub(crate) fn is_resumed(shown: &str) -> bool {
    let (resumed, full) = (shown.contains("\nReused, TLSv1"), shown.contains("\nNew, TLSv1"));
    assert!(resumed != full, "{shown}");
    resumed
}

/// A client that trusts only this authority.
pub(crate) fn client(ca_pem: Option<&[u8]>) -> Client {
    // Pebble refuses requests without a User-Agent.
    let builder = Client::builder().no_proxy().http1_only().user_agent("testbed");
    let builder = match ca_pem {
        Some(pem) => {
            assert!(X509::from_pem(pem).is_ok(), "the authority is a certificate");
            let ca = reqwest::Certificate::from_pem(pem).expect("the authority is readable");
            builder.tls_certs_only([ca])
        }
        None => builder,
    };
    builder.build().expect("the client can be made")
}

/// An answer of Cloudflare's API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// HTTP status and Cloudflare's code.
    pub(crate) fn error(&self) -> (u16, i64) {
        (self.status, self.json["errors"][0]["code"].as_i64().unwrap_or(-1))
    }

    pub(crate) fn result(&self) -> &Value {
        assert_eq!((self.status, &self.json["success"]), (200, &Value::Bool(true)), "{self:?}");
        &self.json["result"]
    }
}

/// A client of the stand-in.
pub(crate) struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    pub(crate) fn new(base: String, token: &str) -> Self {
        Self { client: client(None), base, token: token.to_owned() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path).bearer_auth(&self.token))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path).bearer_auth(&self.token))
    }

    pub(crate) fn with_body(&self, method: Method, path: &str, body: &Value) -> Answer {
        send(self.request(method, path).bearer_auth(&self.token).json(body))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::POST, path, body)
    }
}

/// Sends a request that is answered.
pub(crate) fn send(request: RequestBuilder) -> Answer {
    try_send(request).expect("the stand-in answers")
}

/// Sends a request that may not be answered.
pub(crate) fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    block_on(async {
        let response: Response = request.send().await?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|v| v.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status, retry_after, text, json })
    })
}
