//! The result of a check as a table and as JSON.

use super::{Finding, Severity};
use serde_json::json;
use std::fmt::Write;

/// Width of the first column, with the space behind it.
const LEVEL: usize = 6;

/// Space behind the longest subject, and the longest that the column grows for.
const GAP: usize = 3;
const WIDEST: usize = 40;

/// All findings of a check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Description of the check.
    pub heading: String,
    /// The findings, in the order in which they are shown.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Tells whether there is no problem; warnings are none.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.count(Severity::Fail) == 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Writes the table, each remedy in a line below its finding.
    #[must_use]
    pub fn table(&self) -> String {
        let widths = self.findings.iter().map(|finding| finding.subject.chars().count());
        let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or_default() + GAP;
        let mut text = format!("{}\n", self.heading);
        for finding in &self.findings {
            let Finding { id, severity, subject, observed, remedy } = finding;
            let level = match severity {
                Severity::Ok => "ok",
                Severity::Warn => "warn",
                Severity::Fail => "FAIL",
            };
            let id = if id.is_empty() { String::new() } else { format!("{id} ") };
            let _ = writeln!(text, "{level:LEVEL$}{subject:width$}{id}{observed}");
            if !remedy.is_empty() {
                let _ = writeln!(text, "{:indent$}{remedy}", "", indent = LEVEL + width);
            }
        }
        text + &self.summary() + "\n"
    }

    /// Counts problems and warnings.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |severity, one: &str| match self.count(severity) {
            0 => format!("no {one}s"),
            1 => format!("1 {one}"),
            number => format!("{number} {one}s"),
        };
        let problems = count(Severity::Fail, "problem");
        format!("{problems}, {}", count(Severity::Warn, "warning"))
    }

    /// Writes the same in JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let value = json!({
            "problems": self.count(Severity::Fail),
            "warnings": self.count(Severity::Warn),
            "findings": self.findings,
        });
        format!("{value:#}\n")
    }
}
