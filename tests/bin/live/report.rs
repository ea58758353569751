//! A report of what happened that can be shown to anybody.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use serde_json::Value;
use testbed::measurements::scrub::Scrub;
use testbed::nginx::build::NginxBuild;

use crate::settings::Settings;

/// Lines of the log that are shown.
const LEVELS: [&str; 6] = ["[notice]", "[warn]", "[error]", "[crit]", "[alert]", "[emerg]"];

pub(crate) struct Report {
    scrub: Scrub,
    rows: String,
    log: String,
    failed: usize,
}

impl Report {
    pub(crate) fn new(scrub: Scrub) -> Self {
        Self { scrub, rows: String::new(), log: String::new(), failed: 0 }
    }

    /// Does a step, shows it, and notes how it ended. `Ok(None)`: it was left out.
    pub(crate) fn step(
        &mut self,
        what: &str,
        work: impl FnOnce() -> Result<Option<String>, String>,
    ) -> bool {
        println!("==> {what}");
        let begun = Instant::now();
        let (mark, detail) = match servers::process::caught(work) {
            Ok(Some(detail)) => ("ok", detail),
            Ok(None) => ("left out", String::new()),
            Err(error) => {
                self.failed += 1;
                ("FAILED", error)
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let detail = self.scrub.text(&detail).replace(['\n', '|'], " ");
        println!("    {mark} after {seconds:.1} s  {detail}");
        // Writing to a string cannot fail.
        let _ = writeln!(self.rows, "| {what} | {mark} | {seconds:.1} s | {detail} |");
        mark != "FAILED"
    }

    /// Adds the lines of a log that a person would see by default.
    pub(crate) fn add_log(&mut self, title: &str, log: &str) {
        let shown = log.lines().filter(|line| LEVELS.iter().any(|level| line.contains(level)));
        let _ = writeln!(self.log, "# {title}");
        for line in shown.filter(|line| line.contains("acme_dns")) {
            let line = self.scrub.text(line);
            let _ = writeln!(self.log, "{line}");
        }
    }

    /// Writes report and recording; gives whether all went well.
    pub(crate) fn write(
        mut self,
        settings: &Settings,
        exchanges: &[Value],
    ) -> Result<bool, String> {
        let build = NginxBuild::get();
        let verdict = match self.failed {
            0 => "all went well".to_owned(),
            failed => format!("{failed} steps failed"),
        };
        let text = format!(
            "## make live: {verdict}\n\nModule {}, NGINX {}, API {}, CA {}\n\n\
             | step | result | time | detail |\n|---|---|---|---|\n{}\n```text\n{}```\n",
            env!("CARGO_PKG_VERSION"),
            build.version,
            self.scrub.text(&settings.api),
            self.scrub.text(&settings.directory),
            self.rows,
            self.log,
        );
        let lines: Vec<String> = exchanges.iter().map(|exchange| format!("  {exchange}")).collect();
        let recording = format!("[\n{}\n]\n", lines.join(",\n"));
        // Whatever else was private: the secrets themselves must not be in there.
        for secret in [Some(&settings.token), settings.other_token.as_ref()].into_iter().flatten() {
            if text.contains(secret.as_str()) || recording.contains(secret.as_str()) {
                return Err("a token would be in the report, which is not written".to_owned());
            }
        }
        let write = |name: &str, text: &str| {
            let path = settings.out.join(name);
            fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
        };
        fs::create_dir_all(&settings.out)
            .map_err(|e| format!("cannot make {}: {e}", settings.out.display()))?;
        write("report.md", &text)?;
        write("cloudflare.json", &recording)?;
        println!(
            "\n{text}\nWritten to {}: report.md, and cloudflare.json, the recording.",
            settings.out.display()
        );
        Ok(self.failed == 0)
    }
}
