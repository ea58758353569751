//! The certificates that a configuration begins with, so that the first handshake has one. When that is, and who
//! may read the files, is decided in `init_module`.
//!
//! What has not changed since the configuration before is copied from its memory. All else is read from the
//! disk, under its own name. Only where that does not do, what lies under other names is looked through, in
//! the memory of before and on disk: a certificate that has been renamed, reordered, split or merged
//! is still a good one ([`acme_dns_core::stock`]). What of it is kept under which name is for the
//! service to decide, which finds the same.

use super::bound::BoundServer;
use super::conf::Ready;
use super::copier::Copier;
use super::import::{self, Pairs};
use super::memory::SlotReader;
use super::missing::tell_missing;
use super::nginx::{now, tell, tell_event};
use super::public_area::Area;
use super::writer::{Full, Writer};
use acme_dns_core::config::{Certificate, Config, Profile};
use acme_dns_core::growing::ByName;
use acme_dns_core::id::{CertificateId, IdSet, Table, VariantId};
use acme_dns_core::key::KeyType;
use acme_dns_core::level::Level;
use acme_dns_core::material::{Material, Pair};
use acme_dns_core::name::Name;
use acme_dns_core::stock::{Stock, WantedNames, covers};
use acme_dns_service::event::{Event, FilesEvent, NginxEvent, StateEvent};
use acme_dns_service::store::{
    CertificateFacts, Certificates, Packed, PackedCertificate, PublishedFact, StoreError, traits_of,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Number of certificates from which on it is worth while to read the pack, which is read as a whole.
const WORTH_UNPACKING: usize = 100;

/// Place of a certificate.
enum PairSource {
    /// The memory of the configuration before: the slot, and the pair in it.
    Memory(CertificateId, usize),
    /// Files under the name of a variant.
    Own(VariantId),
    /// A directory of the state path.
    Directory(String),
}

/// Variants of a certificate, as they lie under its own name.
#[derive(Default)]
struct OwnFiles {
    /// The pairs, from the disk or imported.
    pairs: Vec<(VariantId, Pair)>,
    /// Facts of those from the disk.
    facts: Vec<(VariantId, CertificateFacts)>,
    /// Set if there is something that only the service may look into.
    is_left_over: bool,
}

impl OwnFiles {
    /// Tells whether nothing better need be looked for.
    fn does(&self, config: &Config, wanted: &Certificate) -> bool {
        wanted.variants.clone().all(|id| {
            let facts = self.facts.iter().find(|(of, _)| *of == id).map(|(_, facts)| facts);
            let Some(variant) = config.variants.get(id) else { return false };
            match facts.map(|facts| &facts.traits) {
                Some(traits) => {
                    traits.difference(config, variant, wanted).is_none() && !traits.is_due(now())
                }
                // Imported.
                None => self.pairs.iter().any(|(of, _)| *of == id),
            }
        })
    }

    fn into_pairs(self) -> Vec<Pair> {
        self.pairs.into_iter().map(|(_, pair)| pair).collect()
    }
}

/// Fills the memory of a configuration.
pub(super) struct Startup<'a> {
    ready: &'a Ready,
    config: Arc<Config>,
    area: Area,
    before: Option<&'a Ready>,
    servers: &'a [BoundServer],
    /// The certificates on disk.
    disk: Option<Certificates>,
    /// Set if the service may read what this process may not.
    is_denied: bool,
    /// Facts of what was published as it lies on disk.
    facts: Vec<PublishedFact>,
    /// Those that the pack does not have as they are on disk, and the number of them that it could have.
    not_in_pack: HashSet<VariantId>,
    unpacked: usize,
    /// The certificates that are not there.
    missing: Vec<CertificateId>,
    has_foreign_files: bool,
}

/// Facts that the service is given about what was published.
pub(super) struct Publication {
    pub(super) facts: Vec<PublishedFact>,
    /// Set if there is something that the service may be unable to read.
    pub(super) has_foreign_files: bool,
    /// Set if there is a pack of certificates that cannot be used.
    pub(super) has_bad_pack: bool,
    /// Number of certificates on disk that the pack does not have as they are.
    pub(super) unpacked: usize,
}

