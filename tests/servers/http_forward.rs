//! Requests that are handed on to a real server: what a proxy of the testbed does, with faults in between.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};

use crate::http_server::{Flavor, Handler, HttpServer};
use crate::rt;
use crate::traffic::{Reply, Request};

/// Starts a proxy of plain HTTP in front of `upstream`, a URL without a path.
///
/// # Panics
/// If it cannot listen.
#[must_use]
pub fn start(upstream: &str) -> HttpServer {
    let client = rt::http_client(Duration::from_secs(30), None);
    let upstream = upstream.to_owned();
    let handler: Handler = Arc::new(move |request| {
        let (client, upstream) = (client.clone(), upstream.clone());
        Box::pin(async move {
            let answer = forward(&client, &upstream, request).await;
            answer.unwrap_or_else(|e| Reply::new(502, "text/plain", format!("no answer: {e}")))
        })
    });
    HttpServer::start(Flavor::Plain, None, handler)
}

/// Makes a request at `upstream` and gives the answer.
pub(crate) async fn forward(
    client: &reqwest::Client,
    upstream: &str,
    request: Request,
) -> Result<Reply, reqwest::Error> {
    let query = if request.query.is_empty() { "" } else { "?" };
    let url = format!("{upstream}{}{query}{}", request.path, request.query);
    let mut headers = request.headers;
    drop_hop_headers(&mut headers);
    let answer = client.request(request.method, url).headers(headers).body(request.body);
    let answer = answer.send().await?;
    let (status, mut headers) = (answer.status().as_u16(), answer.headers().clone());
    drop_hop_headers(&mut headers);
    Ok(Reply { status, headers, body: answer.bytes().await? })
}

/// The other side makes its own.
fn drop_hop_headers(headers: &mut http::HeaderMap) {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.remove(HeaderName::from_static("keep-alive"));
}
