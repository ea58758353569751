//! Prints what is made out of the table of DNS providers: docs/providers.md, or with the argument `image` the table
//! of the image.

use acme_dns_core::config::provider::{document, image_table};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("image") => print!("{}", image_table()),
        _ => print!("{}", document()),
    }
}
