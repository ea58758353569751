//! Many certificates that are not there yet, in a few zones, from a CA that is not next door.

use std::fs;
use std::time::{Duration, Instant};

use servers::acme_proxy::AcmeStep;
use servers::ports::Port;
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Match};
use testbed::nginx::Nginx;

use crate::issuance::bed;
use crate::report::Report;
use crate::setup::Setup;

/// Longer than all certificates together take.
const LIMIT: Duration = Duration::from_secs(600);

const CERTIFICATES: usize = 1_000;
const ZONES: usize = 10;

/// Time that each answer of the CA takes longer.
const LATENCY: Duration = Duration::from_millis(100);

/// Cloudflare's own limit.
const REQUESTS: usize = 1_200;
const SPAN: Duration = Duration::from_secs(300);

/// Measures how long it takes until all have been obtained, and the requests.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let size = if setup.quick { 2 * ZONES } else { CERTIFICATES };
    report.explain(
        "orders_N: from the start of nginx until N certificates in ten zones are obtained, from a CA whose answers \
         take 100 ms and that asks for two waits of a second; the requests to it, and to a provider that accepts \
         1200 in five minutes",
    );
    let bed = bed();
    let proxy = bed.acme_proxy();
    proxy.traffic.inject(Fault::new(Match::any(), Action::Delay(LATENCY)).always());
    (0..ZONES).for_each(|zone| drop(bed.cloudflare.add_zone(&bed.dns, &zone_name(zone))));
    bed.cloudflare.set_rate_limit(REQUESTS, SPAN);
    let mut nginx = Nginx::new(setup.build);
    let lines: String = (0..size).map(|n| format!("h{n}.{}\n", zone_name(n % ZONES))).collect();
    nginx.add_file("domains.txt", lines);
    let port = Port::reserve();
    nginx.log_level("notice").http(format!(
        "{}acme_dns_domains domains.txt;
         server {{ listen {} ssl; server_name _; acme_dns sni; }}",
        bed.directives_through(&proxy),
        port.addr(),
    ));
    let begun = Instant::now();
    nginx.try_start()?;
    let certs = nginx.dir().join("acme_dns/certs");
    let number = || {
        let names = fs::read_dir(&certs).into_iter().flatten().flatten();
        names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    };
    wait_until(LIMIT, || (number() >= size).then_some(()))
        .ok_or_else(|| format!("{} of {size} were obtained\n{}", number(), nginx.log()))?;
    let took = begun.elapsed();
    let records = || bed.cloudflare.txt_records().is_empty().then_some(());
    wait_until(LIMIT, records).ok_or("TXT records are left")?;
    let name = format!("orders_{size}");
    report.value(&name, took.as_secs_f64(), "s");
    let orders = proxy.traffic.count(&AcmeStep::NewOrder.requests());
    report.value(&format!("{name}_ordered"), orders as f64, "orders");
    let (ca, provider) = (proxy.traffic.log(), bed.cloudflare.traffic.log());
    report.value(&format!("{name}_ca"), ca.len() as f64, "requests");
    report.value(&format!("{name}_provider"), provider.len() as f64, "requests");
    let refused = ca.iter().chain(&provider).filter(|logged| logged.status == Some(429)).count();
    report.value(&format!("{name}_refused"), refused as f64, "requests");
    Ok(())
}

fn zone_name(number: usize) -> String {
    format!("zone{number}.test")
}
