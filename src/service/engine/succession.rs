//! Certificates that lie under other names than those that want them.
//!
//! An edit of the configuration gives certificates other names, in which they are looked for on disk. Only
//! where a certificate's own files do not do, those of all other names are looked through
//! ([`acme_dns_core::stock`]). What is wanted as it is gets a copy under the new name, with the time of
//! its renewal: the old directory may be another certificate's too, or be read by other software.

use super::clock::LOCAL_PAUSE;
use super::commit::save_later;
use super::load::let_others_work;
use super::tasks::Report;
use super::work::{Served, Work, now};
use crate::store::{Certificates, IssuedPem, Store, StoreError, Trust, is_aside, traits_of};
use acme_dns_core::config::Variant;
use acme_dns_core::level::Level;
use acme_dns_core::material::Pair;
use acme_dns_core::schedule::{Renewal, Validity};
use acme_dns_core::stock::{Choice, Stock, Traits};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// So many are told one by one.
const TOLD: usize = 20;

/// The place of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    /// The directory of a variant.
    Variant(usize),
    /// A directory of no variant.
    Directory(String),
    /// Shared memory: the certificate's slot, and the pair in it.
    Published(usize, usize),
}

/// A certificate that is to be taken over.
struct Heir {
    variant: usize,
    from: Origin,
    traits: Traits,
}

/// What is taken over from where.
enum Origin {
    /// The name of the directory that it lies in.
    Directory(String),
    /// Shared memory alone: the disk has lost it.
    Memory(Box<Pair>),
}

impl Origin {
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

impl Work {
    /// Finds successors for what does not do. `held` says for each variant what lies under its own name, which
    /// is served already; the result for each variant the validity of what is wanted.
    pub(super) async fn succeed(
        &mut self,
        store: &Store,
        held: Vec<Option<Traits>>,
        report: &Report,
    ) -> Vec<Option<Validity>> {
        let now = now();
        let config = Arc::clone(&self.config);
        let mut validities = vec![None; held.len()];
        let mut lacking = BTreeSet::new();
        for (index, held) in held.iter().enumerate() {
            let Some((variant, certificate)) = config.variant(index) else { continue };
            let wanted =
                held.as_ref().filter(|t| t.difference(&config, variant, certificate).is_none());
            if let Some(place) = validities.get_mut(index) {
                *place = wanted.map(|traits| traits.validity);
            }
            if wanted.is_none_or(|traits| traits.is_due(now)) {
                lacking.insert(variant.certificate);
            }
        }
        if lacking.is_empty() {
            return validities;
        }
        let mut stock = self.stock(store, &held, &lacking).await;
        let mut heirs = Vec::new();
        for (round, certificate) in lacking.iter().enumerate() {
            let_others_work(round).await;
            let choice = self.choose(&mut stock, store, *certificate);
            heirs.extend(self.heirs(&stock, store, *certificate, &choice));
            self.stand_in(&stock, store, *certificate, &choice);
        }
        for (variant, validity) in self.take_over(store, heirs, report).await {
            if let Some(place) = validities.get_mut(variant) {
                *place = Some(validity);
            }
        }
        for certificate in lacking {
            self.tell_what_is_wrong(certificate, &held, &validities);
        }
        validities
    }

