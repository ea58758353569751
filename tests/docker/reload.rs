//! The ways to reload NGINX in a container, and its own.

use std::time::Duration;

use serde_json::json;
use servers::ZONE;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::nginx::docker::{Container, Volume};

use crate::stage::{LIMIT, STATE, Stage};

/// Longer than the shortest time between two reloads, and an order.
pub(crate) const RELOAD: Duration = Duration::from_secs(120);

/// Counts the reloads of NGINX.
fn reloads(container: &Container) -> usize {
    container.logs().matches(": reconfiguring").count()
}

fn wait_for_reloads(container: &Container, number: usize, limit: Duration) {
    let reloaded = wait_until(limit, || (reloads(container) == number).then_some(()));
    assert!(reloaded.is_some(), "{} of {number}:\n{}", reloads(container), container.logs());
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn a_container_is_reloaded_from_outside_and_inside() {
    let stage = Stage::new();
    let state = Volume::create();
    let container = stage.start(&state);
    let leaf = stage.wait_for_certificate(&container, 443);
    container.command(&["kill", "--signal", "HUP"]);
    wait_for_reloads(&container, 1, LIMIT);
    container.exec(&["nginx", "-s", "reload"]);
    wait_for_reloads(&container, 2, LIMIT);
    assert_eq!(stage.wait_for_certificate(&container, 443), leaf);
    assert_eq!(stage.orders(), 1);
}

#[test]
fn what_reads_files_is_reloaded_after_a_renewal() {
    let stage = Stage::new();
    let state = Volume::create();
    let answer = stage.proxy.traffic.hold(AcmeStep::RenewalInfo.requests());
    let container = stage.start(&state);
    let first = stage.wait_for_certificate(&container, 443);
    // Renewed as soon as the authority may answer.
    let window = json!({"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"});
    stage.bed.pebble.set_renewal_info(&first.pem(), &json!({ "suggestedWindow": window }));
    let files = format!("{STATE}/certs/{ZONE}");
    let server = format!(
        "server {{ listen 9443 ssl; ssl_certificate {files}/fullchain.pem; \
         ssl_certificate_key {files}/privkey.pem; return 200; }}"
    );
    let write = format!("echo '{server}' >/etc/nginx/conf.d/reader.conf && nginx -s reload");
    container.exec(&["sh", "-c", &write]);
    let read = || stage.served(&container, 9443, ZONE);
    let reads = wait_until(LIMIT, || (read()? == first).then_some(()));
    assert!(reads.is_some(), "{}", container.logs());

    answer.release();
    let second =
        wait_until(LIMIT, || stage.served(&container, 443, ZONE).filter(|leaf| *leaf != first));
    let second = second.unwrap_or_else(|| panic!("{}", container.logs()));
    let reads = wait_until(RELOAD, || (read()? == second).then_some(()));
    assert!(reads.is_some(), "{}", container.logs());
    wait_for_reloads(&container, 2, LIMIT);
}
