//! Costs of one server for many names, `acme_dns sni`, next to a server for each, and next to a stock nginx which finds
//! the files by the client's name.

use std::env;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use servers::ports::Port;

use crate::report::Report;
use crate::scale::{Family, Kind, Stage, compare};
use crate::setup::Setup;

/// Numbers of certificates, unless `BENCH_SIZES` has others.
const SIZES: [usize; 4] = [1, 1_000, 10_000, 100_000];

/// Up to so many a server for each is measured too. A stock nginx with more of them takes minutes to start.
const MANY_SERVERS: usize = 10_000;

/// Starts of each, in turns; with many certificates only one.
const ROUNDS: usize = 3;
const FEW: usize = 1_000;

/// Longer than a line takes to be ordered.
const LIMIT: Duration = Duration::from_secs(30);

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
         ssl_certificate .../$ssl_server_name/fullchain.pem; stock and servers have a server for each name; \
         added is a line that comes to a watched file",
    );
    let usual = if setup.quick { &SIZES[..1] } else { &SIZES[..] };
    let sizes = given_sizes()?.unwrap_or_else(|| usual.to_vec());
    for size in sizes {
        let kinds = if size <= MANY_SERVERS { &KINDS[..] } else { &KINDS[..2] };
        let rounds = if size <= FEW { setup.times(ROUNDS) } else { 1 };
        let stage = Stage::new(size);
        compare(setup, report, &stage, ("sni", kinds, rounds))?;
        add_line(setup, report, &stage)?;
    }
    Ok(())
}

/// Reads the numbers of certificates of the environment, if it has some.
pub(crate) fn given_sizes() -> Result<Option<Vec<usize>>, String> {
    let Ok(sizes) = env::var("BENCH_SIZES") else { return Ok(None) };
    let sizes = sizes.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    sizes.map(Some).map_err(|error| format!("BENCH_SIZES: {error}"))
}

/// Measures what a line costs that comes to a watched file.
fn add_line(setup: &Setup, report: &mut Report, stage: &Stage) -> Result<(), String> {
    let size = stage.names.len();
    let mut nginx = stage.nginx(setup.build, Kind::Watched, &Port::reserve());
    nginx.log_level("notice").try_start()?;
    let family = Family(nginx.master_pid());
    family.wait_until_idle()?;
    let add = |name: &str| {
        let file = fs::OpenOptions::new().append(true).open(stage.domains_file());
        let written = file.and_then(|mut file| writeln!(file, "{name}"));
        written.map_err(|error| error.to_string())
    };
    let (mark, begun) = (nginx.log_mark(), Instant::now());
    add("added0.example.test")?;
    nginx.wait_for_log_from(mark, "certificate \"added0.example.test\" is ordered", LIMIT);
    report.value(&format!("sni_{size}_added_ordered"), begun.elapsed().as_secs_f64() * 1e3, "ms");
    // Its attempt has set up the service's clients: the second line shows what a line costs.
    family.wait_until_idle()?;
    let before = family.work();
    add("added1.example.test")?;
    let after = family.wait_until_idle()?;
    let worked = after.saturating_sub(before);
    report.value(&format!("sni_{size}_added_cpu"), worked.as_secs_f64() * 1e3, "ms");
    nginx.stop();
    Ok(())
}
