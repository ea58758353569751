//! Lines of domains files while a configuration is read: each is a certificate.

use super::register::{Asked, Register};
use super::{Draft, DraftError, certifiable};
use crate::config::Location;
use crate::config::binding::Wanted;
use crate::config::domains::{self, Holders, Line, Mistake};
use crate::config::watched::{WatchedDomains, WatchedLine};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::PathBuf;

/// File of a directive `acme_dns_domains`.
#[derive(Debug)]
pub(super) struct Domains {
    /// The file as nginx.conf names it.
    file: String,
    /// The parameters of the directive, and its place.
    wanted: Wanted,
    directive: Location,
    pub(super) lines: Vec<Line>,
    /// The number of the directive, if it is watched: then a line that is wrong is left out.
    watched: Option<usize>,
}

impl Domains {
    /// The place of a line.
    fn place(&self, line: usize) -> Location {
        Location { file: self.file.clone(), line }
    }
}

impl Draft {
    /// Adds the certificates of a domains file, with the parameters of the directive at `location`.
    ///
    /// # Errors
    /// A line is wrong.
    pub fn add_domains(
        &mut self,
        file: &str,
        content: &[u8],
        wanted: Wanted,
        location: Location,
    ) -> Result<(), DraftError> {
        let lines = domains::parse_each(content).map(|line| certifiable_line(file, line));
        let lines = lines.collect::<Result<_, _>>()?;
        let (file, directive, watched) = (file.to_owned(), location, None);
        self.add_lines(Domains { file, wanted, directive, lines, watched });
        Ok(())
    }

    /// Has domains files watched that have this path, or are in this directory. Gives their number, to add what they
    /// hold.
    pub fn watch_domains(&mut self, path: PathBuf, wanted: Wanted) -> usize {
        self.watched.push(WatchedDomains { path, wanted, staples: false });
        self.watched.len() - 1
    }

    /// Adds the certificates of a watched file. A line that is wrong is left out ([`Finished::left_out`]).
    ///
    /// [`Finished::left_out`]: super::Finished::left_out
    pub fn add_watched(&mut self, number: usize, file: &str, content: &[u8], location: Location) {
        let Some(wanted) = self.watched.get(number).map(|it| it.wanted.clone()) else { return };
        let mut lines = Vec::new();
        for line in domains::parse_each(content) {
            match certifiable_line(file, line) {
                Ok(line) => lines.push(line),
                Err(mistake) => self.left_out.push(mistake),
            }
        }
        let (file, directive, watched) = (file.to_owned(), location, Some(number));
        self.add_lines(Domains { file, wanted, directive, lines, watched });
    }

    fn add_lines(&mut self, domains: Domains) {
        self.domains.push(domains);
        self.line_names = OnceCell::new();
    }

    /// The names of the certificates of all domains files, gathered once a server asks for one: with thousands of lines
    /// hardly any server does.
    pub(super) fn line_names(&self) -> &HashSet<String> {
        let lines = || self.domains.iter().flat_map(|domains| &domains.lines);
        self.line_names.get_or_init(|| lines().filter_map(|line| line.name.clone()).collect())
    }

    /// Registers the certificates of all domains files, in their order.
    pub(super) fn register_lines(&mut self, register: &mut Register) -> Result<(), DraftError> {
        for mut domains in std::mem::take(&mut self.domains) {
            if domains.watched.is_some() {
                // A mistake of the directive is none of its lines.
                let checked = self.defined().resolve(&domains.wanted, &[], "acme_dns_domains");
                let location = || domains.directive.clone();
                checked.map_err(|message| DraftError { message, location: location() })?;
            }
            for line in std::mem::take(&mut domains.lines) {
                match self.register_line(register, &domains, line) {
                    Ok(()) => {}
                    Err(mistake) if domains.watched.is_some() => self.left_out.push(mistake),
                    Err(mistake) => return Err(mistake),
                }
            }
        }
        Ok(())
    }

    fn register_line(
        &self,
        register: &mut Register,
        domains: &Domains,
        line: Line,
    ) -> Result<(), DraftError> {
        let wanted = &domains.wanted;
        let Line { number, names, name } = line;
        let parties = self
            .defined()
            .resolve(wanted, &names, "acme_dns_domains")
            .map_err(|message| DraftError { message, location: domains.directive.clone() })?;
        let line = |directive| WatchedLine { directive, name: name.clone(), is_used: false };
        let line = domains.watched.map(line);
        let checked = self.check_names(names.len(), &parties.issuers);
        let added = checked.and_then(|()| {
            register.add(Asked { wanted, name, names, line }, parties, self.defined())
        });
        let wrong = |message| DraftError { message, location: domains.place(number) };
        added.map(|_| ()).map_err(wrong)
    }
}

impl Register {
    /// Finds the certificates by their names.
    pub(super) fn holders(&self) -> Holders {
        let mut holders = Holders::default();
        for (id, certificate) in self.certificates.iter() {
            holders.add(id, &certificate.names);
        }
        holders
    }
}

/// A line with the names that stand in its certificate.
fn certifiable_line(file: &str, line: Result<Line, Mistake>) -> Result<Line, DraftError> {
    let wrong = |message, line| {
        let location = Location { file: file.to_owned(), line };
        DraftError { message, location }
    };
    let Line { number, names, name } = line.map_err(|m| wrong(m.message, m.line))?;
    let names = certifiable(names).map_err(|message| wrong(message, number))?;
    Ok(Line { number, names, name })
}
