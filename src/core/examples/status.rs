//! Prints the status page with sample certificates: in every state, as many valid ones as the argument says, or with
//! words that want to be more than words (`hostile`).

use acme_dns_core::status::{html, samples};

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let name = |it: i64| format!("site-{it}.example.com");
    let certificates = match (wanted.as_str(), wanted.parse()) {
        ("hostile", _) => vec![samples::failing(samples::HOSTILE, samples::HOSTILE)],
        (_, Ok(number)) => (0..number).map(|it| samples::valid(&name(it), it % 60)).collect(),
        _ => samples::states(),
    };
    print!("{}", html::render(&samples::page(certificates)));
}
