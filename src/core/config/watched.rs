//! Watched domains files: `acme_dns_domains FILE watch`.
//!
//! Its lines at the time when nginx loads the configuration are a part of that, as with any other domains file. Later the
//! service compares the file with the lines that are in force ([`WatchedLines`]). A new line becomes an [`Addition`]: a
//! text, from which each process makes the same certificate at the same place. A certificate that has lost its line keeps
//! its place until the next reload: no identifier ever means another certificate.

use super::binding::Wanted;
use super::domains::Line;
use super::{Certificate, Config};
use crate::id::{CertificateId, IdSet};
use crate::name::Name;
use std::collections::HashMap;
use std::path::PathBuf;

/// Room that there is for certificates which are added: a part of the lines that there are, and this at least.
const ROOM_PART: usize = 4;
const LEAST_ROOM: usize = 1_000;

/// Words of the index of names for a certificate that may be added: two names or three.
pub(super) const INDEX_WORDS: usize = 16;

/// So many lines may go at once, however many there are.
const FEW_LOST: usize = 10;

/// Domains file, or directory of such files, that is watched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchedDomains {
    /// The file or directory.
    pub path: PathBuf,
    /// The parameters, which hold for all lines.
    pub wanted: Wanted,
    /// Set if a server that has OCSP responses stapled to its certificates serves the lines.
    pub staples: bool,
}

/// Line that a certificate is from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchedLine {
    /// The number of its file in [`Config::watched`].
    pub directive: usize,
    /// The name that it gives the certificate.
    pub name: Option<String>,
    /// Set if a server has the certificate for its own, which would lose it with the line.
    pub is_used: bool,
}

/// Certificate to add to a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addition {
    /// The name of the certificate.
    pub name: String,
    /// The number of the line's file in [`Config::watched`].
    pub directive: usize,
    /// The name that the line gives the certificate.
    pub line_name: Option<String>,
    /// The names that it holds.
    pub names: Vec<Name>,
}

impl Addition {
    /// Writes it as a text.
    pub fn encode(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(Name::as_str).collect();
        let line_name = self.line_name.as_deref().unwrap_or_default();
        format!("{}\n{}\n{line_name}\n{}", self.directive, self.name, names.join(" "))
    }

    /// Reads it. `None`: the text is none.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('\n');
        let directive = parts.next()?.parse().ok()?;
        let name = parts.next()?.to_owned();
        let line_name = Some(parts.next()?.to_owned()).filter(|name| !name.is_empty());
        let names = parts.next()?.split(' ').map(Name::parse);
        let names = names.collect::<Result<_, _>>().ok()?;
        Some(Self { name, directive, line_name, names })
    }
}

impl Config {
    /// Makes room for certificates of lines that are added later; to be called once, when all else is there.
    pub fn make_room(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        let lines = self.certificates.values().filter(|it| it.line.is_some()).count();
        let room = (lines / ROOM_PART).max(LEAST_ROOM);
        let keys = self.watched.iter().map(|watched| watched.wanted.keys.len()).max();
        self.certificates.make_room(room);
        self.variants.make_room(room * keys.unwrap_or_default().max(1));
    }
}

/// Lines of watched files, and which of them are in force.
#[derive(Debug, Default)]
pub struct WatchedLines {
    /// By directive.
    known: Vec<HashMap<LineKey, KnownLine>>,
    /// The certificate of each name of a certificate or variant.
    names: HashMap<String, CertificateId>,
    in_force: IdSet<CertificateId>,
}

/// Meaning of a line: the same certificate, wherever it stands and however it is written.
type LineKey = (Option<String>, Vec<Name>);

#[derive(Clone, Copy, Debug)]
struct KnownLine {
    certificate: CertificateId,
    is_used: bool,
}

/// Line with the number of its file, of those of a directive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlacedLine {
    /// The number of the file.
    pub file: usize,
    /// The line.
    pub line: Line,
}

/// Lines of all files of a directive.
#[derive(Debug, Default)]
pub struct FoundLines {
    /// The certificates of those that are known.
    pub known: Vec<CertificateId>,
    /// Those that no certificate is there for.
    pub new: Vec<PlacedLine>,
}

