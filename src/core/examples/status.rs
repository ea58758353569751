//! Prints the status page with sample certificates: in every state, as many valid ones as the argument says, shared with
//! other hosts (`shared`, and `away` where the engine is), or with words that want to be more than words (`hostile`).

use acme_dns_core::status::{html, samples};

/// Words of the service about an engine that is away.
const AWAY: &str =
    "https://etcd-1.example.net:2379 cannot be reached: connection refused; is etcd running there?";

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let name = |it: i64| format!("site-{it}.example.com");
    let hostile = samples::HOSTILE;
    let page = match (wanted.as_str(), wanted.parse()) {
        ("hostile", _) => {
            let page = samples::page(vec![samples::failing(hostile, hostile)]);
            samples::shared(page, hostile, Some(hostile))
        }
        ("shared", _) => samples::shared(samples::page(samples::states()), "edge-2", None),
        ("away", _) => samples::shared(samples::page(samples::states()), "edge-2", Some(AWAY)),
        (_, Ok(number)) => {
            samples::page((0..number).map(|it| samples::valid(&name(it), it % 60)).collect())
        }
        _ => samples::page(samples::states()),
    };
    print!("{}", html::render(&page));
}
