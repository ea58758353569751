//! Prints docs/doctor.md.

use acme_dns_core::findings::document;

fn main() {
    print!("{}", document());
}