/// Difference between a file and the lines that are in force.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct LineChanges {
    /// Lines that no certificate is there for.
    pub added: Vec<PlacedLine>,
    /// Certificates whose lines are there again.
    pub restored: Vec<CertificateId>,
    /// Certificates that have lost their lines.
    pub withdrawn: Vec<CertificateId>,
    /// Certificates that have lost their lines, and that servers use.
    pub used: Vec<CertificateId>,
}

/// Loss of so many lines at once that it may be a mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinesLost {
    /// Number of lines in force.
    pub before: usize,
    /// Number of those that are gone.
    pub gone: usize,
}

impl WatchedLines {
    /// Begins with the lines of a configuration, all of them in force.
    pub fn of(config: &Config) -> Self {
        let known = config.watched.iter().map(|_| HashMap::new()).collect();
        let mut lines = Self { known, ..Self::default() };
        for (id, certificate) in config.certificates.iter() {
            lines.add(config, id, certificate);
        }
        lines
    }

    /// Notes a certificate, whose line is in force if it has one.
    pub fn add(&mut self, config: &Config, id: CertificateId, certificate: &Certificate) {
        let variants = certificate.variants.clone().filter_map(|id| config.variants.get(id));
        self.names.extend(variants.map(|variant| (variant.name.clone(), id)));
        let Some(line) = &certificate.line else { return };
        let Some(known) = self.known.get_mut(line.directive) else { return };
        let key = key(line.name.clone(), &certificate.names);
        known.insert(key, KnownLine { certificate: id, is_used: line.is_used });
        self.in_force.insert(id);
    }

    /// Finds the certificate of a line, in force or not.
    pub fn find(&self, directive: usize, line: &Line) -> Option<CertificateId> {
        let known = self.known.get(directive)?;
        known.get(&key(line.name.clone(), &line.names)).map(|line| line.certificate)
    }

    /// Compares the files of a directive with its lines in force.
    ///
    /// # Errors
    /// Half of the lines are gone, or all: that may be a mistake.
    pub fn compare(&self, directive: usize, found: FoundLines) -> Result<LineChanges, LinesLost> {
        let FoundLines { known: found, new: added } = found;
        let mut changes = LineChanges { added, ..LineChanges::default() };
        let Some(known) = self.known.get(directive) else { return Ok(changes) };
        let is_empty = found.is_empty() && changes.added.is_empty();
        let mut there = IdSet::default();
        for certificate in found {
            if there.insert(certificate) && !self.in_force.contains(certificate) {
                changes.restored.push(certificate);
            }
        }
        let mut before = 0;
        for line in known.values().filter(|line| self.in_force.contains(line.certificate)) {
            before += 1;
            if !there.contains(line.certificate) {
                let list = if line.is_used { &mut changes.used } else { &mut changes.withdrawn };
                list.push(line.certificate);
            }
        }
        let gone = changes.withdrawn.len() + changes.used.len();
        if before > 0 && (is_empty || gone > FEW_LOST && gone * 2 >= before) {
            return Err(LinesLost { before, gone });
        }
        changes.withdrawn.sort_unstable();
        changes.used.sort_unstable();
        Ok(changes)
    }

    /// Notes that a certificate has lost its line.
    pub fn withdraw(&mut self, certificate: CertificateId) {
        self.in_force.remove(certificate);
    }

    /// Notes that the line of a certificate is there again.
    pub fn restore(&mut self, certificate: CertificateId) {
        self.in_force.insert(certificate);
    }

    /// Lists the certificates of a directive whose lines are in force.
    pub fn in_force(&self, directive: usize) -> impl Iterator<Item = CertificateId> {
        let known = self.known.get(directive).into_iter().flat_map(HashMap::values);
        known.map(|line| line.certificate).filter(|it| self.in_force.contains(*it))
    }

    /// Tells whether the line of a certificate is in force.
    pub fn is_in_force(&self, certificate: CertificateId) -> bool {
        self.in_force.contains(certificate)
    }

    /// Returns the certificate that has a name, as a certificate or as a variant.
    pub fn holder(&self, name: &str) -> Option<CertificateId> {
        self.names.get(name).copied()
    }
}

fn key(name: Option<String>, names: &[Name]) -> LineKey {
    let mut names = names.to_vec();
    names.sort_unstable();
    (name, names)
}
