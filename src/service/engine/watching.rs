//! Watched domains files: lines that come are ordered, and lines that go are not renewed any more, without a reload.
//!
//! A look costs a question for each file. Of a file that has changed, the lines are read that are not where they were;
//! all else follows the change. A certificate whose line is gone is served until it ends: then servers that choose by name
//! find it no more. Its place is free again after the next reload.

use super::clock::{now, random};
use super::load::Loader;
use super::parties::Parties;
use super::plan;
use super::served::Served;
use super::site::Site;
use super::stapling::Stapling;
use super::status::Status;
use super::unreadable::Unreadable;
use super::unsaved::Unsaved;
use crate::domains::{DomainsFile, DomainsSource};
use crate::event::{DomainsEvent, Event};
use acme_dns_core::config::domains::Mistake;
use acme_dns_core::config::known_file::{FileLine, KnownFile};
use acme_dns_core::config::watched::{
    Addition, FoundLines, LineChanges, LinesLost, PlacedLine, WatchedLines,
};
use acme_dns_core::id::{CertificateId, IdRange, VariantId};
use acme_dns_core::schedule::{Fingerprint, Schedule};
use acme_dns_core::text::errno;
use acme_dns_core::time::UnixTime;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Pause between two looks. A file is read at the second look at the latest that finds it unchanged.
const INTERVAL: Duration = Duration::from_millis(450);

/// Number of lines that are left out with a line each in the log, and of certificates that are named when they lose
/// theirs.
const LEFT_OUT: usize = 10;
const FEW: usize = 5;

/// The part of the engine that watches domains files.
pub(super) struct Watching {
    site: Rc<Site>,
    /// Hash of what all orders are made with.
    fingerprint: Fingerprint,
    lines: WatchedLines,
    /// By directive.
    sources: Vec<DomainsSource>,
    /// The files of each as they were read last.
    known: Vec<HashMap<PathBuf, KnownFile>>,
    /// Set for each whose lines may be hidden although they are in force: a service that has ended had hidden them, and
    /// nobody was there when they came back.
    may_be_hidden: Vec<bool>,
    /// The event that was told of each source last: it is told once.
    told: Vec<Option<DomainsEvent>>,
    /// The mistakes in the lines of each source, wherever they stand.
    mistakes: Vec<HashSet<(PathBuf, String)>>,
    /// Certificates that have lost their lines, by the time at which they are found no more, and that time of each.
    leaving: BTreeSet<(UnixTime, CertificateId)>,
    ends: HashMap<CertificateId, UnixTime>,
    /// Sources with lines that there is no room for.
    wanting_room: BTreeSet<PathBuf>,
    looked: Option<Instant>,
}

/// The parts that take note of certificates which come and go.
pub(super) struct Growing<'a> {
    pub(super) schedule: &'a mut Schedule,
    pub(super) served: &'a mut Served,
    pub(super) stapling: &'a mut Stapling,
    pub(super) unsaved: &'a mut Unsaved,
    pub(super) unreadable: &'a mut Unreadable,
    pub(super) status: &'a mut Status,
}

impl Watching {
    /// Begins with all lines that there are. `is_restart`: another service has done so before.
    pub(super) fn new(site: Rc<Site>, fingerprint: Fingerprint, is_restart: bool) -> Self {
        let watched = &site.config.watched;
        let sources: Vec<_> =
            watched.iter().map(|watched| DomainsSource::new(watched.path.clone())).collect();
        let lines = match sources.is_empty() {
            true => WatchedLines::default(),
            false => WatchedLines::of(&site.config),
        };
        Self {
            told: sources.iter().map(|_| None).collect(),
            known: sources.iter().map(|_| HashMap::new()).collect(),
            may_be_hidden: sources.iter().map(|_| is_restart).collect(),
            mistakes: sources.iter().map(|_| HashSet::new()).collect(),
            site,
            fingerprint,
            lines,
            sources,
            leaving: BTreeSet::new(),
            ends: HashMap::new(),
            wanting_room: BTreeSet::new(),
            looked: None,
        }
    }

    /// Returns the time to the next look.
    pub(super) fn pause(&self) -> Duration {
        match self.looked {
            _ if self.sources.is_empty() => Duration::MAX,
            Some(looked) => INTERVAL.saturating_sub(looked.elapsed()),
            None => INTERVAL,
        }
    }

    /// Lists the files with lines that there is no room for.
    pub(super) fn wanting_room(&self) -> &BTreeSet<PathBuf> {
        &self.wanting_room
    }

    /// Looks at the files, if it is time to.
    pub(super) fn look(&mut self, parts: &mut Growing<'_>) {
        let is_early = self.looked.is_some_and(|looked| looked.elapsed() < INTERVAL);
        if self.sources.is_empty() || is_early {
            return;
        }
        self.looked = Some(Instant::now());
        for directive in 0..self.sources.len() {
            self.look_at(directive, parts);
        }
        self.hide_ended();
    }