impl<'a> Startup<'a> {
    pub(super) fn new(
        ready: &'a Ready,
        before: Option<&'a Ready>,
        servers: &'a [BoundServer],
    ) -> Self {
        let config = Arc::clone(&ready.config);
        let area = Area::new(&ready.memory, &config);
        let disk = Certificates::open(&config.state_path, &ready.identity.trust());
        let is_denied = disk.as_ref().is_err_and(StoreError::is_denied);
        let disk = disk.unwrap_or_else(|error| {
            let why = error.to_string();
            tell(match is_denied {
                true => NginxEvent::StatePathDenied { why },
                false => NginxEvent::StatePathUnusable { why },
            });
            None
        });
        let (facts, missing) = (Vec::new(), Vec::new());
        let has_foreign_files = false;
        Self {
            ready,
            config,
            area,
            before,
            servers,
            disk,
            is_denied,
            facts,
            not_in_pack: HashSet::new(),
            unpacked: 0,
            missing,
            has_foreign_files,
        }
    }

    /// Publishes all that there is, and says once what is missing.
    pub(super) fn publish(mut self, mut imported: Pairs, writer: &mut Writer) -> Publication {
        let config = Arc::clone(&self.config);
        let copied = self.copy_from_before(&imported, writer);
        if let Some(before) = self.before {
            let area = Area::new(&before.memory, &before.config);
            self.area.take_over(&config, (&area, &before.config), |id| copied.contains(id));
        }
        let rest = config.certificates.iter().filter(|(id, _)| !copied.contains(*id)).collect();
        let (rest, has_bad_pack) = self.unpack(rest, writer);
        let mut lacking = Vec::new();
        for (id, certificate) in rest {
            let own = self.read_own(certificate, &mut imported);
            if own.does(&config, certificate) {
                self.write_own(id, own, writer);
            } else {
                lacking.push((id, own));
            }
        }
        self.fill_lacking(lacking, writer);
        let known = self.before.map_or_else(Vec::new, |before| self.known_from(before, &copied));
        self.facts.extend(known);
        let user = self.ready.identity.user.zip(self.disk);
        let is_foreign = user.is_some_and(|(user, disk)| disk.is_foreign_to(user.uid));
        let has_foreign_files = self.has_foreign_files || is_foreign;
        let (facts, unpacked) = (self.facts, self.unpacked);
        Publication { facts, has_foreign_files, has_bad_pack, unpacked }
    }

    /// Copies what the configuration before has of the same certificates; gives which those are.
    fn copy_from_before(&self, imported: &Pairs, writer: &mut Writer) -> IdSet<CertificateId> {
        let mut copied = IdSet::default();
        let Some(before) = self.before else { return copied };
        let known = ByName::new(&before.config.certificates, |certificate| &certificate.name);
        // What is the same as a whole need not be compared once more.
        let is_all_same = !self.ready.is_news;
        let mut copier = Copier::new(writer, &before.memory);
        for (id, certificate) in self.config.certificates.iter() {
            let old = known.find(id, &certificate.name);
            let Some((old, of_old)) =
                old.and_then(|id| Some((id, before.config.certificates.get(id)?)))
            else {
                continue;
            };
            let is_same =
                is_all_same || is_same((&self.config, certificate), (&before.config, of_old));
            if is_same && !import::has(imported, certificate) && copier.copy(old, id) {
                copied.insert(id);
            }
        }
        copied
    }

    /// Gives what a configuration before knew of the variants that were copied from it.
    fn known_from(&self, before: &Ready, copied: &IdSet<CertificateId>) -> Vec<PublishedFact> {
        // Of a certificate with two types of key, before or now, the slot may hold another pair than is
        // wanted: the helper reads it, and publishes it as it is to be.
        fn single(config: &Config, variant: VariantId) -> Option<&str> {
            let (variant, certificate) = config.variant(variant)?;
            (certificate.variants.len() == 1).then_some(variant.name.as_str())
        }
        let old = before.config.variants.ids();
        let mut known: Table<VariantId, Option<&Arc<CertificateFacts>>> =
            old.map(|_| None).collect();
        for (id, facts) in
            before.facts.iter().filter(|(id, _)| single(&before.config, *id).is_some())
        {
            known.get_mut(*id).into_iter().for_each(|known| *known = Some(facts));
        }
        let by_name = ByName::new(&before.config.variants, |variant| &variant.name);
        let is_copied = |id: &VariantId| {
            self.config.variants.get(*id).is_some_and(|it| copied.contains(it.certificate))
        };
        let variants = self.config.variants.ids().filter(is_copied);
        let known = |id| {
            let old = by_name.find(id, single(&self.config, id)?)?;
            Some((id, Arc::clone((*known.get(old)?)?)))
        };
        variants.filter_map(known).collect()
    }