    /// All that is there. What shared memory has is looked at for those that are lacking alone.
    async fn stock(
        &self,
        store: &Store,
        held: &[Option<Traits>],
        lacking: &BTreeSet<usize>,
    ) -> Stock<Source> {
        let mut stock = Stock::default();
        for (index, traits) in held.iter().enumerate() {
            if let Some(traits) = traits {
                stock.add(Source::Variant(index), traits.clone());
            }
        }
        let mut own: HashSet<&str> = HashSet::new();
        own.extend(self.config.variants.iter().map(|variant| variant.name.as_str()));
        let certificates = Certificates::open(store.path(), &Trust::here());
        let listed = certificates.and_then(|certificates| {
            let names = certificates.as_ref().map(Certificates::names).transpose()?;
            Ok(certificates.zip(names))
        });
        let (certificates, names) = match listed {
            Ok(Some((certificates, names))) => (Some(certificates), names),
            Ok(None) => (None, Vec::new()),
            Err(error) => {
                self.log(Level::Warn, format_args!("{error}; only own names are looked for"));
                (None, Vec::new())
            }
        };
        let others = names.into_iter().filter(|name| !own.contains(name.as_str()));
        for (round, name) in others.enumerate() {
            let_others_work(round).await;
            let traits = certificates.as_ref().and_then(|all| all.traits(&name));
            let Some(traits) = traits else { continue };
            if is_aside(&name) && traits.has_expired(now()) {
                if let Err(error) = store.remove_aside(&name) {
                    self.log(Level::Warn, format_args!("{error}"));
                }
                continue;
            }
            stock.add(Source::Directory(name), traits);
        }
        for certificate in lacking {
            let published = self.host.published(*certificate).map(|material| material.pairs);
            for (index, pair) in published.into_iter().flatten().enumerate() {
                let is_revoked = || {
                    let leaf = pair.chain.first();
                    leaf.zip(certificates.as_ref()).is_some_and(|(leaf, all)| {
                        self.own_names(*certificate).any(|name| all.is_revoked(name, leaf))
                    })
                };
                if let Some(traits) = traits_of(&pair).filter(|_| !is_revoked()) {
                    stock.add(Source::Published(*certificate, index), traits);
                }
            }
        }
        stock
    }

    /// The names of a certificate's own directories.
    fn own_names(&self, certificate: usize) -> impl Iterator<Item = &str> {
        let variants = self.config.certificates.get(certificate).map(|c| c.variants.clone());
        let variants = variants.into_iter().flatten();
        variants.filter_map(|index| Some(self.config.variants.get(index)?.name.as_str()))
    }

    /// Chooses for a certificate among what can be read.
    fn choose(&self, stock: &mut Stock<Source>, store: &Store, certificate: usize) -> Choice {
        let Some(wanted) = self.config.certificates.get(certificate) else {
            return Choice::default();
        };
        let owner = |source: &Source| match source {
            Source::Variant(index) => Some(*index),
            Source::Directory(_) | Source::Published(..) => None,
        };
        loop {
            let choice = stock.choose(&self.config, wanted, now(), owner);
            let all = choice.taken_over.iter().flatten().chain(&choice.stand_ins);
            let unreadable = all.copied().find(|item| {
                let source = stock.item(*item).map(|(source, _)| source.clone());
                source.is_some_and(|source| self.pair_at(store, &source).is_none())
            });
            match unreadable {
                Some(item) => stock.discard(item),
                None => return choice,
            }
        }
    }

    /// Reads a certificate. What lies under a variant's own name was read before.
    fn pair_at(&self, store: &Store, source: &Source) -> Option<Pair> {
        match source {
            Source::Variant(index) => self.pair(*index),
            Source::Published(certificate, index) => {
                self.host.published(*certificate)?.pairs.into_iter().nth(*index)
            }
            Source::Directory(name) => {
                let stored = store.load_certificate(name).unwrap_or_else(|error| {
                    let line = format_args!("certificate \"{name}\" is not used: {error}");
                    self.log(Level::Info, line);
                    None
                });
                stored?.material.pairs.into_iter().next()
            }
        }
    }

    fn directory_of<'a>(&'a self, source: &'a Source) -> Option<&'a str> {
        match source {
            Source::Variant(index) => self.config.variants.get(*index).map(|v| v.name.as_str()),
            Source::Directory(name) => Some(name),
            Source::Published(..) => None,
        }
    }

    /// What is to be taken over from other names, or from shared memory alone.
    fn heirs(
        &self,
        stock: &Stock<Source>,
        store: &Store,
        certificate: usize,
        choice: &Choice,
    ) -> Vec<Heir> {
        let variants = self.config.certificates.get(certificate).map(|c| c.variants.clone());
        let pairs = variants.into_iter().flatten().zip(&choice.taken_over);
        let heir = |(variant, item): (usize, &Option<usize>)| {
            let (source, traits) = stock.item((*item)?)?;
            if *source == Source::Variant(variant) {
                return None;
            }
            let from = match self.directory_of(source) {
                Some(name) => Origin::Directory(name.to_owned()),
                None => Origin::Memory(Box::new(self.pair_at(store, source)?)),
            };
            Some(Heir { variant, from, traits: traits.clone() })
        };
        pairs.filter_map(heir).collect()
    }

