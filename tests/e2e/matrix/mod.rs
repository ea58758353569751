//! The fault matrix: at every step of an order the helper ends, an error comes, or nothing does.
//! Afterwards the certificate is obtained, nothing is left behind, no file is broken, and the
//! handshakes with another certificate of the same nginx have not failed.

mod answers;
mod files;
mod names;
mod requests;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use servers::process::wait_until;
use testbed::clients::tls::LoadClient;

use crate::site::{LIMIT, Site};

/// The certificate that is there before anything goes wrong.
const BYSTANDER: &str = "bystander.example.test";

/// Between two handshakes with it.
const PAUSE: Duration = Duration::from_millis(20);

/// A site, a client of the bystander, and what was survived so far.
struct Matrix {
    /// Dropped, and so stopped, before the site.
    load: LoadClient,
    site: Site,
    title: &'static str,
    rows: Vec<String>,
}

impl Matrix {
    /// Starts with the certificate of the bystander alone.
    fn start(title: &'static str) -> Self {
        Self::start_with(title, Site::new())
    }

    fn start_with(title: &'static str, mut site: Site) -> Self {
        // At `info` nginx logs each connection that brings no request.
        site.nginx.log_level("notice");
        site.set_servers(&[BYSTANDER]);
        site.start_nginx();
        site.wait_for_certificate(BYSTANDER);
        site.wait_until_clean();
        let load = LoadClient::start(&site.trusting(BYSTANDER), 1, PAUSE);
        Self { load, site, title, rows: Vec::new() }
    }

    /// Sets the servers of the configuration: the bystander and these.
    fn set_servers(&mut self, servers: &[&str]) {
        self.site.set_servers(&[&[BYSTANDER], servers].concat());
    }

    /// Checks that a certificate was obtained and its files are whole.
    fn check_obtained(&self, what: &str, name: &str) {
        let leaf = self.site.wait_for_certificate(name).leaf;
        assert_eq!(self.site.check_files(name), leaf, "{what}");
    }

    /// Checks that nothing is left of any order.
    fn check_clean(&self, what: &str) {
        self.site.wait_until_clean();
        // What is being written now has such a name too, but not for long.
        let left = || leftovers(&self.site.state());
        let clean = wait_until(LIMIT, || left().is_empty().then_some(()));
        assert!(clean.is_some(), "{what}: {:?}", left());
    }

    fn row(&mut self, step: &str, fault: &str, survived: &str) {
        self.rows.push(format!("{step:50} {fault:24} {survived}"));
    }

    /// Checks the bystander and prints the table.
    fn end(self) {
        let Self { load, site, title, rows } = self;
        let report = load.stop();
        let mut table = format!("{title}: {} cells\n", rows.len());
        for row in &rows {
            let _ = writeln!(table, "  {row}");
        }
        let _ = writeln!(table, "  handshakes of another certificate meanwhile: {}", report.made);
        // Not with `println!`: the table is wanted when the test passes, too.
        let _ = io::stderr().write_all(table.as_bytes());
        assert_eq!(report.failed, []);
        assert_eq!(site.served(BYSTANDER).serial, report.serials[0].serial);
    }
}

/// Files that were being written.
fn leftovers(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            found.push(entry.path().display().to_string());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(leftovers(&entry.path()));
        }
    }
    found
}
