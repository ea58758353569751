//! Costs of one server for many names, `acme_dns sni`, next to a server for each, and next to a stock nginx which finds
//! the files by the client's name.

use crate::report::Report;
use crate::scale::{Kind, Stage, compare};
use crate::setup::Setup;

/// Numbers of certificates.
const SIZES: [usize; 4] = [1, 1_000, 10_000, 100_000];

/// Up to so many a server for each is measured too.
const MANY_SERVERS: usize = 10_000;

/// Starts of each, in turns; of the highest number only one.
const ROUNDS: usize = 3;

const KINDS: [(&str, Kind); 4] = [
    ("variable", Kind::ByVariable),
    ("sni", Kind::Chosen),
    ("stock", Kind::Stock),
    ("servers", Kind::Ours),
];

/// Measures each size.
pub(crate) fn measure(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.explain(
        "sni: as scale, with all names in one server: sni is ours, variable stock nginx with \
         ssl_certificate .../$ssl_server_name/fullchain.pem; stock and servers have a server for each name",
    );
    let sizes = if setup.quick { &SIZES[..1] } else { &SIZES[..] };
    for &size in sizes {
        let (kinds, rounds) = match size {
            ..=MANY_SERVERS => (&KINDS[..], setup.times(ROUNDS)),
            _ => (&KINDS[..2], 1),
        };
        compare(setup, report, &Stage::new(size), ("sni", kinds, rounds))?;
    }
    Ok(())
}