    /// Publishes what the pack has of these certificates; gives the others, and whether there is a pack that cannot be
    /// used.
    fn unpack<'c>(
        &mut self,
        mut rest: Vec<(CertificateId, &'c Certificate)>,
        writer: &mut Writer,
    ) -> (Vec<(CertificateId, &'c Certificate)>, bool) {
        if rest.len() < WORTH_UNPACKING {
            return (rest, false);
        }
        let disk = self.disk.take();
        let (packed, has_bad_pack) = disk.as_ref().map_or((None, false), open_pack);
        rest.retain(|(id, certificate)| {
            let found = packed.as_ref().and_then(|packed| self.packed(packed, certificate));
            let is_published = found
                .is_some_and(|(variant, packed)| self.write_packed(*id, variant, packed, writer));
            if !is_published {
                self.note_packed(packed.as_ref(), certificate);
            }
            !is_published
        });
        drop(packed);
        self.disk = disk;
        (rest, has_bad_pack)
    }

    /// Finds a certificate in the pack, if it is what is wanted, and not due.
    fn packed(
        &self,
        packed: &Packed<'_>,
        certificate: &Certificate,
    ) -> Option<(VariantId, PackedCertificate)> {
        let id = certificate.variants.clone().next().filter(|_| certificate.variants.len() == 1)?;
        let variant = self.config.variants.get(id)?;
        let found = packed.certificate(&variant.name)?;
        let traits = &found.facts.traits;
        let is_wanted = traits.difference(&self.config, variant, certificate).is_none();
        (is_wanted && !traits.is_due(now())).then_some((id, found))
    }

    /// Notes which variants of a certificate the pack does not have.
    fn note_packed(&mut self, packed: Option<&Packed<'_>>, certificate: &Certificate) {
        for id in certificate.variants.clone() {
            let name = self.config.variants.get(id).map_or("", |variant| variant.name.as_str());
            if !packed.is_some_and(|packed| packed.has(name)) {
                self.not_in_pack.insert(id);
            }
        }
    }

    /// Publishes a certificate as the pack has it, if there is room.
    fn write_packed(
        &mut self,
        id: CertificateId,
        variant: VariantId,
        packed: PackedCertificate,
        writer: &mut Writer,
    ) -> bool {
        let PackedCertificate { record, served, facts } = packed;
        let is_written = writer.write(id, &record).is_ok();
        if is_written {
            self.area.write_served(variant, &served);
            self.facts.push((variant, Arc::new(facts)));
        }
        is_written
    }

    /// Reads what lies under a certificate's own name, as far as that takes no more than a glance.
    fn read_own(&mut self, certificate: &Certificate, imported: &mut Pairs) -> OwnFiles {
        let mut own = OwnFiles::default();
        for id in certificate.variants.clone() {
            let name = self.config.variants.get(id).map_or("", |v| v.name.as_str());
            match self.disk.as_ref().map_or(Ok(None), |disk| disk.load_quickly(name)) {
                Ok(None) => own.pairs.extend(imported.remove(&id).map(|pair| (id, pair))),
                Ok(Some((material, facts))) => {
                    let is_lacking = facts.is_some() && self.not_in_pack.contains(&id);
                    self.unpacked += usize::from(is_lacking);
                    own.pairs.extend(material.pairs.into_iter().map(|pair| (id, pair)));
                    own.facts.extend(facts.map(|facts| (id, facts)));
                }
                // Whether it can be used at all, the service finds out, and says so.
                Err(error) => {
                    own.is_left_over = true;
                    left_to_service(name, &error);
                }
            }
        }
        self.has_foreign_files |= own.is_left_over;
        own
    }

    /// Publishes a certificate as it lies under its own name.
    fn write_own(&mut self, id: CertificateId, mut own: OwnFiles, writer: &mut Writer) {
        let facts = std::mem::take(&mut own.facts);
        if self.write(id, own.into_pairs(), writer) {
            self.facts.extend(facts.into_iter().map(|(id, facts)| (id, Arc::new(facts))));
        }
    }

    /// Writes a record. If there is no room for all that could be served, there may be for the first.
    fn write(&self, id: CertificateId, pairs: Vec<Pair>, writer: &mut Writer) -> bool {
        let wanted = self.config.certificates.get(id);
        let variants = wanted.map_or(1, |wanted| wanted.variants.len());
        let mut material = Material { pairs };
        let mut written = writer.write(id, &material.encode());
        if written.is_err() && material.pairs.len() > variants {
            material.pairs.truncate(variants);
            written = writer.write(id, &material.encode());
        }
        match written {
            Ok(_) => self.area.show_served(&self.config, id, &material),
            Err(Full) => {
                let name = wanted.map_or_else(String::new, |wanted| wanted.name.clone());
                let event = Event::Files(name, FilesEvent::NoRoom);
                tell_event(&event);
            }
        }
        written.is_ok()
    }

    /// Publishes for certificates whose own files do not do what there is under other names.
    fn fill_lacking(&mut self, lacking: Vec<(CertificateId, OwnFiles)>, writer: &mut Writer) {
        if lacking.is_empty() {
            return;
        }
        let stock = self.stock(&lacking);
        for (id, own) in lacking {
            let pairs = self.choose(&stock, id, &own);
            let is_own = pairs.len() == own.pairs.len()
                && pairs.iter().all(|pair| own.pairs.iter().any(|(_, own)| own == pair));
            if is_own && !pairs.is_empty() {
                self.write_own(id, own, writer);
            } else if !pairs.is_empty() {
                self.write(id, pairs, writer);
            } else if !own.pairs.is_empty() {
                // Better than nothing.
                self.write_own(id, own, writer);
            } else if !own.is_left_over && !self.is_denied {
                self.missing.push(id);
            }
        }
        tell_missing(&self.config, self.servers, &self.missing);
    }

    /// Lists all that is there for the names of those that lack something, which are few among thousands.
    fn stock(&self, lacking: &[(CertificateId, OwnFiles)]) -> Stock<PairSource> {
        let mut stock = Stock::default();
        let wanted = lacking.iter().filter_map(|(id, _)| self.config.certificates.get(*id));
        let wanted = WantedNames::of(wanted.flat_map(|certificate| &certificate.names));
        for (id, facts) in lacking.iter().flat_map(|(_, own)| &own.facts) {
            stock.add(PairSource::Own(*id), facts.traits.clone());
        }
        for (id, facts) in
            self.facts.iter().filter(|(_, facts)| wanted.has_any(&facts.traits.names))
        {
            stock.add(PairSource::Own(*id), facts.traits.clone());
        }
        if let Some(before) = self.before {
            add_memory(&mut stock, before, &wanted);
        }
        let own: HashSet<&str> =
            self.config.variants.values().map(|variant| variant.name.as_str()).collect();
        let Some(disk) = &self.disk else { return stock };
        let names = disk.names().unwrap_or_else(|error| {
            let (why, level) = (error.to_string(), Level::Error);
            tell_event(&Event::State(StateEvent::Failed { why, level }));
            Vec::new()
        });
        for name in names.into_iter().filter(|name| !own.contains(name.as_str())) {
            if let Some(traits) = disk.traits(&name) {
                stock.add(PairSource::Directory(name), traits);
            }
        }
        stock
    }

    /// Chooses the pairs that are served of a certificate, the best first.
    fn choose(&self, stock: &Stock<PairSource>, id: CertificateId, own: &OwnFiles) -> Vec<Pair> {
        let Some(wanted) = self.config.certificates.get(id) else { return Vec::new() };
        let owner = |source: &PairSource| match source {
            PairSource::Own(variant) => Some(*variant),
            PairSource::Directory(_) | PairSource::Memory(..) => None,
        };
        let choice = stock.choose(&self.config, wanted, now(), owner);
        let is_imported = |variant: VariantId| {
            let has_facts = own.facts.iter().any(|(of, _)| *of == variant);
            (!has_facts).then(|| own.pairs.iter().find(|(of, _)| *of == variant)).flatten()
        };
        let mut pairs = Vec::new();
        for (variant, item) in wanted.variants.clone().zip(&choice.taken_over) {
            let read = item.and_then(|item| self.pair(stock.item(item)?.0, own));
            pairs.extend(read.or_else(|| is_imported(variant).map(|(_, pair)| pair.clone())));
        }
        let stand_ins = choice.stand_ins.iter().filter_map(|item| stock.item(*item));
        pairs.extend(stand_ins.filter_map(|(source, _)| self.pair(source, own)));
        pairs
    }

    fn pair(&self, source: &PairSource, own: &OwnFiles) -> Option<Pair> {
        match source {
            PairSource::Own(variant) => {
                let pair = own.pairs.iter().find(|(of, _)| of == variant);
                // That of another certificate, whose own files do not do for it.
                pair.map(|(_, pair)| pair.clone()).or_else(|| {
                    let name = &self.config.variants.get(*variant)?.name;
                    self.pair_in(name)
                })
            }
            PairSource::Directory(name) => self.pair_in(name),
            PairSource::Memory(slot, index) => {
                let (_, record) = SlotReader::new(&self.before?.memory, *slot).read()?;
                Material::decode(&record).ok()?.pairs.into_iter().nth(*index)
            }
        }
    }

    fn pair_in(&self, name: &str) -> Option<Pair> {
        match self.disk.as_ref()?.load_quickly(name) {
            Ok(found) => found?.0.pairs.into_iter().next(),
            Err(error) => {
                left_to_service(name, &error);
                None
            }
        }
    }
}

/// Opens the pack of certificates. Without it all files are read. Tells whether it is one that cannot be used.
fn open_pack(disk: &Certificates) -> (Option<Packed<'_>>, bool) {
    match disk.packed() {
        Ok(packed) => (packed, false),
        Err(error) => {
            tell_event(&Event::State(StateEvent::Ignored { why: error.to_string() }));
            (None, true)
        }
    }
}

/// Tells whether what was served of a certificate is what is to be served of another one.
fn is_same(new: (&Config, &Certificate), old: (&Config, &Certificate)) -> bool {
    fn keys<'a>((config, it): (&'a Config, &'a Certificate)) -> impl Iterator<Item = KeyType> + 'a {
        it.variants.clone().filter_map(|id| config.variants.get(id)).map(|variant| variant.key)
    }
    fn issuers<'a>(
        (config, it): (&'a Config, &'a Certificate),
    ) -> impl Iterator<Item = (&'a str, Option<&'a Profile>)> {
        let issuers = it.issuers.iter().filter_map(|id| config.issuers.get(*id));
        issuers.map(|issuer| (issuer.directory.as_str(), issuer.profile.as_ref()))
    }
    let sorted =
        |(_, it): (&Config, &Certificate)| it.names.iter().cloned().collect::<BTreeSet<_>>();
    let has_same_names = new.1.names == old.1.names || sorted(new) == sorted(old);
    has_same_names && keys(new).eq(keys(old)) && issuers(new).eq(issuers(old))
}

