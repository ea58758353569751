//! Problems that a CA names (RFC 7807, RFC 8555 section 6.7).

use acme_dns_core::text::excerpt;
use std::fmt;

/// The longest text of a CA that is shown, in characters.
pub(super) const MAX_TEXT: usize = 250;

/// The most problems of single identifiers that are kept: no certificate has more names.
const MAX_SUBPROBLEMS: usize = 100;

/// So many of them are shown in a line.
pub(super) const SHOWN: usize = 3;

/// The namespace of ACME's problem types (RFC 8555 section 6.7).
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// Problems that need a person: trying again soon changes nothing.
const PERMANENT: [&str; 10] = [
    "caa",
    "externalAccountRequired",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "rejectedIdentifier",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
    "badPublicKey",
];

/// A problem that the CA names (RFC 7807), as one printable line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problem {
    /// The problem's type; ACME's own without their namespace, such as `rateLimited`.
    pub kind: String,
    /// The CA's text.
    pub detail: String,
    /// Problems of single identifiers: the identifier, if it is named, and its problem.
    pub subproblems: Vec<(Option<String>, Problem)>,
}

impl Problem {
    pub(super) fn new(problem: &instant_acme::Problem) -> Self {
        let subproblems = problem.subproblems.iter().take(MAX_SUBPROBLEMS).map(|sub| {
            let identifier = sub.identifier.as_ref();
            let identifier = identifier.map(|id| printable(&id.authorized(false).to_string()));
            let refusal = Self {
                kind: kind(sub.r#type.as_deref()),
                detail: printable(sub.detail.as_deref().unwrap_or_default()),
                ..Self::default()
            };
            (identifier, refusal)
        });
        Self {
            kind: kind(problem.r#type.as_deref()),
            detail: printable(problem.detail.as_deref().unwrap_or_default()),
            subproblems: subproblems.collect(),
        }
    }

    /// Adds where a person should look.
    pub(super) fn refer_to(&mut self, url: &str) {
        let separator = if self.detail.is_empty() { "" } else { ", " };
        self.detail.push_str(&format!("{separator}see \"{}\"", printable(url)));
    }

    /// Tells whether this is the type `kind`, such as `badNonce`.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    pub(super) fn is_permanent(&self) -> bool {
        let own = PERMANENT.contains(&self.kind.as_str());
        own || self.subproblems.iter().any(|(_, problem)| problem.is_permanent())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.is_empty(), self.detail.is_empty()) {
            (false, false) => write!(f, "{}: {}", self.kind, self.detail)?,
            (false, true) => f.write_str(&self.kind)?,
            (true, false) => f.write_str(&self.detail)?,
            (true, true) => f.write_str("no reason was given")?,
        }
        for (identifier, problem) in self.subproblems.iter().take(SHOWN) {
            match identifier {
                Some(identifier) => write!(f, "; \"{identifier}\": {problem}")?,
                None => write!(f, "; {problem}")?,
            }
        }
        match more(self.subproblems.len()) {
            Some(more) => write!(f, "; {more}"),
            None => Ok(()),
        }
    }
}

fn kind(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    printable(text.strip_prefix(NAMESPACE).unwrap_or(text))
}

/// Makes text of another party fit for a line of the log.
pub(super) fn printable(text: &str) -> String {
    excerpt(text, MAX_TEXT)
}

/// Says how many problems are not shown.
pub(super) fn more(problems: usize) -> Option<String> {
    let more = problems.checked_sub(SHOWN).filter(|more| *more > 0)?;
    Some(format!("and {more} more"))
}