    fn look_at(&mut self, directive: usize, parts: &mut Growing<'_>) {
        let Some(source) = self.sources.get_mut(directive) else { return };
        let path = source.path.clone();
        let files = match source.look() {
            Ok(Some(files)) => files,
            Ok(None) => {
                let told = self.told.get_mut(directive);
                let told = told.filter(|it| matches!(it, Some(DomainsEvent::Unreadable { .. })));
                return told.into_iter().for_each(|told| *told = None);
            }
            Err(error) => {
                let why = errno(&error);
                return self.tell_once(directive, DomainsEvent::Unreadable { path, why });
            }
        };
        if let Some(unended) = files.iter().find(|file| !file.is_complete()) {
            let file = unended.path.clone();
            return self.tell_once(directive, DomainsEvent::Unended { file });
        }
        let mut mistakes = Vec::new();
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        let found = self.read(directive, files, &mut mistakes);
        match self.lines.compare(directive, found) {
            Err(LinesLost { before, gone }) => {
                self.tell_once(directive, DomainsEvent::Lost { path, gone, before });
            }
            Ok(changes) => {
                self.told.get_mut(directive).map(Option::take);
                self.apply(directive, changes, (&paths, &mut mistakes), parts);
                self.tell_mistakes(directive, path, mistakes);
            }
        }
    }

    /// Reads the lines of a directive, and notes those that cannot be read.
    fn read(
        &mut self,
        directive: usize,
        files: Vec<DomainsFile>,
        mistakes: &mut Vec<LineMistake>,
    ) -> FoundLines {
        let (mut found, mut known) = (FoundLines::default(), HashMap::new());
        let before = self.known.get_mut(directive).map(std::mem::take);
        let mut before = before.unwrap_or_default();
        for (number, DomainsFile { path, content }) in files.into_iter().enumerate() {
            let mut file = before.remove(&path).unwrap_or_default();
            for line in file.update(content, |line| self.lines.find(directive, line)) {
                match line {
                    FileLine::Known(certificate) => found.known.push(certificate),
                    FileLine::New(line) => found.new.push(PlacedLine { file: number, line }),
                    FileLine::Wrong(Mistake { message: why, line }) => {
                        mistakes.push(LineMistake { file: path.clone(), line, why });
                    }
                }
            }
            known.insert(path, file);
        }
        if let Some(files) = self.known.get_mut(directive) {
            *files = known;
        }
        found
    }

    fn apply(
        &mut self,
        directive: usize,
        changes: LineChanges,
        (files, mistakes): (&[PathBuf], &mut Vec<LineMistake>),
        parts: &mut Growing<'_>,
    ) {
        let path = self.sources.get(directive).map(|source| source.path.clone());
        let path = path.unwrap_or_default();
        self.withdraw(&path, &changes.withdrawn, parts);
        for certificate in changes.used {
            let name = self.site.certificate(certificate).name.clone();
            self.tell(DomainsEvent::Used { name });
        }
        self.restore(&path, &changes.restored, parts);
        self.show_all(directive);
        let mut added = Vec::new();
        let mut too_many = 0;
        for PlacedLine { file, line } in changes.added {
            let number = line.number;
            match self.site.config.addition(&self.lines, directive, line) {
                Err(why) => {
                    let file = files.get(file).cloned().unwrap_or_default();
                    mistakes.push(LineMistake { file, line: number, why });
                }
                Ok(addition) => {
                    // Before a worker that is a thread of this process can have added it.
                    let id = self.site.config.certificates.next_id();
                    let is_admitted = self.site.host.admit(&addition).is_ok();
                    if is_admitted && self.add(id, &addition, parts) {
                        added.push(id);
                    } else {
                        too_many += 1;
                    }
                }
            }
        }
        let variants = added.iter().flat_map(|id| self.site.certificate(*id).variants.clone());
        plan::tell_orders(&self.site, parts.schedule, variants);
        self.wanting_room.remove(&path);
        if too_many > 0 {
            self.wanting_room.insert(path.clone());
            self.tell(DomainsEvent::NoRoom { path, number: too_many });
        }
    }

    /// Adds a certificate to all that there is; tells whether there was a place.
    fn add(&mut self, id: CertificateId, addition: &Addition, parts: &mut Growing<'_>) -> bool {
        let site = Rc::clone(&self.site);
        if !site.config.add(id, addition) {
            return false;
        }
        let certificate = site.certificate(id);
        self.lines.add(&site.config, id, certificate);
        for variant in certificate.variants.clone() {
            parts.served.extend_to(variant);
            let loader = Loader {
                site: &site,
                served: parts.served,
                unsaved: parts.unsaved,
                unreadable: parts.unreadable,
                parties: Parties::new(&self.site, self.fingerprint),
            };
            let known = loader.load_added(variant);
            parts.schedule.add(known, now(), random);
        }
        parts.unreadable.bar(parts.schedule);
        parts.stapling.begin_with(parts.served, id);
        parts.served.publish(id);
        certificate.variants.clone().for_each(|variant| parts.status.show(parts.schedule, variant));
        self.show_names(id);
        true
    }