/// Adds what the configuration before has in memory. A certificate whose own files cover all its names has nothing else
/// served in its place, so that those files say whether it has a name that is wanted.
fn add_memory(stock: &mut Stock<PairSource>, before: &Ready, wanted: &WantedNames<'_>) {
    let facts: HashMap<_, _> = before.facts.iter().map(|(id, facts)| (*id, facts)).collect();
    let is_of_no_use = |certificate: &Certificate| {
        certificate.variants.clone().all(|variant| {
            facts.get(&variant).is_some_and(|facts| {
                let covers = |name: &Name| covers(&facts.traits.names, name.as_str());
                certificate.names.iter().all(covers) && !wanted.has_any(&facts.traits.names)
            })
        })
    };
    for (slot, certificate) in before.config.certificates.iter() {
        if is_of_no_use(certificate) {
            continue;
        }
        let Some((_, record)) = SlotReader::new(&before.memory, slot).read() else { continue };
        let Ok(material) = Material::decode(&record) else { continue };
        for (index, pair) in material.pairs.iter().enumerate() {
            if let Some(traits) = traits_of(pair) {
                stock.add(PairSource::Memory(slot, index), traits);
            }
        }
    }
}

/// Tells that a certificate is left for the service to read.
fn left_to_service(name: &str, error: &StoreError) {
    tell(NginxEvent::LeftToService { name: name.to_owned(), why: error.to_string() });
}
