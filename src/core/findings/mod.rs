//! Findings of the doctor (`ACME_DNS_CHECK=all nginx -t`): what is wrong between a certificate and the CA, and what
//! to do about it.
//!
//! All words are in the table of [`rows`]; docs/doctor.md is written from it. The checks themselves, which talk
//! to servers, are in the crate `acme-dns-service`.

mod document;
mod report;
mod request;
pub mod rows;

pub use document::document;
pub use report::Report;
pub use request::Request;

use crate::text::one_line;
use serde::Serialize;
use std::fmt;

/// Longest text of another party that a finding shows, in characters.
const LONGEST: usize = 400;

/// Weight of a finding.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// Certificates can be issued, but not for ever, or not by every CA.
    Warn,
    /// No certificate can be issued.
    Fail,
}

/// Result of one check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The row of the table, such as `D07`; empty if nothing is wrong.
    pub id: &'static str,
    /// Its weight.
    #[serde(rename = "level")]
    pub severity: Severity,
    /// The certificate or the issuer that it is about.
    pub subject: String,
    /// The observation.
    pub observed: String,
    /// Advice to a person; empty if there is nothing to do.
    pub remedy: String,
}

impl Finding {
    /// Makes a finding that nothing is wrong.
    #[must_use]
    pub fn good(subject: &str, observed: &str) -> Self {
        let (subject, observed) = (shown(subject), shown(observed));
        Self { id: "", severity: Severity::Ok, subject, observed, remedy: String::new() }
    }

    /// Makes it a finding about something else.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        Self { subject: shown(subject), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, observed, remedy, .. } = self;
        let (gap, then) =
            (if id.is_empty() { "" } else { " " }, if remedy.is_empty() { "" } else { "; " });
        write!(f, "{id}{gap}{observed}{then}{remedy}")
    }
}

/// Row of the table: a broken set-up, and the words for it, in which `{name}` stands for a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// Its identifier.
    pub id: &'static str,
    /// Weight of its findings.
    pub severity: Severity,
    /// The broken set-up, for the document.
    pub setup: &'static str,
    /// The observation.
    pub observed: &'static str,
    /// Advice to a person.
    pub remedy: &'static str,
}

impl Row {
    /// Makes a finding of this row, with the values that its words have places for. Its subject is to be set with
    /// [`Finding::about`], as most checks do not know which certificate they are for.
    #[must_use]
    pub fn finding(&self, values: &[(&str, &str)]) -> Finding {
        let fill = |words| fill(words, values);
        Finding {
            id: self.id,
            severity: self.severity,
            subject: String::new(),
            observed: fill(self.observed),
            remedy: fill(self.remedy),
        }
    }
}

/// Puts values into the places of words, in one pass: a value of another party cannot bring places of its own.
fn fill(words: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), words);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, rest)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, rest))
        });
        match value {
            Some((value, left)) => {
                filled.push_str(&shown(value));
                rest = left;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

/// Makes text of another party fit for a line, and not too long.
fn shown(text: &str) -> String {
    let mut shown: String = one_line(text).chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
