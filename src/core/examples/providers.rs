//! Prints docs/providers.md.

use acme_dns_core::config::provider::document;

fn main() {
    print!("{}", document());
}
