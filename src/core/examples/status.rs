//! Prints the status page with sample certificates: `status [NUMBER]`, in every state unless a number of valid ones is
//! given.

use acme_dns_core::status::{html, samples};

fn main() {
    let number = std::env::args().nth(1).and_then(|number| number.parse().ok());
    let certificates = match number {
        Some(number) => (0..number)
            .map(|it| samples::valid(&format!("site-{it}.example.com"), it % 60))
            .collect(),
        None => samples::states(),
    };
    print!("{}", html::render(&samples::page(certificates)));
}
