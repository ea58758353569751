//! The one HTTP client: reqwest on the OpenSSL that nginx links.

use acme_dns_core::text::{excerpt, one_line};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use std::cell::RefCell;
use std::error::Error as _;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use url::Url;

/// Name by which the helper introduces itself to servers.
const USER_AGENT: &str = concat!("ngx_http_acme_dns_module/", env!("CARGO_PKG_VERSION"));

/// A host that does not answer a SYN is down, or its packets are dropped.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for an engine, which is near: another of its servers is asked then.
const ENGINE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A whole request, connection and answer included.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// An order makes its requests within seconds; a connection kept for longer than this is likely to
/// be closed from the other side just when it is needed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two pings of an HTTP/2 connection whose server owes an answer. All
/// requests share one connection: a dead one must not take each of them to its timeout.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Longest time that an answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that asks for a longer pause than a day is asked again after a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86400);

/// Headers in which servers name a request, the more specific ones first: step-ca and most APIs, AWS, what stands
/// behind Cloudflare, which is its API and some CAs.
const REQUEST_IDS: [&str; 5] =
    ["x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "cf-ray"];

/// The longest URL and the longest identifier that are shown, in characters.
const MAX_URL: usize = 200;
const MAX_ID: usize = 80;

/// Failure to make a client or to read an answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The trusted certificates cannot be read.
    #[error("invalid trusted certificate: {}", describe(.0))]
    Certificate(reqwest::Error),
    /// The certificate of a client cannot be used with its key.
    #[error("\"certificate\" and \"certificate_key\" cannot be used together: {}", describe(.0))]
    Identity(reqwest::Error),
    /// The TLS library cannot be set up.
    #[error("cannot set up the HTTP client: {}", describe(.0))]
    Client(reqwest::Error),
    /// Text of the configuration that is no URL.
    #[error("invalid URL \"{0}\"")]
    Url(String),
    /// The credentials hold a character that no header may carry.
    #[error("the credentials of provider \"{0}\" hold a character that cannot be sent in a header")]
    Credentials(String),
    /// The key of updates is none.
    #[error("the TSIG key of provider \"{0}\" has no secret in base64")]
    TsigKey(String),
    /// The connection broke, or took too long.
    #[error("{}", describe(.0))]
    Transport(reqwest::Error),
    /// The answer is longer than it may be, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A client, with the certificates that it trusts besides the system's.
type KnownClient = (Option<Vec<u8>>, Client);

/// The HTTP clients of one runtime, whose tasks their connections are. Those that trust the same are
/// one, because OpenSSL takes some 50 ms to read the system's certificates.
#[derive(Debug, Default)]
pub struct Clients(RefCell<Vec<KnownClient>>);

impl Clients {
    /// Gives a client. It trusts the system's certificates and the given ones (PEM, one or more),
    /// keeps connections, speaks HTTP/2 where it is offered, and follows no redirect: what goes out
    /// carries credentials.
    ///
    /// # Errors
    /// The certificates cannot be read, or the TLS library refuses to start.
    pub fn get(&self, trusted_certificate: Option<&[u8]>) -> Result<Client, HttpError> {
        let is_known = |known: &&KnownClient| known.0.as_deref() == trusted_certificate;
        if let Some((_, client)) = self.0.borrow().iter().find(is_known) {
            return Ok(client.clone());
        }
        let client = make_client(trusted_certificate)?;
        let known = (trusted_certificate.map(<[u8]>::to_vec), client.clone());
        self.0.borrow_mut().push(known);
        Ok(client)
    }
}

fn make_client(trusted_certificate: Option<&[u8]>) -> Result<Client, HttpError> {
    let builder = builder(trusted_certificate)?
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(TOTAL_TIMEOUT);
    builder.build().map_err(HttpError::Client)
}

/// Begins a client with what all have in common.
fn builder(trusted_certificate: Option<&[u8]>) -> Result<ClientBuilder, HttpError> {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .redirect(Policy::none())
        .referer(false);
    let Some(pem) = trusted_certificate else { return Ok(builder) };
    let certificates = Certificate::from_pem_bundle(pem).map_err(HttpError::Certificate)?;
    Ok(builder.tls_certs_merge(certificates))
}

/// Certificate by which a server knows a client.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate and its chain in PEM.
    pub certificate: &'a [u8],
    /// The key in PEM (PKCS #8).
    pub key: &'a [u8],
}