    fn withdraw(&mut self, path: &Path, withdrawn: &[CertificateId], parts: &mut Growing<'_>) {
        let is_many = withdrawn.len() > FEW;
        for id in withdrawn {
            self.lines.withdraw(*id);
            let ends = self.variants(*id).filter_map(|variant| {
                let end = parts.schedule.withdraw(variant);
                parts.status.show(parts.schedule, variant);
                end
            });
            let until = ends.max();
            self.leaving.insert((until.unwrap_or_default(), *id));
            self.ends.insert(*id, until.unwrap_or_default());
            if !is_many {
                let name = self.site.certificate(*id).name.clone();
                self.tell(DomainsEvent::Withdrawn { name, until });
            }
        }
        if is_many {
            let (path, number) = (path.to_owned(), withdrawn.len());
            self.tell(DomainsEvent::ManyWithdrawn { path, number });
        }
    }

    fn restore(&mut self, path: &Path, restored: &[CertificateId], parts: &mut Growing<'_>) {
        for id in restored {
            self.lines.restore(*id);
            if let Some(until) = self.ends.remove(id) {
                self.leaving.remove(&(until, *id));
            }
            for variant in self.variants(*id) {
                parts.schedule.restore(variant, now());
                parts.status.show(parts.schedule, variant);
            }
            self.show_names(*id);
        }
        if !restored.is_empty() {
            let (path, number) = (path.to_owned(), restored.len());
            self.tell(DomainsEvent::Restored { path, number });
        }
    }

    /// Has certificates that have ended be found no more.
    fn hide_ended(&mut self) {
        while let Some((until, id)) = self.leaving.first().copied().filter(|(it, _)| *it <= now()) {
            self.leaving.remove(&(until, id));
            self.ends.remove(&id);
            if self.site.host.hide_names(id).is_err() {
                self.want_room_for(id);
            }
        }
    }

    /// Has the certificates of all lines in force be found, once if they may not be.
    fn show_all(&mut self, directive: usize) {
        let may_be_hidden = self.may_be_hidden.get_mut(directive).map(std::mem::take);
        if may_be_hidden == Some(true) {
            let mut in_force: Vec<_> = self.lines.in_force(directive).collect();
            in_force.sort_unstable();
            in_force.into_iter().for_each(|certificate| self.show_names(certificate));
        }
    }

    fn show_names(&mut self, certificate: CertificateId) {
        if self.site.host.show_names(certificate).is_err() {
            self.want_room_for(certificate);
        }
    }

    /// Has nginx be reloaded, because the index has no room for the names of a certificate.
    fn want_room_for(&mut self, certificate: CertificateId) {
        let line = self.site.certificate(certificate).line.as_ref();
        let source = line.and_then(|line| self.sources.get(line.directive));
        let Some(path) = source.map(|source| source.path.clone()) else { return };
        if self.wanting_room.insert(path.clone()) {
            self.tell(DomainsEvent::NoRoom { path, number: 1 });
        }
    }

    fn variants(&self, certificate: CertificateId) -> IdRange<VariantId> {
        self.site.certificate(certificate).variants.clone()
    }

    /// Tells of the lines that are left out and were not before.
    fn tell_mistakes(&mut self, directive: usize, path: PathBuf, mistakes: Vec<LineMistake>) {
        let Some(before) = self.mistakes.get_mut(directive) else { return };
        let told = std::mem::replace(before, mistakes.iter().map(LineMistake::key).collect());
        let mut new: Vec<_> = mistakes.into_iter().filter(|it| !told.contains(&it.key())).collect();
        let more = new.split_off(new.len().min(LEFT_OUT)).len();
        for LineMistake { file, line, why } in new {
            self.tell(DomainsEvent::LeftOut { file, line, why });
        }
        if more > 0 {
            self.tell(DomainsEvent::MoreLeftOut { path, number: more });
        }
    }

    fn tell_once(&mut self, directive: usize, event: DomainsEvent) {
        let Some(told) = self.told.get_mut(directive) else { return };
        if told.as_ref() != Some(&event) {
            *told = Some(event.clone());
            self.tell(event);
        }
    }

    fn tell(&self, event: DomainsEvent) {
        self.site.tell(&Event::Domains(event));
    }
}

/// Line that cannot be a certificate.
struct LineMistake {
    file: PathBuf,
    line: usize,
    why: String,
}

impl LineMistake {
    /// Tells it from others, wherever it stands.
    fn key(&self) -> (PathBuf, String) {
        (self.file.clone(), self.why.clone())
    }
}
