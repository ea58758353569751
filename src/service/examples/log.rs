//! Prints docs/log.md.

use acme_dns_service::event::reference::document;

fn main() {
    print!("{}", document());
}