/// Makes a client for the engine that hosts share certificates on. It is near, so that it is not asked through a proxy and
/// is away if it takes long to answer a SYN; how long an answer may take is up to the caller, as one to a watch has no end.
///
/// # Errors
/// A certificate or the key cannot be used, or the TLS library refuses to start.
pub fn engine_client(
    trusted_certificate: Option<&[u8]>,
    identity: Option<Identity<'_>>,
) -> Result<Client, HttpError> {
    let mut builder =
        builder(trusted_certificate)?.no_proxy().connect_timeout(ENGINE_CONNECT_TIMEOUT);
    if let Some(Identity { certificate, key }) = identity {
        let identity =
            reqwest::Identity::from_pkcs8_pem(certificate, key).map_err(HttpError::Identity)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(HttpError::Client)
}

/// Reads the body of an answer, up to a number of bytes.
///
/// # Errors
/// The body is longer, or the connection breaks.
pub async fn read_limited(mut response: Response, limit: usize) -> Result<Bytes, HttpError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).is_ok_and(|length| length > limit) {
        return Err(HttpError::TooLong(limit));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(HttpError::Transport)? {
        if chunk.len() > limit - body.len() {
            return Err(HttpError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Reads `Date` (RFC 9110 section 6.6.1): the server's own time.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date; a date of the past means
/// now, and what is neither is ignored. The server's own time counts, if it tells, since our clock may
/// be wrong.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that do not fit are a long time, not a mistake.
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        until.duration_since(date(headers).unwrap_or(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Shows a URL in a line of the log, without what may hold a secret: user, query and fragment. `hide` cuts known secrets
/// out of the rest.
#[must_use]
pub fn shown_url(url: &Url, hide: impl FnOnce(&str) -> String) -> String {
    let mut bare = url.clone();
    // Neither can fail where there is a host.
    let _ = bare.set_username("").and_then(|()| bare.set_password(None));
    bare.set_query(None);
    bare.set_fragment(None);
    let query = if url.query().is_some() { "?..." } else { "" };
    format!("{}{query}", excerpt(&hide(bare.as_str()), MAX_URL))
}

/// Gives the identifier by which the operators of a server find a request, after the name of its header. Boulder and
/// Pebble send none: the URL of an order is what they are asked with.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let (name, value) =
        REQUEST_IDS.iter().find_map(|name| Some((name, headers.get(*name)?.to_str().ok()?)))?;
    Some(format!("{name} {}", excerpt(value, MAX_ID)))
}

/// Describes an error in one line: what failed, at which host, and the chain of causes. The path
/// and the query of the URL are left out.
#[must_use]
pub fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else if error.is_request() {
        "the request failed"
    } else {
        "HTTP error"
    };
    let host = error.url().and_then(|url| {
        let host = url.host_str()?;
        Some(match url.port() {
            Some(port) => format!(" ({host}:{port})"),
            None => format!(" ({host})"),
        })
    });
    let mut text = format!("{what}{}", host.unwrap_or_default());
    let mut last = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        // Layers that only pass an error on repeat its text, and reqwest's own name the URL.
        if message != last && !message.is_empty() && !cause.is::<reqwest::Error>() {
            text.push_str(": ");
            text.push_str(&message);
        }
        last = message;
        source = cause.source();
    }
    one_line(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        Clients, HttpError, describe, make_client, read_limited, request_id, retry_after, shown_url,
    };
    use crate::x509::testing::key;
    use http::{HeaderMap, HeaderValue, header};
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::ssl::{SslAcceptor, SslMethod};
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509Name};
    use std::io::{Read, Write};
    use std::time::{Duration, SystemTime};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use url::Url;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999", Some(86400)),
            ("99999999999999999999999", Some(86400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:48:37 GMT", Some(86400)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            let wait = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), wait, "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn retry_after_as_a_date_is_read_by_the_clock_of_the_server() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let until = HeaderValue::from_static("Sun, 06 Nov 1994 08:50:37 GMT");
        headers.insert(header::RETRY_AFTER, until);
        let two_hours = Duration::from_secs(7200);
        for now in [right, right - two_hours, right + two_hours] {
            assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(60)), "{now:?}");
        }
        headers.insert(header::DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(retry_after(&headers, right), Some(Duration::from_secs(60)));
    }

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        for (url, expected) in [
            ("https://ca.example/acme/order/1", "https://ca.example/acme/order/1"),
            ("https://u:secret@ca.example:444/a?k=secret#secret", "https://ca.example:444/a?..."),
            ("https://u@ca.example/?", "https://ca.example/?..."),
        ] {
            assert_eq!(shown_url(&Url::parse(url).unwrap(), str::to_owned), expected, "{url}");
        }
        let long = Url::parse(&format!("https://ca.example/{}", "x".repeat(1000))).unwrap();
        assert!(shown_url(&long, str::to_owned).len() < 220);
        let url = Url::parse("https://ca.example/secret/a").unwrap();
        let hide = |text: &str| text.replace("secret", "***");
        assert_eq!(shown_url(&url, hide), "https://ca.example/***/a");
    }

    #[test]
    fn a_request_is_named_as_its_server_names_it() {
        for (sent, expected) in [
            (&[("cf-ray", "8e2f-FRA")] as &[_], Some("cf-ray 8e2f-FRA")),
            (&[("cf-ray", "8e2f-FRA"), ("x-request-id", "7")], Some("x-request-id 7")),
            (&[("x-amzn-requestid", "a\tb")], Some("x-amzn-requestid a b")),
            (&[("date", "today")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(request_id(&headers).as_deref(), expected, "{sent:?}");
        }
    }

    #[test]
    fn trusted_certificates_must_be_certificates() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = make_client(Some(pem)).unwrap_err();
        let expected = matches!(error, HttpError::Certificate(_) | HttpError::Client(_));
        assert!(expected, "{error}");
    }

    #[test]
    fn one_client_for_each_set_of_trusted_certificates() {
        let clients = Clients::default();
        let pem = certificate("ours").0.to_pem().unwrap();
        clients.get(Some(&pem)).unwrap();
        clients.get(Some(&pem)).unwrap();
        assert_eq!(clients.0.borrow().len(), 1);
        clients.get(Some(&certificate("other").0.to_pem().unwrap())).unwrap();
        clients.get(None).unwrap();
        assert_eq!(clients.0.borrow().len(), 3);
    }

    fn certificate(cn: &str) -> (X509, PKey<Private>) {
        let key = key();
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", cn).unwrap();
        let name = name.build();
        let mut certificate = X509::builder().unwrap();
        certificate.set_version(2).unwrap();
        certificate.set_subject_name(&name).unwrap();
        certificate.set_issuer_name(&name).unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        let names = SubjectAlternativeName::new()
            .dns("localhost")
            .build(&certificate.x509v3_context(None, None));
        certificate.append_extension(names.unwrap()).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        (certificate.build(), key)
    }

    /// A server that answers each TLS handshake that is completed with an empty answer.
    fn tls_server(certificate: &X509, key: &PKey<Private>) -> u16 {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(certificate).unwrap();
        acceptor.set_private_key(key).unwrap();
        let acceptor = acceptor.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = acceptor.accept(stream.unwrap()) else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        port
    }

    #[tokio::test]
    async fn all_given_certificates_are_trusted_and_no_others() {
        let (certificate, key) = certificate("ours");
        let url = format!("https://localhost:{}/", tls_server(&certificate, &key));
        let other = self::certificate("other").0.to_pem().unwrap();
        let both = [other.clone(), certificate.to_pem().unwrap()].concat();
        let trusting = make_client(Some(&both)).unwrap().get(&url).send().await;
        assert_eq!(trusting.unwrap().status(), 200);
        for pem in [Some(other.as_slice()), None] {
            let error = make_client(pem).unwrap().get(&url).send().await.unwrap_err();
            let text = describe(&error);
            assert!(text.contains("certificate verify failed"), "{text}");
        }
    }

    /// Answers one request with the given bytes and closes.
    async fn answer(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        format!("http://{address}/secret-path?secret=query")
    }

    #[tokio::test]
    async fn a_long_answer_is_not_read() {
        let client = make_client(None).unwrap();
        for (text, limit, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 4, Some("body")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 3, None),
            ("HTTP/1.1 200 OK\r\n\r\nbody", 4, Some("body")),
            ("HTTP/1.1 200 OK\r\n\r\nbody", 3, None),
        ] {
            let response = client.get(answer(text).await).send().await.unwrap();
            match (read_limited(response, limit).await, expected) {
                (Ok(body), Some(expected)) => assert_eq!(body, expected, "{text} {limit}"),
                (Err(HttpError::TooLong(_)), None) => {}
                (other, _) => panic!("{text} {limit}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let url = answer("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
        let response = make_client(None).unwrap().get(url).send().await.unwrap();
        assert_eq!(response.status(), 302);
    }

    #[tokio::test]
    async fn errors_name_host_and_cause_but_not_the_url() {
        let client = make_client(None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{address}/secret-path?secret=query");
        let refused = describe(&client.get(url).send().await.unwrap_err());
        assert!(refused.starts_with(&format!("cannot connect ({address}): ")), "{refused}");
        assert!(refused.contains("Connection refused"), "{refused}");

        let response = client
            .get(answer("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nbody").await)
            .send()
            .await
            .unwrap();
        let broken = read_limited(response, 100).await.unwrap_err().to_string();
        assert!(broken.starts_with("the answer broke off: "), "{broken}");

        for text in [refused, broken] {
            assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
        }
    }
}
