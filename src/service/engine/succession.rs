//! Certificates that lie under other names than those that want them.
//!
//! An edit of the configuration gives certificates other names, in which they are looked for on disk. Only
//! where a certificate's own files do not do, those of all other names are looked through
//! ([`acme_dns_core::stock`]). What is wanted as it is gets a copy under the new name, with the time of
//! its renewal: the old directory may be another certificate's too, or be read by other software.

use super::clock::{LOCAL_PAUSE, let_others_work, now};
use super::served::{FurtherPair, Served, ServedVariant};
use super::site::Site;
use super::unsaved::Unsaved;
use crate::event::{CertificateEvent, CertificatesEvent, Event, FilesEvent, OriginEvent};
use crate::store::{Certificates, IssuedPem, Store, StoreError, Trust, is_aside, traits_of};
use acme_dns_core::id::{CertificateId, Table, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::stock::{Choice, Stock, Traits, WantedNames};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// Number of successions that are told one by one.
const TOLD: usize = 20;

/// The place of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
enum StockSource {
    /// The directory of a variant.
    Variant(VariantId),
    /// A directory of no variant.
    Directory(String),
    /// Shared memory: the certificate's slot, and the pair in it.
    Published(CertificateId, usize),
}

/// A certificate that is to be taken over.
struct Heir {
    variant: VariantId,
    from: HeirOrigin,
    traits: Traits,
}

/// Origin of what is taken over.
enum HeirOrigin {
    /// The name of the directory that it lies in.
    Directory(String),
    /// Shared memory alone: the disk has lost it.
    Memory(Box<Pair>),
}

impl HeirOrigin {
    fn directory(&self) -> Option<&str> {
        match self {
            Self::Directory(name) => Some(name),
            Self::Memory(_) => None,
        }
    }
}

/// A certificate that was read to be taken over.
struct Inheritance {
    pair: Pair,
    pem: IssuedPem,
    renewal: Option<Renewal>,
}

/// The parts that certificates under other names are served by.
pub(super) struct Succession<'a> {
    pub(super) site: &'a Site,
    pub(super) served: &'a mut Served,
    pub(super) unsaved: &'a mut Unsaved,
}

/// Traits of the certificate under the own name of each variant, if there is one; facts that another process has found are
/// not copied.
pub(super) type Held<'f> = Table<VariantId, Option<Cow<'f, Traits>>>;