    /// Has what stands in served, in the place of what lies under the own names.
    fn stand_in(
        &mut self,
        stock: &Stock<Source>,
        store: &Store,
        certificate: usize,
        choice: &Choice,
    ) {
        let config = Arc::clone(&self.config);
        let Some(wanted) = config.certificates.get(certificate) else { return };
        if choice.stand_ins.is_empty() {
            return;
        }
        let mut sources: Vec<(&Source, &Traits)> =
            choice.stand_ins.iter().filter_map(|item| stock.item(*item)).collect();
        self.tell_stand_ins(&wanted.name, &sources);
        let lacking: Vec<usize> = wanted
            .variants
            .clone()
            .zip(&choice.taken_over)
            .filter_map(|(variant, taken)| taken.is_none().then_some(variant))
            .collect();
        let mut is_served = false;
        for variant in &lacking {
            let algorithm = config.variants.get(*variant).map(|variant| variant.key.algorithm());
            let found = sources.iter().position(|(_, t)| Some(t.key.algorithm()) == algorithm);
            let source = found.map(|found| sources.remove(found).0);
            is_served |= source.is_some();
            self.serve_at(store, *variant, source);
        }
        if let (false, Some(variant), false) = (is_served, lacking.first(), sources.is_empty()) {
            self.serve_at(store, *variant, Some(sources.remove(0).0));
        }
        let further = sources.into_iter().filter_map(|(source, traits)| {
            Some((traits.key.algorithm(), self.pair_at(store, source)?))
        });
        let further: Vec<_> = further.collect();
        if !further.is_empty() {
            self.further.insert(certificate, further);
        }
    }

    /// Serves for a variant what lies there, or nothing.
    fn serve_at(&mut self, store: &Store, variant: usize, source: Option<&Source>) {
        match source {
            // As it is served already.
            Some(Source::Variant(index)) if *index == variant => {}
            Some(source) => {
                if let Some(pair) = self.pair_at(store, source) {
                    let pair = Pair { staple: None, ..pair };
                    self.serve(variant, Served { pair: Some(pair), issuer: None, stands_in: true });
                }
            }
            None => self.unserve(variant),
        }
    }

    /// Takes certificates over; gives the validity of each. All that is to be written over is read before.
    async fn take_over(
        &mut self,
        store: &Store,
        mut heirs: Vec<Heir>,
        report: &Report,
    ) -> Vec<(usize, Validity)> {
        let config = Arc::clone(&self.config);
        let name = |variant: usize| config.variants.get(variant).map_or("", |v| v.name.as_str());
        let sources: HashSet<String> =
            heirs.iter().filter_map(|heir| heir.from.directory().map(str::to_owned)).collect();
        // Two that change places: what nobody needs is written over first.
        heirs.sort_by_key(|heir| sources.contains(name(heir.variant)));
        let targets: HashSet<&str> = heirs.iter().map(|heir| name(heir.variant)).collect();
        let read_early = |heir: &Heir| {
            let is_target = heir.from.directory().is_some_and(|from| targets.contains(from));
            is_target.then(|| self.read_inheritance(store, heir))
        };
        let early: Vec<_> = heirs.iter().map(read_early).collect();
        let is_many = heirs.len() > TOLD;
        let mut taken = Vec::new();
        for (heir, early) in heirs.iter().zip(early) {
            let read = early.unwrap_or_else(|| self.read_inheritance(store, heir));
            let read = match read {
                Ok(read) => read,
                Err(error) => {
                    let name = name(heir.variant);
                    let line = format!("certificate \"{name}\" is not taken over: {error}");
                    self.log(Level::Warn, format_args!("{line}"));
                    continue;
                }
            };
            self.inherit(store, heir, read, report).await;
            taken.push((heir.variant, heir.traits.validity));
            let Some(from) = heir.from.directory() else {
                self.log_written_back(name(heir.variant));
                continue;
            };
            let level = if is_many { Level::Info } else { Level::Notice };
            self.log(
                level,
                format_args!(
                    "certificate \"{}\" continues \"{from}\", valid until {}",
                    name(heir.variant),
                    heir.traits.validity.not_after
                ),
            );
        }
        if is_many {
            let many = taken.len();
            let line = format_args!("{many} certificates continue others, under new names");
            self.log(Level::Notice, line);
        }
        taken
    }

