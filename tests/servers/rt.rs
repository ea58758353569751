//! The runtime of the servers that run inside the test process, and HTTP from tests.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// The runtime that all servers of this process share; it lives as long as the process.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testbed")
            .enable_all()
            .build()
            .unwrap_or_else(|e| panic!("cannot start the testbed's runtime: {e}"))
    })
}

/// Runs a future from a test, which is synchronous.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// A client for the servers of the testbed. `ca_pem` is the only authority it trusts.
///
/// # Panics
/// If that is unreadable.
#[must_use]
pub fn http_client(timeout: Duration, ca_pem: Option<&[u8]>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder()
        // Pebble refuses requests without one.
        .user_agent("testbed")
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout);
    if let Some(pem) = ca_pem {
        let ca = reqwest::Certificate::from_pem(pem)
            .unwrap_or_else(|e| panic!("the testbed's own authority is unreadable: {e}"));
        builder = builder.tls_certs_only([ca]);
    }
    builder.build().unwrap_or_else(|e| panic!("cannot make an HTTP client: {e}"))
}