impl Succession<'_> {
    /// Finds successors for what does not do. `held` says for each variant what lies under its own name, which
    /// is served already; the result for each variant the validity of what is wanted.
    pub(super) async fn succeed(mut self, held: Held<'_>) -> Table<VariantId, Option<Validity>> {
        let now = now();
        let config = &self.site.config;
        let mut validities: Table<_, _> = held.values().map(|_| None).collect();
        let mut lacking = BTreeSet::new();
        for (id, held) in &held {
            let (variant, certificate) = self.site.variant(id);
            let wanted =
                held.as_ref().filter(|t| t.difference(config, variant, certificate).is_none());
            validities[id] = wanted.map(|traits| traits.validity);
            if wanted.is_none_or(|traits| traits.is_due(now)) {
                lacking.insert(variant.certificate);
            }
        }
        if lacking.is_empty() {
            return validities;
        }
        let mut stock = self.stock(&held, &lacking).await;
        let mut heirs = Vec::new();
        for (round, certificate) in lacking.iter().enumerate() {
            let_others_work(round).await;
            let choice = self.choose(&mut stock, *certificate);
            heirs.extend(self.heirs(&stock, *certificate, &choice));
            self.stand_in(&stock, *certificate, &choice);
        }
        for (variant, validity) in self.take_over(heirs).await {
            validities[variant] = Some(validity);
        }
        for certificate in lacking {
            self.tell_what_is_wrong(certificate, &held, &validities);
        }
        validities
    }

    /// Gathers all that is there for the names of those that are lacking. What shared memory has is looked at for them
    /// alone.
    async fn stock(
        &self,
        held: &Held<'_>,
        lacking: &BTreeSet<CertificateId>,
    ) -> Stock<StockSource> {
        let mut stock = Stock::default();
        let wanted = lacking.iter().flat_map(|id| &self.site.certificate(*id).names);
        let wanted = WantedNames::of(wanted);
        for (id, traits) in held {
            if let Some(traits) = traits.as_ref().filter(|it| wanted.has_any(&it.names)) {
                stock.add(StockSource::Variant(id), Traits::clone(traits));
            }
        }
        let mut own: HashSet<&str> = HashSet::new();
        own.extend(self.site.variants().map(|variant| self.site.name(variant)));
        let certificates = Certificates::open(self.site.store.path(), &Trust::here());
        let listed = certificates.and_then(|certificates| {
            let names = certificates.as_ref().map(Certificates::names).transpose()?;
            Ok(certificates.zip(names))
        });
        let (certificates, names) = match listed {
            Ok(Some((certificates, names))) => (Some(certificates), names),
            Ok(None) => (None, Vec::new()),
            Err(error) => {
                let why = error.to_string();
                self.site.tell(&Event::Certificates(CertificatesEvent::OthersUnknown { why }));
                (None, Vec::new())
            }
        };
        let others = names.into_iter().filter(|name| !own.contains(name.as_str()));
        for (round, name) in others.enumerate() {
            let_others_work(round).await;
            let traits = certificates.as_ref().and_then(|all| all.traits(&name));
            let Some(traits) = traits else { continue };
            if is_aside(&name) && self.site.store.has_expired(&name, &traits, now()) {
                if let Err(error) = self.site.store.remove_aside(&name) {
                    self.site.tell_failure(Level::Warn, &error);
                }
                continue;
            }
            stock.add(StockSource::Directory(name), traits);
        }
        for certificate in lacking {
            let published = self.site.host.published(*certificate).map(|material| material.pairs);
            for (index, pair) in published.into_iter().flatten().enumerate() {
                let is_revoked = || {
                    let leaf = pair.chain.first();
                    leaf.zip(certificates.as_ref()).is_some_and(|(leaf, all)| {
                        self.own_names(*certificate).any(|name| all.is_revoked(name, leaf))
                    })
                };
                if let Some(traits) = traits_of(&pair).filter(|_| !is_revoked()) {
                    stock.add(StockSource::Published(*certificate, index), traits);
                }
            }
        }
        stock
    }

    /// Returns the names of a certificate's own directories.
    fn own_names(&self, certificate: CertificateId) -> impl Iterator<Item = &str> {
        self.site.certificate(certificate).variants.clone().map(|variant| self.site.name(variant))
    }

    /// Chooses for a certificate among what can be read.
    fn choose(&self, stock: &mut Stock<StockSource>, certificate: CertificateId) -> Choice {
        let wanted = self.site.certificate(certificate);
        let owner = |source: &StockSource| match source {
            StockSource::Variant(id) => Some(*id),
            StockSource::Directory(_) | StockSource::Published(..) => None,
        };
        loop {
            let choice = stock.choose(&self.site.config, wanted, now(), owner);
            let all = choice.taken_over.iter().flatten().chain(&choice.stand_ins);
            let unreadable = all.copied().find(|item| {
                let source = stock.item(*item).map(|(source, _)| source.clone());
                source.is_some_and(|source| self.pair_at(&source).is_none())
            });
            match unreadable {
                Some(item) => stock.discard(item),
                None => return choice,
            }
        }
    }

    /// Reads a certificate. What lies under a variant's own name was read before.
    fn pair_at(&self, source: &StockSource) -> Option<Pair> {
        match source {
            StockSource::Variant(id) => self.served.pair(*id),
            StockSource::Published(certificate, index) => {
                self.site.host.published(*certificate)?.pairs.into_iter().nth(*index)
            }
            StockSource::Directory(name) => {
                let stored = self.site.store.load_certificate(name).unwrap_or_else(|error| {
                    let event = OriginEvent::Unfit { why: error.to_string() };
                    self.site.tell(&Event::Origin(name.clone(), event));
                    None
                });
                stored?.material.pairs.into_iter().next()
            }
        }
    }

    fn directory_of<'a>(&'a self, source: &'a StockSource) -> Option<&'a str> {
        match source {
            StockSource::Variant(id) => Some(self.site.name(*id)),
            StockSource::Directory(name) => Some(name),
            StockSource::Published(..) => None,
        }
    }

    /// Lists what is to be taken over from other names, or from shared memory alone.
    fn heirs(
        &self,
        stock: &Stock<StockSource>,
        certificate: CertificateId,
        choice: &Choice,
    ) -> Vec<Heir> {
        let variants = self.site.certificate(certificate).variants.clone();
        let pairs = variants.zip(&choice.taken_over);
        let heir = |(variant, item): (VariantId, &Option<usize>)| {
            let (source, traits) = stock.item((*item)?)?;
            if *source == StockSource::Variant(variant) {
                return None;
            }
            let from = match self.directory_of(source) {
                Some(name) => HeirOrigin::Directory(name.to_owned()),
                None => HeirOrigin::Memory(Box::new(self.pair_at(source)?)),
            };
            Some(Heir { variant, from, traits: traits.clone() })
        };
        pairs.filter_map(heir).collect()
    }

    /// Has what stands in served, in the place of what lies under the own names.
    fn stand_in(
        &mut self,
        stock: &Stock<StockSource>,
        certificate: CertificateId,
        choice: &Choice,
    ) {
        let wanted = self.site.certificate(certificate);
        if choice.stand_ins.is_empty() {
            return;
        }
        let mut sources: Vec<(&StockSource, &Traits)> =
            choice.stand_ins.iter().filter_map(|item| stock.item(*item)).collect();
        self.tell_stand_ins(&wanted.name, &sources);
        let lacking: Vec<VariantId> = wanted
            .variants
            .clone()
            .zip(&choice.taken_over)
            .filter_map(|(variant, taken)| taken.is_none().then_some(variant))
            .collect();
        let mut is_served = false;
        for variant in &lacking {
            let algorithm = self.site.variant(*variant).0.key.algorithm();
            let found = sources.iter().position(|(_, t)| t.key.algorithm() == algorithm);
            let source = found.map(|found| sources.remove(found).0);
            is_served |= source.is_some();
            self.serve_at(*variant, source);
        }
        if let (false, Some(variant), false) = (is_served, lacking.first(), sources.is_empty()) {
            self.serve_at(*variant, Some(sources.remove(0).0));
        }
        let stand_ins = sources.into_iter().filter_map(|(source, traits)| {
            Some(FurtherPair { algorithm: traits.key.algorithm(), pair: self.pair_at(source)? })
        });
        let stand_ins = stand_ins.collect();
        self.served.add_stand_ins(certificate, stand_ins);
    }

    /// Serves for a variant what lies there, or nothing.
    fn serve_at(&mut self, variant: VariantId, source: Option<&StockSource>) {
        match source {
            // As it is served already.
            Some(StockSource::Variant(id)) if *id == variant => {}
            Some(source) => {
                if let Some(pair) = self.pair_at(source) {
                    let pair = Pair { staple: None, ..pair };
                    let served =
                        ServedVariant { pair: Some(pair.into()), issuer: None, stands_in: true };
                    self.served.set(variant, served);
                }
            }
            None => self.served.unset(variant),
        }
    }

    /// Takes certificates over; returns the validity of each. All that is to be written over is read before.
    async fn take_over(&mut self, mut heirs: Vec<Heir>) -> Vec<(VariantId, Validity)> {
        let site = self.site;
        let name = |variant: VariantId| site.name(variant);
        let sources: HashSet<String> =
            heirs.iter().filter_map(|heir| heir.from.directory().map(str::to_owned)).collect();
        // Two that change places: what nobody needs is written over first.
        heirs.sort_by_key(|heir| sources.contains(name(heir.variant)));
        let targets: HashSet<&str> = heirs.iter().map(|heir| name(heir.variant)).collect();
        let read_early = |heir: &Heir| {
            let is_target = heir.from.directory().is_some_and(|from| targets.contains(from));
            is_target.then(|| self.read_inheritance(heir))
        };
        let early: Vec<_> = heirs.iter().map(read_early).collect();
        let is_many = heirs.len() > TOLD;
        let mut taken = Vec::new();
        for (heir, early) in heirs.iter().zip(early) {
            let read = early.unwrap_or_else(|| self.read_inheritance(heir));
            let read = match read {
                Ok(read) => read,
                Err(why) => {
                    self.site.tell_origin(heir.variant, OriginEvent::NotSucceeded { why });
                    continue;
                }
            };
            self.inherit(heir, read).await;
            taken.push((heir.variant, heir.traits.validity));
            let Some(from) = heir.from.directory() else {
                site.tell_files(heir.variant, FilesEvent::WrittenBack);
                continue;
            };
            let (until, is_one_of_many) = (heir.traits.validity.not_after, is_many);
            let event = OriginEvent::Succeeds { from: from.to_owned(), until, is_one_of_many };
            self.site.tell_origin(heir.variant, event);
        }
        if is_many {
            let event = CertificatesEvent::Succeed { number: taken.len() };
            self.site.tell(&Event::Certificates(event));
        }
        taken
    }

    fn read_inheritance(&self, heir: &Heir) -> Result<Inheritance, String> {
        let text = |error: StoreError| error.to_string();
        let (pair, renewal) = match &heir.from {
            HeirOrigin::Memory(pair) => (Pair { staple: None, ..(**pair).clone() }, None),
            HeirOrigin::Directory(from) => {
                let stored = self.site.store.load_certificate(from).map_err(text)?;
                let pair = stored.and_then(|stored| stored.material.pairs.into_iter().next());
                let renewal = self.site.store.load_renewal(from).unwrap_or_else(|error| {
                    self.site.tell_ignored(&error);
                    None
                });
                (pair.ok_or_else(|| format!("\"{from}\" is gone"))?, renewal)
            }
        };
        let pem = IssuedPem::of(&pair).map_err(|error| error.to_string())?;
        Ok(Inheritance { pair, pem, renewal })
    }

    /// Serves and keeps a certificate under its new name.
    async fn inherit(&mut self, heir: &Heir, read: Inheritance) {
        let name = self.site.name(heir.variant);
        let Inheritance { mut pair, pem, renewal } = read;
        let issuer = self.site.issuer_with(heir.traits.directory.as_deref());
        let (of, issued) = (name.to_owned(), pem.clone());
        let keep = move |store: &Store| {
            store.save_certificate(&of, &issued)?;
            renewal.map_or(Ok(()), |renewal| store.save_renewal(&of, &renewal))
        };
        let kept = self.site.store.on_thread(keep).await;
        if let Some(source) = &mut pair.source {
            source.is_kept = kept.is_ok();
        }
        let served = ServedVariant { pair: Some(pair.into()), issuer, stands_in: false };
        self.served.set(heir.variant, served);
        let Err(error) = kept else { return };
        let why = error.to_string();
        let event = FilesEvent::UnsavedUnderNewName { why, retry: LOCAL_PAUSE };
        self.site.tell_files(heir.variant, event);
        self.unsaved.save_later(heir.variant, Some(pem));
    }

    fn tell_stand_ins(&self, name: &str, sources: &[(&StockSource, &Traits)]) {
        let others = sources.iter().filter_map(|(source, _)| self.directory_of(source));
        let others = others.filter(|other| *other != name);
        let names: Vec<String> = others.map(str::to_owned).collect();
        if !names.is_empty() {
            let event = OriginEvent::StandIns { names };
            self.site.tell(&Event::Origin(name.to_owned(), event));
        }
    }

    /// Tells why the certificates under the own names are replaced.
    fn tell_what_is_wrong(
        &self,
        certificate: CertificateId,
        held: &Held<'_>,
        validities: &Table<VariantId, Option<Validity>>,
    ) {
        for id in self.site.certificate(certificate).variants.clone() {
            let (variant, wanted) = self.site.variant(id);
            let held = held[id].as_ref().filter(|_| validities[id].is_none());
            let difference = held.and_then(|t| t.difference(&self.site.config, variant, wanted));
            if let Some(difference) = difference {
                let difference = difference.to_string();
                self.site.tell_life(id, CertificateEvent::Outdated { difference });
            }
        }
    }
}