    fn read_inheritance(&self, store: &Store, heir: &Heir) -> Result<Inheritance, String> {
        let text = |error: StoreError| error.to_string();
        let (pair, renewal) = match &heir.from {
            Origin::Memory(pair) => (Pair { staple: None, ..(**pair).clone() }, None),
            Origin::Directory(from) => {
                let stored = store.load_certificate(from).map_err(text)?;
                let pair = stored.and_then(|stored| stored.material.pairs.into_iter().next());
                let renewal = store.load_renewal(from).unwrap_or_else(|error| {
                    self.log(Level::Warn, format_args!("{error}; it is ignored"));
                    None
                });
                (pair.ok_or_else(|| format!("\"{from}\" is gone"))?, renewal)
            }
        };
        let pem = IssuedPem::of(&pair).map_err(|error| error.to_string())?;
        Ok(Inheritance { pair, pem, renewal })
    }

    /// Serves and keeps a certificate under its new name.
    async fn inherit(&mut self, store: &Store, heir: &Heir, read: Inheritance, report: &Report) {
        let config = Arc::clone(&self.config);
        let Some(Variant { name, .. }) = config.variants.get(heir.variant) else { return };
        let Inheritance { mut pair, pem, renewal } = read;
        let issuer = self.issuer_of(heir.traits.directory.as_deref());
        let (of, issued) = (name.clone(), pem.clone());
        let keep = move |store: &Store| {
            store.save_certificate(&of, &issued)?;
            renewal.map_or(Ok(()), |renewal| store.save_renewal(&of, &renewal))
        };
        let kept = store.on_thread(keep).await;
        if let Some(source) = &mut pair.source {
            source.is_kept = kept.is_ok();
        }
        self.serve(heir.variant, Served { pair: Some(pair), issuer, stands_in: false });
        let Err(error) = kept else { return };
        self.log(
            Level::Error,
            format_args!(
                "certificate \"{name}\" is served, but cannot be kept on disk under its new name: \
                 {error}; tried again every {} s",
                LOCAL_PAUSE.as_secs()
            ),
        );
        let to = (heir.variant, report.clone());
        let task = save_later(store.clone(), name.clone(), Some(pem), to);
        self.unkept.insert(heir.variant, task);
    }

    fn tell_stand_ins(&self, name: &str, sources: &[(&Source, &Traits)]) {
        let others = sources.iter().filter_map(|(source, _)| self.directory_of(source));
        let others: Vec<&str> = others.filter(|other| *other != name).collect();
        if let Some((first, rest)) = others.split_first() {
            let more = match rest.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.log(
                Level::Notice,
                format_args!(
                    "certificate \"{name}\": that of \"{first}\"{more} is served until it is issued"
                ),
            );
        }
    }

    /// Says of what lies under the own names of a certificate why it is replaced.
    fn tell_what_is_wrong(
        &self,
        certificate: usize,
        held: &[Option<Traits>],
        validities: &[Option<Validity>],
    ) {
        let variants = self.config.certificates.get(certificate).map(|c| c.variants.clone());
        for index in variants.into_iter().flatten() {
            let Some((variant, wanted)) = self.config.variant(index) else { continue };
            let is_wanted = validities.get(index).is_some_and(Option::is_some);
            let held = held.get(index).and_then(Option::as_ref).filter(|_| !is_wanted);
            let difference = held.and_then(|t| t.difference(&self.config, variant, wanted));
            if let Some(difference) = difference {
                let name = &variant.name;
                self.log(
                    Level::Notice,
                    format_args!("certificate \"{name}\" {difference}, a new one will be obtained"),
                );
            }
        }
    }
}
